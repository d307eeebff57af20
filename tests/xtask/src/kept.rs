//! What was published of the contract stands for ever: each version of it is kept in `tests/kept/wit`, and what is in force
//! has every item of them, as it was. Items may be added, under a new patch version.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use wit_parser::{Function, Handle, Resolve, Type, TypeDefKind, TypeId, WorldItem};

/// Compares every kept version with the contract in force.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let now = read(&root.join("wit"))?;
    let kept = root.join("tests").join("kept").join("wit");
    let entries = std::fs::read_dir(&kept).with_context(|| format!("failed to list {}", kept.display()))?;
    let mut versions = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    versions.sort();
    let mut broken = Vec::new();
    for version in &versions {
        let was = read(&version.join("contract"))?;
        let name = version.file_name().unwrap_or_default().to_string_lossy().into_owned();
        broken.extend(differences(&name, &was, &now));
    }
    if !broken.is_empty() {
        for line in &broken {
            eprintln!("error: {line}");
        }
        bail!("the contract differs from what was published in {} places", broken.len());
    }
    println!("wit: {} published versions are kept", versions.len());
    Ok(())
}

fn read(folder: &Path) -> anyhow::Result<Contract> {
    let mut resolve = Resolve::default();
    resolve
        .push_path(folder)
        .with_context(|| format!("failed to read the contract in {}", folder.display()))?;
    Ok(Contract::of(&resolve))
}

/// The items of a contract by their paths, without versions, and the versions of its packages.
#[derive(Debug, Default)]
struct Contract {
    items: BTreeMap<String, String>,
    versions: BTreeMap<String, String>,
}

/// What became of published items.
fn differences(version: &str, was: &Contract, now: &Contract) -> Vec<String> {
    let mut told = Vec::new();
    for (path, item) in &was.items {
        match now.items.get(path) {
            None => told.push(format!(
                "`{path}` of {version} is gone: components that were built against it need it"
            )),
            Some(other) if other != item => {
                told.push(format!(
                    "`{path}` of {version} was `{item}` and is `{other}`: give the new one another name"
                ));
            }
            Some(_) => {}
        }
    }
    for (package, number) in &was.versions {
        let begins = format!("{package}/");
        let grown = now.items.keys().find(|path| path.starts_with(&begins) && !was.items.contains_key(*path));
        if let Some(path) = grown
            && now.versions.get(package) == Some(number)
        {
            told.push(format!(
                "`{path}` is new, and `{package}` is still {number}, which was published without it"
            ));
        }
    }
    told
}

impl Contract {
    fn of(resolve: &Resolve) -> Contract {
        let mut contract = Contract::default();
        for (_, package) in &resolve.packages {
            if package.name.namespace != "windlass" {
                continue;
            }
            let name = format!("{}:{}", package.name.namespace, package.name.name);
            let version = package.name.version.as_ref().map(ToString::to_string).unwrap_or_default();
            contract.versions.insert(name.clone(), version);
            for (interface, id) in &package.interfaces {
                let path = format!("{name}/{interface}");
                let interface = &resolve.interfaces[*id];
                for (name, id) in &interface.types {
                    contract.items.insert(format!("{path}.{name}"), definition(resolve, *id));
                }
                for (name, function) in &interface.functions {
                    contract.items.insert(format!("{path}.{name}()"), signature(resolve, function));
                }
                contract.items.insert(path, "interface".to_owned());
            }
            for (world, id) in &package.worlds {
                let world_items = &resolve.worlds[*id];
                let both = [("import", &world_items.imports), ("export", &world_items.exports)];
                for (direction, items) in both {
                    for (key, item) in items {
                        let what = match item {
                            WorldItem::Interface { .. } => "interface".to_owned(),
                            WorldItem::Function(function) => signature(resolve, function),
                            WorldItem::Type { id, .. } => definition(resolve, *id),
                        };
                        let key = unversioned(&resolve.name_world_key(key));
                        contract.items.insert(format!("{name}/{world} {direction} {key}"), what);
                    }
                }
            }
        }
        contract
    }
}

fn unversioned(name: &str) -> String {
    name.split('@').next().unwrap_or(name).to_owned()
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let parameters: Vec<String> =
        function.params.iter().map(|p| format!("{}: {}", p.name, name_of(resolve, &p.ty))).collect();
    let result = function.result.as_ref().map_or("nothing".to_owned(), |ty| name_of(resolve, ty));
    format!("func({}) -> {result}", parameters.join(", "))
}

/// How a type with a name is defined.
fn definition(resolve: &Resolve, id: TypeId) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match &resolve.types[id].kind {
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter().map(|f| format!("{}: {}", f.name, name_of(resolve, &f.ty)));
            format!("record {{ {} }}", list(fields.collect()))
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| match &case.ty {
                Some(ty) => format!("{}({})", case.name, name_of(resolve, ty)),
                None => case.name.clone(),
            });
            format!("variant {{ {} }}", list(cases.collect()))
        }
        TypeDefKind::Enum(cases) => {
            format!("enum {{ {} }}", list(cases.cases.iter().map(|case| case.name.clone()).collect()))
        }
        TypeDefKind::Flags(flags) => {
            format!("flags {{ {} }}", list(flags.flags.iter().map(|flag| flag.name.clone()).collect()))
        }
        TypeDefKind::Resource => "resource".to_owned(),
        other => shape(resolve, other),
    }
}

/// A type as it is used: by its name, if it has one.
fn name_of(resolve: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else { return format!("{ty:?}").to_lowercase() };
    let def = &resolve.types[*id];
    match (&def.name, &def.kind) {
        // A `use` of another one: where that is defined is what counts.
        (Some(_), TypeDefKind::Type(inner)) => name_of(resolve, inner),
        (Some(name), _) => name.clone(),
        (None, kind) => shape(resolve, kind),
    }
}

fn shape(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let of = |ty: &Type| name_of(resolve, ty);
    let maybe = |ty: &Option<Type>| ty.as_ref().map_or("_".to_owned(), of);
    match kind {
        TypeDefKind::Type(ty) => of(ty),
        TypeDefKind::Option(ty) => format!("option<{}>", of(ty)),
        TypeDefKind::List(ty) => format!("list<{}>", of(ty)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", maybe(&result.ok), maybe(&result.err)),
        TypeDefKind::Tuple(tuple) => {
            format!("tuple<{}>", tuple.types.iter().map(of).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Handle(Handle::Own(id)) => format!("own<{}>", of(&Type::Id(*id))),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", of(&Type::Id(*id))),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(version: &str, text: &str) -> Contract {
        let mut resolve = Resolve::default();
        resolve.push_str("a.wit", &format!("package windlass:a@{version};\n{text}")).expect("it parses");
        Contract::of(&resolve)
    }

    const FIRST: &str =
        "interface i { record r { x: u8 } f: func(r: r) -> option<string>; }\nworld w { export i; }";

    #[test]
    fn what_is_as_it_was_and_what_grows_under_a_new_version_is_fine() {
        let first = contract("0.1.0", FIRST);
        assert_eq!(differences("0.1.0", &first, &contract("0.1.0", FIRST)), [""; 0]);
        let grown = FIRST.replace("f: func", "g: func(); f: func");
        assert_eq!(differences("0.1.0", &first, &contract("0.1.1", &grown)), [""; 0]);
        let told = differences("0.1.0", &first, &contract("0.1.0", &grown));
        assert_eq!(
            told,
            ["`windlass:a/i.g()` is new, and `windlass:a` is still 0.1.0, which was published without it"]
        );
    }

    #[test]
    fn what_changes_or_goes_is_named_whatever_the_version() {
        let first = contract("0.1.0", FIRST);
        for (old, new, expected) in [
            (
                "x: u8",
                "x: u16",
                "`windlass:a/i.r` of 0.1.0 was `record { x: u8 }` and is `record { x: u16 }`",
            ),
            ("option<string>", "string", "was `func(r: r) -> option<string>` and is `func(r: r) -> string`"),
            ("export i;", "import i;", "`windlass:a/w export windlass:a/i` of 0.1.0 is gone"),
        ] {
            let told = differences("0.1.0", &first, &contract("0.1.1", &FIRST.replace(old, new)));
            assert!(told.iter().any(|line| line.contains(expected)), "{told:?}");
        }
    }
}
