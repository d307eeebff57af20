//! The properties that a build begins with.

use windlass_config::config::Worker;
use windlass_core::builder::Builder;
use windlass_core::change::Change;
use windlass_core::properties::Properties;
use windlass_core::record::BuildRow;
use windlass_core::request::Buildset;
use windlass_core::value::Value;

use crate::worker_link::ConnectedWorker;

/// Where they come from, in the order in which later ones win.
pub(super) struct Sources<'a> {
    pub(super) config: &'a Properties,
    pub(super) changes: &'a [Change],
    /// In the order of the requests: what the first one says wins.
    pub(super) buildsets: &'a [Buildset],
    pub(super) builder: &'a Builder,
    /// None: the worker was removed from the configuration meanwhile.
    pub(super) worker: Option<&'a Worker>,
    pub(super) row: &'a BuildRow,
}

/// Puts them together; last come those that the build itself has.
pub(super) fn of(sources: &Sources<'_>) -> Properties {
    let mut properties = sources.config.clone();
    for change in sources.changes {
        properties.extend(&change.properties);
    }
    for buildset in sources.buildsets.iter().rev() {
        properties.extend(&buildset.properties);
    }
    properties.extend(&sources.builder.properties);
    properties.extend_unset(&sources.builder.default_properties);
    if let Some(worker) = sources.worker {
        properties.extend(&worker.properties);
        properties.extend_unset(&worker.default_properties);
    }
    properties.extend(&sources.row.properties);
    own(&mut properties, sources);
    properties
}

/// What templates know of the worker: what it says of itself, its name, and the operator's word on it.
pub(super) fn of_worker(
    name: &str,
    worker: Option<&Worker>,
    connected: Option<&ConnectedWorker>,
) -> Properties {
    let mut properties = Properties::default();
    let mut set = |name: &str, value: Value| properties.set(name, value, "Worker");
    if let Some(ConnectedWorker { version, facts, .. }) = connected {
        facts.iter().for_each(|fact| set(&fact.name, fact.value.clone()));
        set("version", version.as_str().into());
    }
    set("name", name.into());
    if let Some(worker) = worker {
        properties.extend_unset(&worker.default_properties);
        properties.extend(&worker.properties);
    }
    properties
}

fn own(properties: &mut Properties, sources: &Sources<'_>) {
    let row = sources.row;
    let mut set = |name: &str, value: Value| properties.set(name, value, "Build");
    set("buildername", row.builder.as_str().into());
    set("buildnumber", i64::try_from(row.number).map_or(Value::Null, Value::Integer));
    set("workername", row.worker.as_str().into());
    set("builddir", sources.builder.builddir.as_str().into());
    // With several codebases there is no one branch; `%(src:CODEBASE:branch)s` names each.
    let stamp = match row.stamps.as_slice() {
        [one] => Some(one),
        several => several.iter().find(|stamp| stamp.codebase.is_empty()),
    };
    if let Some(stamp) = stamp {
        let optional = |text: &Option<String>| text.as_deref().map_or(Value::Null, Value::from);
        set("branch", optional(&stamp.branch));
        set("revision", optional(&stamp.revision));
        set("repository", stamp.repository.as_str().into());
        set("project", stamp.project.as_str().into());
        set("codebase", stamp.codebase.as_str().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build_driver::tests::{builder, row};
    use windlass_core::change::SourceStamp;
    use windlass_core::id::BuildsetId;
    use windlass_core::time::Timestamp;
    use windlass_core::value::Pair;

    fn one(name: &str, value: &str) -> Properties {
        let mut properties = Properties::default();
        properties.set(name, value.into(), "test");
        properties
    }

    fn buildset(properties: Properties) -> Buildset {
        Buildset {
            id: BuildsetId(1),
            reason: String::new(),
            submitter: String::new(),
            stamps: Vec::new(),
            properties,
            submitted: Timestamp(0),
            requests: Vec::new(),
            complete: None,
            parent: None,
        }
    }

    #[test]
    fn later_sources_win_and_the_build_has_the_last_word() {
        let mut row = row();
        row.stamps = vec![SourceStamp { branch: Some("dev".to_owned()), ..SourceStamp::default() }];
        let mut builder = builder(Vec::new());
        builder.properties = one("b", "builder");
        let mut config = one("a", "config");
        config.extend(&one("b", "config"));
        config.extend(&one("buildername", "forged"));
        builder.default_properties = one("b", "default");
        builder.default_properties.extend(&one("e", "builder's default"));
        let worker = Worker {
            name: "w1".to_owned(),
            token_hash: None,
            max_builds: None,
            properties: one("d", "worker"),
            default_properties: one("e", "worker's default"),
            locks: Vec::new(),
        };
        let properties = of(&Sources {
            config: &config,
            changes: &[],
            buildsets: &[buildset(one("c", "first")), buildset(one("c", "second"))],
            builder: &builder,
            worker: Some(&worker),
            row: &row,
        });
        let text = |name: &str| properties.get(name).map(Value::to_text).unwrap_or_default();
        assert_eq!(
            ["a", "b", "c", "d", "e", "buildername", "branch", "revision", "builddir"].map(text),
            [
                "config",
                "builder",
                "first",
                "worker",
                "builder's default",
                &row.builder,
                "dev",
                "",
                &builder.builddir
            ]
        );
        assert_eq!(properties.source("buildername"), Some("Build"));
    }

    #[test]
    fn templates_know_what_the_worker_says_and_the_operator_knows_better() {
        let connected = ConnectedWorker {
            name: "w1".to_owned(),
            since: Timestamp(0),
            version: "0.1.0".to_owned(),
            peer: String::new(),
            facts: vec![
                Pair { name: "os".to_owned(), value: "linux".into() },
                Pair { name: "cores".to_owned(), value: Value::Integer(2) },
            ],
            load: None,
            draining: false,
            session: crate::worker_link::Session::default(),
            token: None,
        };
        let mut worker = Worker {
            name: "w1".to_owned(),
            token_hash: None,
            max_builds: None,
            properties: one("os", "debian"),
            default_properties: one("cores", "many"),
            locks: Vec::new(),
        };
        worker.default_properties.extend(&one("disk", "fast"));
        let known = of_worker("w1", Some(&worker), Some(&connected));
        let text = |name: &str| known.get(name).map(Value::to_text).unwrap_or_default();
        assert_eq!(
            ["name", "os", "cores", "disk", "version"].map(text),
            ["w1", "debian", "2", "fast", "0.1.0"]
        );
        assert_eq!(of_worker("w2", None, None).pairs(), one("name", "w2").pairs());
    }

    #[test]
    fn build_of_several_codebases_has_no_branch_of_its_own() {
        let stamp = |codebase: &str| SourceStamp { codebase: codebase.to_owned(), ..SourceStamp::default() };
        let mut row = row();
        row.stamps = vec![stamp("app"), stamp("lib")];
        let none = Properties::default();
        let builder = builder(Vec::new());
        let sources = Sources {
            config: &none,
            changes: &[],
            buildsets: &[],
            builder: &builder,
            worker: None,
            row: &row,
        };
        assert_eq!(of(&sources).get("branch"), None);
        assert!(of(&sources).get("buildnumber").is_some());
    }
}
