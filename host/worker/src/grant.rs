//! What a command may do here: what its plugin asks for, and the master grants, and this worker allows.
//! All three must name it. A pure function of values.

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::value::Failure;

/// A scope that stands for everything.
const ANY: &str = "*";

/// `[allow]` of `worker.toml`: hook (qualified or `*`) to capability to scope.
pub type Allow = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// What one side of the agreement permits: capability to scope.
type Scopes = BTreeMap<String, BTreeSet<String>>;

/// What one command may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// `plugin:hook`, for messages.
    hook: String,
    asked: Scopes,
    granted: Scopes,
    /// `None`: the worker allows whatever the other two say.
    allowed: Option<Scopes>,
}

impl Grants {
    /// Puts the three sides together. An `allow` without any entry permits the bundled components what
    /// they ask for, and nobody else anything.
    pub fn new<'a>(
        hook: String,
        asked: impl IntoIterator<Item = (&'a str, &'a [String])>,
        granted: impl IntoIterator<Item = (&'a str, &'a [String])>,
        allow: &Allow,
        bundled: bool,
    ) -> Grants {
        let plugin = hook.split_once(':').map_or(hook.as_str(), |(plugin, _)| plugin);
        let allowed = if allow.is_empty() {
            (!bundled).then(Scopes::new)
        } else {
            let all_of_it = format!("{plugin}:{ANY}");
            let entries =
                [ANY, all_of_it.as_str(), hook.as_str()].into_iter().filter_map(|key| allow.get(key));
            Some(scopes(entries.flatten().map(|(name, scope)| (name.as_str(), scope.as_slice()))))
        };
        Grants { asked: scopes(asked), granted: scopes(granted), allowed, hook }
    }

    /// May it start this program? A name without a slash is looked up in `PATH`; a path is granted as a
    /// path, or by `*`.
    pub fn exec(&self, program: &str) -> Result<(), Failure> {
        self.check("exec", program, &format!("run `{program}`"))
    }

    /// May it touch files below the builder's directory?
    pub fn files(&self) -> Result<(), Failure> {
        let any_scope = |scopes: &Scopes| scopes.contains_key("files");
        let missing = self.missing(any_scope);
        missing.map_or(Ok(()), |side| Err(self.denied("files", ANY, "touch files", side)))
    }

    fn check(&self, capability: &str, wanted: &str, what: &str) -> Result<(), Failure> {
        let covers = |scopes: &Scopes| {
            scopes.get(capability).is_some_and(|scope| scope.contains(ANY) || scope.contains(wanted))
        };
        match self.missing(covers) {
            None => Ok(()),
            Some(side) => Err(self.denied(capability, wanted, what, side)),
        }
    }

    fn missing(&self, covers: impl Fn(&Scopes) -> bool) -> Option<Side> {
        if !covers(&self.asked) {
            Some(Side::Plugin)
        } else if !covers(&self.granted) {
            Some(Side::Master)
        } else if !self.allowed.as_ref().is_none_or(covers) {
            Some(Side::Worker)
        } else {
            None
        }
    }

    fn denied(&self, capability: &str, wanted: &str, what: &str, side: Side) -> Failure {
        let hook = &self.hook;
        let (why, cure) = match side {
            Side::Plugin => (
                "the plugin does not ask for it",
                format!("its `describe` must ask for `{capability}` with `{wanted}` in the scope"),
            ),
            Side::Master => (
                "the master does not grant it",
                format!("add `{capability} = [\"{wanted}\"]` to [grants.\"{hook}\"] in master.toml"),
            ),
            Side::Worker => (
                "this worker does not allow it",
                format!("add `{capability} = [\"{wanted}\"]` to [allow.\"{hook}\"] in worker.toml"),
            ),
        };
        let mut failure = Failure::new("denied", format!("`{hook}` may not {what}: {why}"));
        failure.detail = Some(cure);
        failure
    }
}

#[derive(Clone, Copy)]
enum Side {
    Plugin,
    Master,
    Worker,
}

fn scopes<'a>(list: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Scopes {
    let mut scopes = Scopes::new();
    for (capability, scope) in list {
        scopes.entry(capability.to_owned()).or_default().extend(scope.iter().cloned());
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(scope: &str) -> Vec<String> {
        scope.split_whitespace().map(str::to_owned).collect()
    }

    fn allow(entries: &[(&str, &str)]) -> Allow {
        let exec = |scope: &str| BTreeMap::from([("exec".to_owned(), list(scope))]);
        entries.iter().map(|(hook, scope)| ((*hook).to_owned(), exec(scope))).collect()
    }

    /// Who denies `program`; `None`: it may run. `-`: that side does not name the capability at all.
    fn check(
        asked: &str,
        granted: &str,
        allow: &Allow,
        bundled: bool,
        program: &str,
    ) -> Option<&'static str> {
        let (asked, granted) = (list(asked), list(granted));
        fn side(scope: &[String]) -> Vec<(&str, &[String])> {
            if scope == ["-"] { vec![] } else { vec![("exec", scope)] }
        }
        let grants = Grants::new("lint:check".into(), side(&asked), side(&granted), allow, bundled);
        let failure = grants.exec(program).err()?;
        assert_eq!(failure.code, "denied");
        assert!(failure.message.contains("lint:check") && failure.message.contains(program), "{failure}");
        let sides = [("does not ask", "plugin"), ("not grant", "master"), ("not allow", "worker")];
        sides.iter().find(|(text, _)| failure.message.contains(text)).map(|(_, side)| *side)
    }

    #[test]
    fn all_three_sides_must_name_a_program() {
        let any = allow(&[("*", "*")]);
        assert_eq!(check("*", "*", &any, false, "git"), None);
        assert_eq!(check("git", "git make", &allow(&[("*", "git")]), false, "git"), None);
        assert_eq!(check("-", "*", &any, false, "git"), Some("plugin"));
        assert_eq!(check("make", "*", &any, false, "git"), Some("plugin"));
        assert_eq!(check("*", "-", &any, false, "git"), Some("master"));
        assert_eq!(check("*", "make", &any, false, "git"), Some("master"));
        assert_eq!(check("*", "*", &allow(&[("*", "make")]), false, "git"), Some("worker"));
    }

    #[test]
    fn a_worker_allows_by_hook_by_plugin_or_to_all() {
        for key in ["*", "lint:*", "lint:check"] {
            assert_eq!(check("*", "*", &allow(&[(key, "git")]), false, "git"), None, "{key}");
        }
        assert_eq!(check("*", "*", &allow(&[("lint:other", "*")]), true, "git"), Some("worker"));
        assert_eq!(check("*", "*", &allow(&[("lint:check", "make"), ("*", "git")]), false, "git"), None);
    }

    #[test]
    fn without_a_word_in_the_configuration_only_bundled_components_are_trusted() {
        assert_eq!(check("*", "*", &Allow::new(), true, "git"), None);
        assert_eq!(check("*", "-", &Allow::new(), true, "git"), Some("master"));
        assert_eq!(check("*", "*", &Allow::new(), false, "git"), Some("worker"));
    }

    #[test]
    fn a_path_is_not_granted_by_the_name_at_its_end() {
        assert_eq!(check("*", "git", &allow(&[("*", "*")]), false, "./git"), Some("master"));
        assert_eq!(check("*", "/usr/bin/git", &allow(&[("*", "*")]), false, "/usr/bin/git"), None);
    }

    #[test]
    fn files_are_granted_as_a_whole() {
        let scope = list("*");
        let files = [("files", scope.as_slice())];
        let grants = |granted: &[(&'static str, &[String])]| {
            Grants::new("windlass:mkdir".into(), files, granted.to_vec(), &Allow::new(), true).files()
        };
        assert_eq!(grants(&files), Ok(()));
        assert_eq!(grants(&[]).unwrap_err().code, "denied");
    }
}
