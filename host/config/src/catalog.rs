//! What a configuration must know of the plugins that are loaded.

use windlass_core::policy::HookKind;
use windlass_core::value::Pair;

/// The hooks that configurations can name.
pub trait Catalog {
    /// Returns the hook `name` of `kind`: `plugin:hook`, or a name that one plugin alone offers.
    /// An error is a sentence for the person who wrote the name, with near misses.
    fn hook(&self, kind: HookKind, name: &str) -> Result<HookFacts, String>;
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
