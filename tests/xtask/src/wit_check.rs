//! `cargo xtask wit-check`: the contract parses, and every item of it says what it is for.

use std::path::Path;

use anyhow::{Context, bail};
use wit_parser::{Docs, Function, Interface, Resolve, TypeDefKind, WorldItem};

/// Prints every item of `wit/` without documentation; an error if there is one.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let mut resolve = Resolve::default();
    let folder = root.join("wit");
    resolve
        .push_path(&folder)
        .with_context(|| format!("failed to read the contract in {}", folder.display()))?;
    let undocumented = undocumented(&resolve);
    if !undocumented.is_empty() {
        for item in &undocumented {
            eprintln!("error: {item} has no documentation");
        }
        bail!("{} items of the contract have no `///` comment", undocumented.len());
    }
    let functions: usize = resolve.interfaces.iter().map(|(_, i)| i.functions.len()).sum();
    println!(
        "wit: {} packages, {} interfaces, {functions} functions, all documented",
        resolve.packages.len(),
        resolve.interfaces.len(),
    );
    Ok(())
}

/// The paths of the items that have no documentation, in the order of the files.
fn undocumented(resolve: &Resolve) -> Vec<String> {
    let mut check = Check { resolve, missing: Vec::new() };
    for (_, package) in &resolve.packages {
        let name = package.name.to_string();
        check.docs(&package.docs, || format!("package {name}"));
        for (interface, id) in &package.interfaces {
            check.interface(&format!("{name}/{interface}"), &resolve.interfaces[*id]);
        }
        for (world, id) in &package.worlds {
            let path = format!("{name}/{world}");
            let world = &resolve.worlds[*id];
            check.docs(&world.docs, || format!("world {path}"));
            for (key, item) in world.imports.iter().chain(&world.exports) {
                if let WorldItem::Function(function) = item {
                    check.function(&format!("{path}.{}", resolve.name_world_key(key)), function);
                }
            }
        }
    }
    check.missing
}

struct Check<'a> {
    resolve: &'a Resolve,
    missing: Vec<String>,
}

impl Check<'_> {
    fn interface(&mut self, path: &str, interface: &Interface) {
        self.docs(&interface.docs, || format!("interface {path}"));
        for (name, id) in &interface.types {
            let path = format!("{path}.{name}");
            let item = &self.resolve.types[*id];
            match &item.kind {
                // A `use` of a type that is documented where it is defined.
                TypeDefKind::Type(_) => continue,
                TypeDefKind::Record(record) => {
                    for field in &record.fields {
                        self.docs(&field.docs, || format!("field {path}.{}", field.name));
                    }
                }
                TypeDefKind::Variant(variant) => {
                    for case in &variant.cases {
                        self.docs(&case.docs, || format!("case {path}.{}", case.name));
                    }
                }
                TypeDefKind::Enum(cases) => {
                    for case in &cases.cases {
                        self.docs(&case.docs, || format!("case {path}.{}", case.name));
                    }
                }
                TypeDefKind::Flags(flags) => {
                    for flag in &flags.flags {
                        self.docs(&flag.docs, || format!("flag {path}.{}", flag.name));
                    }
                }
                _ => {}
            }
            self.docs(&item.docs, || format!("type {path}"));
        }
        for (name, function) in &interface.functions {
            self.function(&format!("{path}.{name}"), function);
        }
    }

    fn function(&mut self, path: &str, function: &Function) {
        self.docs(&function.docs, || format!("function {path}"));
    }

    fn docs(&mut self, docs: &Docs, path: impl FnOnce() -> String) {
        if docs.contents.as_deref().is_none_or(|text| text.trim().is_empty()) {
            self.missing.push(path());
        }
    }
}
