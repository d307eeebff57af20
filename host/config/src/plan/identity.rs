//! Which things are the same before and after a reconfig, and what becomes of those that are not.
//!
//! Buildbot's rules, where they were good: builders and workers are known by their names, schedulers by name and type,
//! change sources by equality. What it could not do is to see that code changed; here a component is its bytes.

use serde::{Deserialize, Serialize};
use windlass_core::digest::Digest;
use windlass_core::policy::HookKind;

use super::{Field, How};

/// Why a thing is said to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
pub enum Why {
    /// Nothing has its name, or is equal to it, in the old configuration.
    New,
    /// Nothing has its name in the new configuration.
    Gone,
    /// Its settings differ: the fields say which.
    Settings,
    /// A component that it uses is another, though the configuration says the same of it.
    Component {
        /// The kind of the hook that it uses.
        kind: HookKind,
        /// The hook.
        hook: String,
        /// The bytes before.
        old: Digest,
        /// The bytes after.
        new: Digest,
    },
    /// Its type is another: it is another thing of the same name.
    Type,
    /// Its token is another: who connected with the old one has shown nothing.
    Token,
    /// It has no identity but what stands in it, and that differs.
    Unequal,
    /// Tokens that commands made for it go with it.
    Tokens {
        /// Their numbers.
        tokens: Vec<u64>,
    },
}

/// How things of a kind change, as [`judge`] sees it.
pub(super) struct Verdict {
    pub how: How,
    pub why: Vec<Why>,
    /// What becomes of what it has, or had.
    pub effect: &'static str,
}

/// What becomes of things of a kind.
struct Rule {
    what: &'static str,
    added: &'static str,
    changed: &'static str,
    removed: &'static str,
    /// Whether this field makes another thing of it.
    restarts: fn(&str) -> Option<Why>,
    restarted: &'static str,
}

const RULES: &[Rule] = &[
    Rule::new("setting", "holds from now on"),
    Rule {
        added: "what it writes stands among the rest",
        removed: "what it wrote goes with it, as the rest says",
        ..Rule::new("configurator", "what it writes now stands among the rest")
    },
    Rule {
        removed: "who holds it goes on",
        ..Rule::new("lock", "who holds it keeps it; nobody takes of it while more is held than there is now")
    },
    Rule {
        added: "it may connect",
        removed: "its link is closed, and its builds end as retry",
        restarts: |field| (field == "token_hash").then_some(Why::Token),
        restarted: "its link is cut; its commands wait for it to come back with the new token",
        ..Rule::new("worker", "its link stays")
    },
    Rule {
        removed: "the default rule decides from now on",
        ..Rule::new("policy", "is asked from the next decision on")
    },
    Rule {
        removed: "running builds go on to their end; requests wait for a builder of this name",
        ..Rule::new("builder", "running builds keep what they began with; the next go by this")
    },
    Rule {
        added: "it begins where one of this name and repository has stopped, else with what is new from now on",
        removed: "it stops; how far it has read is kept for one of the same name and repository",
        restarts: |_| Some(Why::Unequal),
        restarted: "the old one stops, and a new one goes on where it was",
        ..Rule::new("git poller", "")
    },
    Rule {
        removed: "what waits in it is forgotten",
        restarts: |field| (field == "type").then_some(Why::Type),
        restarted: "the old one stops, and what waits in it is forgotten; the new one begins with nothing",
        ..Rule::new("scheduler", "what waits in it waits on")
    },
    Rule {
        added: "it begins with what happens from now on",
        removed: "what waits for it is dropped",
        ..Rule::new("reporter", "finishes what it tells just now, and goes on with what waits for it")
    },
    Rule {
        added: "its file is read",
        removed: "whom it knew are users no more",
        ..Rule::new("user manager", "its file is read anew")
    },
    Rule {
        added: "authors that it claims are shown by its name",
        removed: "its authors are shown as their changes say",
        ..Rule::new("user", "authors that it claims now are shown by its name")
    },
    Rule::new("grant", "holds for what starts from now on"),
    Rule::new("secret", "is read when it is needed next"),
];

impl Rule {
    const fn new(what: &'static str, changed: &'static str) -> Rule {
        Rule { what, added: "", changed, removed: "", restarts: |_| None, restarted: "" }
    }
}

/// What is to be said of a thing of this kind that is there before, after, or both, with these fields that differ and
/// these components that were replaced under it. None: it stays as it is.
pub(super) fn judge(
    what: &str,
    (before, after): (bool, bool),
    fields: &[Field],
    renewed: Vec<Why>,
) -> Option<Verdict> {
    let rule = RULES.iter().find(|rule| rule.what == what).expect("BUG: a kind of things without a rule");
    let (how, why, effect) = match (before, after) {
        (false, _) => (How::Added, vec![Why::New], rule.added),
        (true, false) => (How::Removed, vec![Why::Gone], rule.removed),
        (true, true) if fields.is_empty() && renewed.is_empty() => return None,
        (true, true) => {
            let mut another: Vec<Why> =
                fields.iter().filter_map(|field| (rule.restarts)(&field.name)).collect();
            another.dedup();
            let settings = (another.is_empty() && !fields.is_empty()).then_some(Why::Settings);
            let (how, effect) = match another.is_empty() {
                true => (How::Changed, rule.changed),
                false if what == "git poller" && fields.iter().any(|field| field.name == "repository") => {
                    (How::Restarted, "the old one stops, and a new one begins: its repository is another")
                }
                false => (How::Restarted, rule.restarted),
            };
            (how, another.into_iter().chain(settings).chain(renewed).collect(), effect)
        }
    };
    Some(Verdict { how, why, effect })
}
