//! What a step itself may do beyond its build: what its plugin asks for and the master grants.

use std::collections::BTreeMap;

use windlass_config::config::Master;
use windlass_core::value::Failure;
use windlass_runtime::registry::Resolved;

/// The capabilities of one step, by name, as far as the master decides them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rights {
    hook: String,
    asked: BTreeMap<String, Vec<String>>,
    granted: BTreeMap<String, Vec<String>>,
}

impl Rights {
    /// Those of this component under this configuration.
    pub(crate) fn of(component: &Resolved, config: &Master) -> Rights {
        let mut asked: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for capability in &component.plugin.capabilities {
            asked.entry(capability.capability.clone()).or_default().extend(capability.scope.iter().cloned());
        }
        let hook = component.qualified();
        let granted = config.grants.get(&hook).cloned().unwrap_or_default();
        Rights { hook, asked, granted }
    }

    /// Whether it may use `capability` for anything at all.
    pub(crate) fn covers_all(&self, capability: &str) -> bool {
        let any = |scopes: &BTreeMap<String, Vec<String>>| {
            scopes.get(capability).is_some_and(|scope| scope.iter().any(|one| one == "*"))
        };
        any(&self.asked) && any(&self.granted)
    }

    /// Whether it may use `capability` for `what`; else who would have to say so.
    pub(crate) fn check(&self, capability: &str, what: &str) -> Result<(), Failure> {
        let hook = &self.hook;
        let covers = |scopes: &BTreeMap<String, Vec<String>>| {
            scopes.get(capability).is_some_and(|scope| scope.iter().any(|one| one == "*" || one == what))
        };
        let (why, cure) = if !covers(&self.asked) {
            (
                "the plugin does not ask for it",
                format!("its `describe` must ask for `{capability}` with `{what}` in the scope"),
            )
        } else if !covers(&self.granted) {
            (
                "the master does not grant it",
                format!("add `{capability} = [\"{what}\"]` to [grants.\"{hook}\"] in master.toml"),
            )
        } else {
            return Ok(());
        };
        let message = format!("`{hook}` may not use `{capability}` for `{what}`: {why}");
        Err(Failure { detail: Some(cure), ..Failure::new("denied", message) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_have_to_agree() {
        let scope = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            BTreeMap::from([("fetch".to_owned(), names)])
        };
        let check = |asked: &[&str], granted: &[&str]| {
            let rights =
                Rights { hook: "mine:step".to_owned(), asked: scope(asked), granted: scope(granted) };
            rights.check("fetch", "example.org").map_err(|failure| failure.detail.unwrap())
        };
        assert_eq!(check(&["*"], &["example.org"]), Ok(()));
        assert_eq!(check(&["example.org"], &["*"]), Ok(()));
        let said = check(&["example.org"], &["example.com"]).unwrap_err();
        assert_eq!(said, "add `fetch = [\"example.org\"]` to [grants.\"mine:step\"] in master.toml");
        assert!(check(&[], &["*"]).unwrap_err().contains("must ask for `fetch`"));
    }
}
