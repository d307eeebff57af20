//! What a configuration is checked against.

use std::cell::RefCell;
use std::path::Path;

use windlass_config::config::Secret;
use windlass_config::{Answer, Catalog, HookFacts, Included, Unusable};
use windlass_core::policy::HookKind;
use windlass_runtime::Runtime;
use windlass_runtime::registry::Generation;

use crate::answers::{self, Answered, Answers};
use crate::include;
use crate::plugins::{BadPlugin, Hooks};
use crate::secrets;

/// What a configuration is checked against: the plugins, and the secrets as they are now.
pub(crate) struct Surroundings<'a> {
    /// Asks configurators.
    pub runtime: &'a Runtime,
    /// Answers for hooks.
    pub generation: &'a Generation,
    /// Plugins that are there and cannot be loaded: nobody knows what they offer.
    pub bad: &'a [BadPlugin],
    /// The configuration file. Paths begin in its directory.
    pub file: &'a Path,
    /// Whether this process has the environment that the master has.
    pub is_master: bool,
    /// What configurators wrote before, where that may stand in for what they do not write now.
    pub before: Option<&'a Answers>,
    /// What they wrote now, or what stands in for it.
    pub answered: RefCell<Vec<Answered>>,
}

impl Catalog for Surroundings<'_> {
    fn hook(&self, kind: HookKind, name: &str) -> Result<HookFacts, String> {
        let found = Hooks(self.generation).hook(kind, name);
        found.map_err(|missing| match (name.split_once(':'), self.bad) {
            (_, []) => missing,
            (Some((plugin, _)), bad) => match bad.iter().any(|bad| bad.name == plugin) {
                true => format!("plugin `{plugin}` cannot be loaded"),
                false => missing,
            },
            (None, bad) => {
                let names = bad.iter().map(|bad| format!("`{}`", bad.name)).collect::<Vec<_>>().join(", ");
                format!("{missing}; what cannot be loaded may have it: {names}")
            }
        })
    }

    fn include(&self, pattern: &str, room: usize) -> Result<Vec<Included>, String> {
        include::find(self.file, pattern, room)
    }

    fn configure(&self, hook: &str, args: &str) -> Result<Answer, String> {
        let found =
            self.generation.resolve(HookKind::Configurator, hook).map_err(|error| error.to_string())?;
        let question = answers::question(&found.plugin.digest, &found.hook, args);
        let now = self.runtime.configure(&found.plugin, &found.hook, args).map_err(|fault| fault.brief());
        let answer = answers::decide(now, || self.before?.last(&question))?;
        self.answered.borrow_mut().push(Answered { question, text: answer.text.clone() });
        Ok(answer)
    }

    fn variable(&self, name: &str) -> Option<String> {
        include::variable(name)
    }

    fn secret(&self, secret: Secret) -> Result<Secret, Unusable> {
        secrets::look(secret, self.file, self.is_master)
    }
}
