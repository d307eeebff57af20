//! What a command may do here: what its plugin asks for, and the master grants, and this worker allows.
//! All three must name it. A pure function of values.

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::capability::is_free_variable;
use windlass_core::value::Failure;

use crate::glob::name_matches;

/// A scope that stands for everything.
const ANY: &str = "*";

/// `[allow]` of `worker.toml`: hook (qualified, `plugin:*` or `*`) to capability to scope.
pub type Allow = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// What one side of the agreement permits: capability to scope.
type Scopes = BTreeMap<String, BTreeSet<String>>;

/// What one command may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// `plugin:hook`, for messages.
    hook: String,
    /// Of the component, for messages.
    digest: String,
    asked: Scopes,
    granted: Scopes,
    /// `None`: the worker allows whatever the other two say.
    allowed: Option<Scopes>,
}

/// Which programs a command may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exec {
    /// This one, as the worker's own `PATH` finds it.
    Named,
    /// Any, and so with any environment: `env X=Y PROGRAM` is a program, too.
    Any,
}

impl Grants {
    /// Puts the three sides together. Where no entry of `allow` names the hook, a bundled component may do
    /// what it asks for, and any other nothing.
    pub fn new<'a>(
        hook: String,
        digest: String,
        asked: impl IntoIterator<Item = (&'a str, &'a [String])>,
        granted: impl IntoIterator<Item = (&'a str, &'a [String])>,
        allow: &Allow,
        bundled: bool,
    ) -> Grants {
        let plugin = hook.split_once(':').map_or(hook.as_str(), |(plugin, _)| plugin);
        let all_of_it = format!("{plugin}:{ANY}");
        let entries: Vec<_> = [ANY, &all_of_it, &hook].into_iter().filter_map(|key| allow.get(key)).collect();
        let is_unnamed = entries.is_empty();
        let entries = entries.into_iter().flatten().map(|(name, scope)| (name.as_str(), scope.as_slice()));
        let allowed = (!bundled || !is_unnamed).then(|| scopes(entries));
        Grants { asked: scopes(asked), granted: scopes(granted), allowed, hook, digest }
    }

    /// May it start this program? By the very name or path that is granted, or by `*`.
    pub fn exec(&self, program: &str) -> Result<Exec, Failure> {
        let any = |scopes: &Scopes| scopes.get("exec").is_some_and(|scope| scope.contains(ANY));
        if self.missing(any).is_none() {
            return Ok(Exec::Any);
        }
        let named = |scope: &BTreeSet<String>| scope.contains(ANY) || scope.contains(program);
        let covers = |scopes: &Scopes| scopes.get("exec").is_some_and(named);
        match self.missing(covers) {
            None => Ok(Exec::Named),
            Some(side) => Err(self.denied("exec", program, &format!("run `{program}`"), side)),
        }
    }

    /// May it set or unset this variable of a program that it starts by name?
    pub fn env(&self, name: &str) -> Result<(), Failure> {
        if is_free_variable(name) {
            return Ok(());
        }
        let matches = |scope: &BTreeSet<String>| scope.iter().any(|pattern| name_matches(pattern, name));
        let covers = |scopes: &Scopes| scopes.get("env").is_some_and(matches);
        match self.missing(covers) {
            None => Ok(()),
            Some(side) => Err(self.denied("env", name, &format!("set the variable `{name}`"), side)),
        }
    }

    /// May it touch files below the builder's directory?
    pub fn files(&self) -> Result<(), Failure> {
        let any_scope = |scopes: &Scopes| scopes.contains_key("files");
        let missing = self.missing(any_scope);
        missing.map_or(Ok(()), |side| Err(self.denied("files", ANY, "touch files", side)))
    }

    /// May it put this secret into a process?
    pub fn secret(&self, name: &str) -> Result<(), Failure> {
        let covers = |scopes: &Scopes| {
            scopes.get("secret").is_some_and(|scope| scope.contains(ANY) || scope.contains(name))
        };
        match self.missing(covers) {
            None => Ok(()),
            Some(side) => Err(self.denied("secret", name, &format!("use the secret `{name}`"), side)),
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
                format!(
                    "add `{capability} = [\"{wanted}\"]` to [grants.\"{hook}\"] in master.toml, then run \
                     `windlass reconfig`"
                ),
            ),
            Side::Worker => (
                "this worker does not allow it",
                format!(
                    "add `{capability} = [\"{wanted}\"]` to [allow.\"{hook}\"] in worker.toml, then start the \
                     worker again"
                ),
            ),
        };
        let digest = &self.digest;
        let mut failure = Failure::new("denied", format!("`{hook}` ({digest}) may not {what}: {why}"));
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
        let digest = "1a2b3c4d".to_owned();
        let grants = Grants::new("lint:check".into(), digest, side(&asked), side(&granted), allow, bundled);
        let failure = grants.exec(program).err()?;
        assert_eq!(failure.code, "denied");
        let names = ["`lint:check` (1a2b3c4d)", program];
        assert!(names.iter().all(|name| failure.message.contains(name)), "{failure}");
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
        assert_eq!(check("*", "*", &allow(&[("lint:other", "*")]), false, "git"), Some("worker"));
        assert_eq!(check("*", "*", &allow(&[("lint:check", "make"), ("*", "git")]), false, "git"), None);
    }

    #[test]
    fn without_a_word_in_the_configuration_only_bundled_components_are_trusted() {
        assert_eq!(check("*", "*", &Allow::new(), true, "git"), None);
        assert_eq!(check("*", "-", &Allow::new(), true, "git"), Some("master"));
        assert_eq!(check("*", "*", &Allow::new(), false, "git"), Some("worker"));
    }

    /// Symptom: whoever allowed a command of his own lost all bundled ones. Cause: any `[allow]` was all that
    /// was allowed. Cure: as in `[grants]`, a bundled one keeps what it asks for until something names it.
    #[test]
    fn what_is_allowed_to_others_takes_nothing_from_the_bundled_components() {
        assert_eq!(check("*", "*", &allow(&[("mine:mine", "git")]), true, "make"), None);
        for key in ["*", "lint:*", "lint:check"] {
            assert_eq!(check("*", "*", &allow(&[(key, "git")]), true, "git"), None, "{key}");
            assert_eq!(check("*", "*", &allow(&[(key, "git")]), true, "make"), Some("worker"), "{key}");
        }
        let nothing = Allow::from([("lint:*".to_owned(), BTreeMap::new())]);
        assert_eq!(check("*", "*", &nothing, true, "git"), Some("worker"));
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
            let (hook, digest) = ("windlass:mkdir".into(), String::new());
            Grants::new(hook, digest, files, granted.to_vec(), &Allow::new(), true).files()
        };
        assert_eq!(grants(&files), Ok(()));
        assert_eq!(grants(&[]).unwrap_err().code, "denied");
    }

    #[test]
    fn secrets_are_granted_by_name_on_all_sides() {
        let (any, key) = (list("*"), list("key"));
        let grants = |asked: &Vec<String>, granted: &Vec<String>| {
            let (asked, granted) = ([("secret", asked.as_slice())], [("secret", granted.as_slice())]);
            Grants::new("lint:check".into(), "1a2b3c4d".into(), asked, granted, &Allow::new(), true)
        };
        assert_eq!(grants(&any, &key).secret("key"), Ok(()));
        let denied = grants(&any, &key).secret("other").unwrap_err();
        assert_eq!(
            denied.message,
            "`lint:check` (1a2b3c4d) may not use the secret `other`: the master does not grant it"
        );
        assert!(grants(&key, &any).secret("other").unwrap_err().message.contains("does not ask"));
    }

    #[test]
    fn only_who_may_run_anything_on_all_sides_has_any_environment() {
        let (any, git) = (list("*"), list("git"));
        let grants = |granted: &Vec<String>| {
            let (asked, granted) = ([("exec", any.as_slice())], [("exec", granted.as_slice())]);
            Grants::new("lint:check".into(), String::new(), asked, granted, &Allow::new(), true)
        };
        assert_eq!(grants(&any).exec("git"), Ok(Exec::Any));
        assert_eq!(grants(&git).exec("git"), Ok(Exec::Named));
    }

    #[test]
    fn variables_are_granted_by_name_or_pattern_and_harmless_ones_are_free() {
        let scope = list("GIT_SSH_COMMAND LINT_*");
        let env = [("env", scope.as_slice())];
        let grants = |asked: &[(&'static str, &[String])]| {
            let (hook, digest) = ("lint:check".into(), "1a2b3c4d".into());
            Grants::new(hook, digest, asked.to_vec(), env, &Allow::new(), true)
        };
        let asking = grants(&env);
        for name in ["GIT_SSH_COMMAND", "LINT_", "LINT_LEVEL", "LANG", "LC_ALL", "TERM"] {
            assert_eq!(asking.env(name), Ok(()), "{name}");
        }
        for name in ["LD_PRELOAD", "PATH", "GIT_SSH", "MY_LINT_LEVEL", "lint_level"] {
            let failure = asking.env(name).unwrap_err();
            assert!(failure.message.contains(&format!("may not set the variable `{name}`")), "{failure}");
        }
        assert!(grants(&[]).env("LINT_LEVEL").is_err());
        assert_eq!(grants(&[]).env("NO_COLOR"), Ok(()));
    }
}
