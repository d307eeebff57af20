//! What hosts of other versions would say of a component, told from the names that it imports and
//! exports: `windlass plugin check`.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::component_types::ComponentEntityType;
use wasmparser::{Validator, WasmFeatures};

use crate::bounds::quoted;
use crate::check;
use crate::contract::{self, Track};
use crate::load::Problem;

/// What one host would say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which host: `0.1.0 (this host)`, `an older 0.1.x`, `a newer 0.1.x`, `0.2`.
    pub host: String,
    /// Whether it would load the component.
    pub loads: bool,
    /// Why, for people.
    pub says: String,
}

/// Functions that came into the contract after the first version of its track, as `@since` in `wit/`
/// says: interface, function, patch version.
const SINCE: &[(&str, &str, u32)] = &[];

/// What this host and others would say of a component. The error: it is none.
pub fn compat(bytes: &[u8]) -> Result<Vec<Verdict>, Problem> {
    let header = check::header(bytes, u64::MAX)?;
    let functions = imported(bytes, &header.imports)?;
    let here = contract::check(&header.imports, &header.exports).map(drop).map_err(Problem::all);
    Ok(judge(
        &header.imports,
        &header.exports,
        &functions,
        here.map_err(|problem| problem.to_string()),
        SINCE,
    ))
}

/// The functions that a component imports of each interface. Of those that it lists and does not use,
/// toolchains of interpreters keep some.
fn imported(bytes: &[u8], imports: &[String]) -> Result<BTreeMap<String, BTreeSet<String>>, Problem> {
    let features = WasmFeatures::default() | WasmFeatures::COMPONENT_MODEL;
    let types = Validator::new_with_features(features).validate_all(bytes).map_err(|error| {
        Problem::Invalid { offset: error.offset() as u64, message: error.message().to_owned() }
    })?;
    let types = types.as_ref();
    let mut found = BTreeMap::new();
    for import in imports {
        let item = types.component_item_for_import(import);
        if let Some(ComponentEntityType::Instance(id)) = item.map(|item| item.ty) {
            let exports = &types[id].exports;
            let functions =
                exports.iter().filter(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)));
            found.insert(import.clone(), functions.map(|(name, _)| name.to_string()).collect());
        }
    }
    Ok(found)
}

fn judge(
    imports: &[String],
    exports: &[String],
    functions: &BTreeMap<String, BTreeSet<String>>,
    here: Result<(), String>,
    since: &[(&str, &str, u32)],
) -> Vec<Verdict> {
    let own = Track::of_host();
    let named: BTreeSet<Track> =
        imports.iter().chain(exports).filter_map(|name| contract::track_of(name)).collect();
    let built_for = match named.iter().collect::<Vec<_>>()[..] {
        [only] => Some(*only),
        _ => None,
    };
    let verdict = |host: String, loads: bool, says: String| Verdict { host, loads, says };
    let ours = |name: String| format!("{name} {own}.x");
    let mut verdicts = vec![match &here {
        Ok(()) => verdict(format!("{} (this host)", contract::VERSION), true, "it fits".to_owned()),
        Err(why) => verdict(format!("{} (this host)", contract::VERSION), false, why.clone()),
    }];
    let newest = functions
        .iter()
        .flat_map(|(import, functions)| functions.iter().map(move |function| (import, function)))
        .filter_map(|(import, function)| {
            let interface = contract::interface_of(import)?;
            let entry = since.iter().find(|(i, f, _)| *i == interface && f == function)?;
            Some((entry.2, format!("{interface}.{function}")))
        })
        .max();
    if built_for == Some(own) {
        verdicts.push(match newest {
            None => verdict(
                ours("an older".to_owned()),
                true,
                format!("it needs nothing that {own}.0, the first of them, has not"),
            ),
            Some((patch, function)) => verdict(
                ours("an older".to_owned()),
                false,
                format!("hosts before {own}.{patch} have no {}, which it imports", quoted(&function)),
            ),
        });
        verdicts.push(verdict(
            ours("a newer".to_owned()),
            here.is_ok(),
            match here {
                Ok(()) => format!("whatever comes within {own} is added, nothing is taken away"),
                Err(_) => "what this host refuses in it, a newer one may not know either".to_owned(),
            },
        ));
        let next = own.next();
        let says = format!("{next} is another contract: build it again with an SDK of {next}");
        verdicts.push(verdict(next.to_string(), false, says));
    } else if let Some(theirs) = built_for {
        let says = format!("it is built for {theirs}, as far as its names tell");
        verdicts.push(verdict(theirs.to_string(), true, says));
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(
        names: &[&str],
        uses: &[(&str, &str)],
        since: &[(&str, &str, u32)],
    ) -> Vec<(String, bool, String)> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut functions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (import, function) in uses {
            functions.entry((*import).to_owned()).or_default().insert((*function).to_owned());
        }
        let (imports, exports): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| !name.contains("plugin") && !name.contains("next-slave"));
        let here = contract::check(&imports, &exports).map(drop).map_err(|p| Problem::all(p).to_string());
        let verdicts = judge(&imports, &exports, &functions, here, since);
        verdicts.into_iter().map(|v| (v.host, v.loads, v.says)).collect()
    }

    const LOG: &str = "windlass:base/log@0.1.0";
    const HOOK: [&str; 2] = ["windlass:base/plugin@0.1.0", "windlass:master/next-slave@0.1.0"];

    fn hosts(verdicts: &[(String, bool, String)]) -> Vec<(&str, bool)> {
        verdicts.iter().map(|(host, loads, _)| (host.as_str(), *loads)).collect()
    }

    #[test]
    fn a_component_of_our_track_loads_within_it() {
        let said = verdicts(&[LOG, HOOK[0], HOOK[1]], &[(LOG, "write")], &[("base/log", "later", 3)]);
        let expected =
            [("0.1.0 (this host)", true), ("an older 0.1.x", true), ("a newer 0.1.x", true), ("0.2", false)];
        assert_eq!(hosts(&said), expected);
        assert!(said[3].2.contains("SDK of 0.2"), "{said:?}");
    }

    #[test]
    fn a_function_that_came_later_is_named_with_the_version_that_brought_it() {
        let uses = [(LOG, "write"), (LOG, "later")];
        let said = verdicts(&[LOG, HOOK[0], HOOK[1]], &uses, &[("base/log", "later", 3)]);
        assert!(!said[1].1);
        assert_eq!(said[1].2, "hosts before 0.1.3 have no `base/log.later`, which it imports");
    }

    #[test]
    fn a_component_of_another_track_is_for_the_hosts_of_that() {
        let said = verdicts(&["windlass:base/plugin@0.3.0", "windlass:master/next-slave@0.3.2"], &[], &[]);
        assert_eq!(hosts(&said), [("0.1.0 (this host)", false), ("0.3", true)]);
        assert!(said[0].2.contains("windlass:master/next-slave@0.3.2"), "{said:?}");
    }

    #[test]
    fn what_no_host_knows_is_refused_by_newer_ones_too() {
        let said = verdicts(&["windlass:base/telepathy@0.1.0", HOOK[0], HOOK[1]], &[], &[]);
        assert_eq!(hosts(&said)[0], ("0.1.0 (this host)", false));
        assert!(!said[2].1 && said[2].2.contains("may not know"), "{said:?}");
    }
}
