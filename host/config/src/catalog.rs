//! What a configuration must know of its surroundings: of the plugins that are loaded, and whether
//! secrets can be had.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use windlass_core::policy::HookKind;
use windlass_core::value::Pair;

use crate::args::Schema;
use crate::config::Secret;
use crate::diagnostic::Severity;

/// The hooks that configurations can name, and all else that a check asks for. Each question stands in `reread`, too: one that
/// did not would have its default as answer there, and nobody would see that the answer is another now.
pub trait Catalog {
    /// Returns the hook `name` of `kind`: `plugin:hook`, or a name that one plugin alone offers.
    /// An error is a sentence for the person who wrote the name, with near misses.
    fn hook(&self, kind: HookKind, name: &str) -> Result<HookFacts, String>;

    /// What earlier checks with these same hooks know of them.
    fn known(&self) -> Known {
        Known::default()
    }

    /// The files that a pattern of `include` means, in the order of their names; they may have `room` bytes together.
    /// An error goes on after "`include` cannot be followed: ".
    fn include(&self, pattern: &str, room: usize) -> Result<Vec<Included>, String> {
        let _ = (pattern, room);
        Err("there is no folder here".to_owned())
    }

    /// The TOML that a configurator answers; `hook` is qualified, and the arguments are JSON that was checked. An error goes
    /// on after "the configurator `x` gives no configuration: ".
    fn configure(&self, hook: &str, args: &str) -> Result<Answer, String> {
        let _ = (hook, args);
        Err("there are no components here".to_owned())
    }

    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }

    /// Looks whether the value of a secret can be had now. What is returned is what the checked
    /// configuration keeps: with a path that no longer depends on where the file is.
    fn secret(&self, secret: Secret) -> Result<Secret, Unusable> {
        Ok(secret)
    }
}

/// What a configurator wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// TOML.
    pub text: String,
    /// Why it wrote nothing now, if this is what it wrote when it was asked the same before.
    pub fault: Option<String>,
}

impl From<String> for Answer {
    fn from(text: String) -> Answer {
        Answer { text, fault: None }
    }
}

/// A file that a configuration includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    /// As messages call it.
    pub name: String,
    /// Where it is, by whatever name; a file is included once.
    pub path: PathBuf,
    /// What stands in it.
    pub text: String,
}

/// Why the value of a secret cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Goes on after "the secret `x`".
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// Whether the configuration is refused for it.
    pub severity: Severity,
}

/// What is known of a hook.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HookFacts {
    /// `plugin:hook`; it is what the checked configuration keeps.
    pub qualified: String,
    /// JSON Schema of its arguments; none: it takes none.
    pub schema: Option<serde_json::Value>,
    /// Facts that the plugin tells of it. Of a step: `halt-on-failure`, `flunk-on-failure`,
    /// `flunk-on-warnings`, `warn-on-failure`, `warn-on-warnings`, `always-run` are the defaults of
    /// its flags.
    pub options: Vec<Pair>,
}

/// Hooks of one catalog that were looked up already, each with its schema compiled: that costs more than all
/// the rest of a step. Clones share what they know.
#[derive(Clone, Default)]
pub struct Known(Arc<Mutex<Found>>);

type Found = BTreeMap<(HookKind, String), Arc<Hook>>;

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known(…)")
    }
}

/// A catalog in which each hook is looked up, and its schema compiled, once.
pub(crate) struct Hooks<'a> {
    catalog: &'a dyn Catalog,
    known: Known,
}

/// A hook that the catalog has.
pub(crate) struct Hook {
    pub(crate) facts: HookFacts,
    /// Or why its schema is not usable.
    pub(crate) schema: Result<Schema, String>,
}

impl<'a> Hooks<'a> {
    pub(crate) fn new(catalog: &'a dyn Catalog) -> Hooks<'a> {
        Hooks { catalog, known: catalog.known() }
    }

    pub(crate) fn configure(&self, hook: &str, args: &str) -> Result<Answer, String> {
        self.catalog.configure(hook, args)
    }

    pub(crate) fn secret(&self, secret: Secret) -> Result<Secret, Unusable> {
        self.catalog.secret(secret)
    }

    pub(crate) fn find(&self, kind: HookKind, name: &str) -> Result<Arc<Hook>, String> {
        let key = (kind, name.to_owned());
        let mut known = self.known.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hook) = known.get(&key) {
            return Ok(Arc::clone(hook));
        }
        let facts = self.catalog.hook(kind, name)?;
        let schema = Schema::compile(facts.schema.as_ref());
        let hook = Arc::new(Hook { facts, schema });
        known.insert(key, Arc::clone(&hook));
        Ok(hook)
    }
}
