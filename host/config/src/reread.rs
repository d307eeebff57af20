//! A configuration that was read, with all that it depends on: its text, and what the catalog answered. Where both are
//! still the same, reading it again would come to the same, and need not be done.

use std::cell::RefCell;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use windlass_core::policy::HookKind;

use crate::catalog::{Answer, Catalog, HookFacts, Included, Unusable};
use crate::config::{self, Secret};
use crate::diagnostic::Diagnostics;
use crate::sources::Source;
use crate::{Checked, MasterText};

/// A `master.toml` that was read, and is good.
pub struct Read {
    file: Source,
    asked: Vec<Asked>,
    /// What it says.
    pub config: Arc<config::Master>,
    /// What is allowed in it, and probably not meant.
    pub warnings: Option<Diagnostics>,
}

/// Without the texts, which may be long.
impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read").field("name", &self.file.name()).finish_non_exhaustive()
    }
}

impl MasterText {
    /// Checks it, and notes what that depended on.
    pub fn read(self, catalog: &dyn Catalog) -> Checked<Read> {
        let file = Arc::clone(self.0.sources.first());
        let noting = Noting { catalog, asked: RefCell::default() };
        let Checked { config, warnings } = self.check(&noting);
        let asked = noting.asked.into_inner();
        let read = |config| Read { file, asked, config: Arc::new(config), warnings: warnings.clone() };
        Checked { config: config.map(read), warnings }
    }
}

impl Read {
    /// Whether it was this text, in the file that messages call `path`.
    #[must_use]
    pub fn is_of(&self, path: &Path, text: &str) -> bool {
        self.file.text() == text && self.file.name() == path.display().to_string()
    }

    /// The text, to be read again.
    #[must_use]
    pub fn text(&self) -> &str {
        self.file.text()
    }

    /// Whether `catalog` answers everything as it was answered then: all is asked again, in the same order, until an
    /// answer is another.
    pub fn holds(&self, catalog: &dyn Catalog) -> bool {
        self.asked.iter().all(|asked| asked.holds(catalog))
    }
}

/// A question to the catalog, and its answer.
enum Asked {
    Hook(HookKind, String, Result<HookFacts, String>),
    Include(String, usize, Result<Vec<Included>, String>),
    Configure(String, String, Result<Answer, String>),
    Variable(String, Option<String>),
    Secret(Secret, Result<Secret, Unusable>),
}

impl Asked {
    fn holds(&self, catalog: &dyn Catalog) -> bool {
        match self {
            Asked::Hook(kind, name, facts) => catalog.hook(*kind, name) == *facts,
            Asked::Include(pattern, room, files) => catalog.include(pattern, *room) == *files,
            Asked::Configure(hook, args, answer) => catalog.configure(hook, args) == *answer,
            Asked::Variable(name, value) => catalog.variable(name) == *value,
            Asked::Secret(secret, found) => catalog.secret(secret.clone()) == *found,
        }
    }
}

/// Passes each question on, and notes the answer. What earlier checks knew of hooks is not passed on: it would not be asked.
struct Noting<'a> {
    catalog: &'a dyn Catalog,
    asked: RefCell<Vec<Asked>>,
}

impl Noting<'_> {
    fn note<T: Clone>(&self, answer: T, asked: impl FnOnce(T) -> Asked) -> T {
        self.asked.borrow_mut().push(asked(answer.clone()));
        answer
    }
}

impl Catalog for Noting<'_> {
    fn hook(&self, kind: HookKind, name: &str) -> Result<HookFacts, String> {
        self.note(self.catalog.hook(kind, name), |facts| Asked::Hook(kind, name.to_owned(), facts))
    }

    fn include(&self, pattern: &str, room: usize) -> Result<Vec<Included>, String> {
        self.note(self.catalog.include(pattern, room), |files| {
            Asked::Include(pattern.to_owned(), room, files)
        })
    }

    fn configure(&self, hook: &str, args: &str) -> Result<Answer, String> {
        self.note(self.catalog.configure(hook, args), |answer| {
            Asked::Configure(hook.to_owned(), args.to_owned(), answer)
        })
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.note(self.catalog.variable(name), |value| Asked::Variable(name.to_owned(), value))
    }

    fn secret(&self, secret: Secret) -> Result<Secret, Unusable> {
        self.note(self.catalog.secret(secret.clone()), |found| Asked::Secret(secret, found))
    }
}
