//! Which interfaces of `windlass:*` this host has, and whether a component fits them: judged by names,
//! before anything is compiled, since the linker's own words would mislead.

use windlass_core::policy::HookKind;

use crate::imports::is_left_over;
use crate::load::Problem;

/// The version of all three packages. While it is 0.x, all of one minor version fit together.
pub(crate) const VERSION: &str = "0.1.0";

const BASE: [&str; 6] = ["types", "log", "clock", "interruption", "state", "plugin"];
const MASTER: [&str; 7] =
    ["model", "decision", "step-host", "transfer", "fetch", "master-process", "scheduler-host"];
const WORKER: [&str; 3] = ["process", "command-host", "files"];

/// Who runs a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Master,
    Worker,
}

impl Side {
    /// Where hooks of this kind run.
    pub(crate) fn of(kind: HookKind) -> Side {
        match kind {
            HookKind::SlaveCommand => Side::Worker,
            HookKind::BuildStep
            | HookKind::MergeRequests
            | HookKind::PrioritizeBuilders
            | HookKind::NextSlave
            | HookKind::NextBuild
            | HookKind::CanStartBuild
            | HookKind::CodebaseGenerator
            | HookKind::Renderer
            | HookKind::Configurator
            | HookKind::Scheduler
            | HookKind::ChangeSource
            | HookKind::ChangeHook
            | HookKind::Reporter => Side::Master,
        }
    }

    fn package(self) -> &'static str {
        match self {
            Side::Master => "master",
            Side::Worker => "worker",
        }
    }
}

/// What a component that fits is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) side: Side,
    pub(crate) hooks: Vec<HookKind>,
}

/// `windlass:master/next-slave@0.1.0`, taken apart.
struct Name<'a> {
    package: &'a str,
    interface: &'a str,
    version: &'a str,
}

impl<'a> Name<'a> {
    /// None: not a name of ours.
    fn parse(full: &'a str) -> Option<Name<'a>> {
        let (package, rest) = full.strip_prefix("windlass:")?.split_once('/')?;
        let (interface, version) = rest.split_once('@').unwrap_or((rest, ""));
        Some(Name { package, interface, version })
    }

    fn fits(&self) -> bool {
        Track::parse(self.version) == Some(Track::of_host())
    }
}

/// The versions that fit together. As semver has it: while the major version is 0, those of one minor
/// version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Track {
    major: u32,
    minor: u32,
}

impl Track {
    pub(crate) fn of_host() -> Track {
        Track::parse(VERSION).expect("a version of ours is one")
    }

    /// None: no version, or one before a release.
    fn parse(version: &str) -> Option<Track> {
        let (major, rest) = version.split_once('.')?;
        let (minor, patch) = rest.split_once('.')?;
        let digits = !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit());
        digits.then_some(Track { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// The one that comes after it.
    pub(crate) fn next(self) -> Track {
        Track { minor: self.minor + 1, ..self }
    }
}

impl std::fmt::Display for Track {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The track that a name of ours belongs to.
pub(crate) fn track_of(full: &str) -> Option<Track> {
    Track::parse(Name::parse(full)?.version)
}

/// `base/log` of `windlass:base/log@0.1.0`.
pub(crate) fn interface_of(full: &str) -> Option<&str> {
    let interface = full.strip_prefix("windlass:")?;
    Some(interface.split_once('@').map_or(interface, |(interface, _)| interface))
}

/// Judges a component by the names of its imports and exports; every problem is reported.
pub(crate) fn check(imports: &[String], exports: &[String]) -> Result<Shape, Vec<Problem>> {
    let (mut problems, mut sides) = (Vec::new(), Sides::default());
    for import in imports {
        if let Err(problem) = check_import(import, &mut sides) {
            problems.push(problem);
        }
    }
    let (mut hooks, mut described) = (Vec::new(), false);
    for export in exports {
        match check_export(export, &mut sides) {
            Ok(Export::Hook(kind)) => hooks.push(kind),
            Ok(Export::Plugin) => described = true,
            Ok(Export::Other) => {}
            Err(problem) => problems.push(problem),
        }
    }
    if hooks.is_empty() && problems.is_empty() {
        problems.push(Problem::NoHook);
    }
    if !described && problems.is_empty() {
        problems.push(Problem::NoDescription);
    }
    let side = match sides {
        Sides { master: Some(master), worker: Some(worker) } => {
            problems.push(Problem::TwoSides { master, worker });
            Side::Master
        }
        Sides { worker: Some(_), master: None } => Side::Worker,
        Sides { worker: None, .. } => Side::Master,
    };
    if problems.is_empty() { Ok(Shape { side, hooks }) } else { Err(problems) }
}

/// The first name seen of each side.
#[derive(Default)]
struct Sides {
    master: Option<String>,
    worker: Option<String>,
}

impl Sides {
    fn saw(&mut self, side: Side, full: &str) {
        let seen = match side {
            Side::Master => &mut self.master,
            Side::Worker => &mut self.worker,
        };
        seen.get_or_insert_with(|| full.to_owned());
    }
}

fn check_import(full: &str, sides: &mut Sides) -> Result<(), Problem> {
    let Some(name) = Name::parse(full) else {
        return match full.strip_prefix("wasi:").and_then(|rest| rest.split_once('@')) {
            Some((_, version)) if version.starts_with("0.2.") || is_left_over(full) => Ok(()),
            Some(_) => Err(Problem::OtherWasi { import: full.to_owned() }),
            None => Err(Problem::ForeignImport { import: full.to_owned() }),
        };
    };
    let known: &[&str] = match name.package {
        "base" => &BASE,
        "master" => {
            sides.saw(Side::Master, full);
            &MASTER
        }
        "worker" => {
            sides.saw(Side::Worker, full);
            &WORKER
        }
        _ => &[],
    };
    if !known.is_empty() && !name.fits() {
        return Err(Problem::OtherVersion { wanted: full.to_owned() });
    }
    if !known.contains(&name.interface) {
        let known = known.iter().map(|known| format!("windlass:{}/{known}", name.package)).collect();
        return Err(Problem::UnknownImport { import: full.to_owned(), known });
    }
    Ok(())
}

enum Export {
    Hook(HookKind),
    Plugin,
    /// Somebody else's business.
    Other,
}

fn check_export(full: &str, sides: &mut Sides) -> Result<Export, Problem> {
    let Some(name) = Name::parse(full) else { return Ok(Export::Other) };
    let hook = HookKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == name.interface && Side::of(*kind).package() == name.package);
    match hook {
        _ if name.package == "base" && name.interface == "plugin" => {
            if name.fits() {
                Ok(Export::Plugin)
            } else {
                Err(Problem::OtherVersion { wanted: full.to_owned() })
            }
        }
        Some(kind) if name.fits() => {
            sides.saw(Side::of(kind), full);
            Ok(Export::Hook(kind))
        }
        Some(_) => Err(Problem::OtherVersion { wanted: full.to_owned() }),
        None if ["master", "worker"].contains(&name.package) => {
            Err(Problem::UnknownHook { export: full.to_owned() })
        }
        None => Ok(Export::Other),
    }
}

/// All hooks, as a sentence needs them.
pub(crate) fn known_hooks() -> String {
    HookKind::ALL.map(|kind| format!("windlass:{}/{kind}@{VERSION}", Side::of(kind).package())).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(imports: &[&str], exports: &[&str]) -> Result<Shape, String> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        check(&owned(imports), &owned(exports))
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    const PLUGIN: &str = "windlass:base/plugin@0.1.0";

    #[test]
    fn hooks_are_found_by_the_names_of_exports() {
        let shape = judge(
            &["windlass:base/log@0.1.0", "wasi:io/poll@0.2.6", "wasi:http/types@0.2.0"],
            &[PLUGIN, "windlass:master/next-slave@0.1.7", "windlass:master/build-step@0.1.0"],
        );
        let hooks = vec![HookKind::NextSlave, HookKind::BuildStep];
        assert_eq!(shape, Ok(Shape { side: Side::Master, hooks }));
        let shape =
            judge(&["windlass:worker/process@0.1.0"], &[PLUGIN, "windlass:worker/slave-command@0.1.0"]);
        assert_eq!(shape, Ok(Shape { side: Side::Worker, hooks: vec![HookKind::SlaveCommand] }));
    }

    #[test]
    fn both_versions_are_named_when_they_do_not_fit() {
        let refused =
            judge(&["windlass:master/decision@0.3.0"], &[PLUGIN, "windlass:master/next-slave@0.3.0"]);
        let expected = "it wants `windlass:master/decision@0.3.0`, and this host has version 0.1.0\n\
                        it wants `windlass:master/next-slave@0.3.0`, and this host has version 0.1.0";
        assert_eq!(refused.unwrap_err(), expected);
    }

    #[test]
    fn unknown_interfaces_are_refused_by_name() {
        let refused = judge(&["windlass:worker/telepathy@0.1.0"], &[PLUGIN]).unwrap_err();
        assert!(
            refused.starts_with("it imports `windlass:worker/telepathy@0.1.0`, which this host does not"),
            "{refused}"
        );
        assert!(refused.contains("windlass:worker/process"), "{refused}");
        let refused = judge(&["acme:rocket/launch@1.0.0"], &[PLUGIN]).unwrap_err();
        assert!(refused.contains("`acme:rocket/launch@1.0.0`"), "{refused}");
        let refused = judge(&["wasi:cli/stdout@0.3.0"], &[PLUGIN]).unwrap_err();
        assert!(refused.contains("0.2"), "{refused}");
    }

    #[test]
    fn hooks_of_both_sides_in_one_component_are_refused() {
        let refused =
            judge(&[], &[PLUGIN, "windlass:worker/slave-command@0.1.0", "windlass:master/next-slave@0.1.0"]);
        assert!(refused.unwrap_err().contains("a component serves one side"));
    }

    #[test]
    fn without_a_hook_the_known_ones_are_listed() {
        let refused = judge(&["windlass:base/log@0.1.0"], &[PLUGIN]).unwrap_err();
        assert!(refused.contains("windlass:worker/slave-command@0.1.0"), "{refused}");
        assert!(refused.contains("windlass:master/next-slave@0.1.0"), "{refused}");
    }

    #[test]
    fn the_tables_are_those_of_the_contract() {
        let mut resolve = wit_parser::Resolve::default();
        resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit")).unwrap();
        for (_, package) in &resolve.packages {
            assert_eq!(package.name.version.as_ref().unwrap().to_string(), VERSION);
            let imported: &[&str] = match package.name.name.as_str() {
                "base" => &BASE,
                "master" => &MASTER,
                "worker" => &WORKER,
                other => panic!("a package `{other}` that nobody expected"),
            };
            let is_hook = |name: &str| {
                HookKind::ALL
                    .iter()
                    .any(|kind| kind.as_str() == name && Side::of(*kind).package() == package.name.name)
            };
            for interface in package.interfaces.keys() {
                let known = imported.contains(&interface.as_str()) || is_hook(interface);
                assert!(known, "`{interface}` of {} is in no table", package.name);
            }
            for name in imported {
                assert!(package.interfaces.contains_key(*name), "`{name}` is not in wit/");
            }
        }
    }
}
