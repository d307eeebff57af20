//! A configuration that was read, with all that it depends on: its text, and what the catalog answered. Where both are
//! still the same, reading it again would come to the same, and need not be done.

use std::cell::RefCell;
use std::collections::VecDeque;
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
        self.read_knowing(VecDeque::new(), catalog)
    }

    /// The same where the first answers are known already.
    fn read_knowing(self, known: VecDeque<Asked>, catalog: &dyn Catalog) -> Checked<Read> {
        let file = Arc::clone(self.0.sources.first());
        let noting = Noting { catalog, known: RefCell::new(known), asked: RefCell::default() };
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

    /// Reads the same text again. All questions are put to `catalog`, in the same order; only from the first one on that is
    /// answered in another way, the text is checked anew.
    pub fn again(self: &Arc<Read>, catalog: &dyn Catalog) -> Checked<Arc<Read>> {
        let mut now = VecDeque::new();
        for before in &self.asked {
            now.push_back(before.again(catalog));
            if now.back() != Some(before) {
                let text = MasterText::parse(Path::new(self.file.name()), self.file.text());
                let Checked { config, warnings } = text.read_knowing(now, catalog);
                return Checked { config: config.map(Arc::new), warnings };
            }
        }
        Checked { config: Ok(Arc::clone(self)), warnings: self.warnings.clone() }
    }
}

/// A question to the catalog, and its answer.
#[derive(PartialEq)]
enum Asked {
    Hook(HookKind, String, Result<HookFacts, String>),
    Include(String, usize, Result<Vec<Included>, String>),
    Configure(String, String, Result<Answer, String>),
    Variable(String, Option<String>),
    Secret(Secret, Result<Secret, Unusable>),
}

impl Asked {
    /// The same question, and the answer to it now.
    fn again(&self, catalog: &dyn Catalog) -> Asked {
        match self {
            Asked::Hook(kind, name, _) => Asked::Hook(*kind, name.clone(), catalog.hook(*kind, name)),
            Asked::Include(pattern, room, _) => {
                Asked::Include(pattern.clone(), *room, catalog.include(pattern, *room))
            }
            Asked::Configure(hook, args, _) => {
                Asked::Configure(hook.clone(), args.clone(), catalog.configure(hook, args))
            }
            Asked::Variable(name, _) => Asked::Variable(name.clone(), catalog.variable(name)),
            Asked::Secret(secret, _) => Asked::Secret(secret.clone(), catalog.secret(secret.clone())),
        }
    }
}

/// Notes each answer, and passes on the questions to which none is known. What earlier checks knew of hooks is not passed
/// on: it would not be asked.
struct Noting<'a> {
    catalog: &'a dyn Catalog,
    /// Answers to the first questions. The same text with the same answers asks the same.
    known: RefCell<VecDeque<Asked>>,
    asked: RefCell<Vec<Asked>>,
}

impl Noting<'_> {
    fn known(&self) -> Option<Asked> {
        self.known.borrow_mut().pop_front()
    }

    fn note<T: Clone>(&self, answer: T, asked: impl FnOnce(T) -> Asked) -> T {
        self.asked.borrow_mut().push(asked(answer.clone()));
        answer
    }
}

impl Catalog for Noting<'_> {
    fn hook(&self, kind: HookKind, name: &str) -> Result<HookFacts, String> {
        let facts = match self.known() {
            Some(Asked::Hook(.., facts)) => facts,
            _ => self.catalog.hook(kind, name),
        };
        self.note(facts, |facts| Asked::Hook(kind, name.to_owned(), facts))
    }

    fn include(&self, pattern: &str, room: usize) -> Result<Vec<Included>, String> {
        let files = match self.known() {
            Some(Asked::Include(.., files)) => files,
            _ => self.catalog.include(pattern, room),
        };
        self.note(files, |files| Asked::Include(pattern.to_owned(), room, files))
    }

    fn configure(&self, hook: &str, args: &str) -> Result<Answer, String> {
        let answer = match self.known() {
            Some(Asked::Configure(.., answer)) => answer,
            _ => self.catalog.configure(hook, args),
        };
        self.note(answer, |answer| Asked::Configure(hook.to_owned(), args.to_owned(), answer))
    }

    fn variable(&self, name: &str) -> Option<String> {
        let value = match self.known() {
            Some(Asked::Variable(_, value)) => value,
            _ => self.catalog.variable(name),
        };
        self.note(value, |value| Asked::Variable(name.to_owned(), value))
    }

    fn secret(&self, secret: Secret) -> Result<Secret, Unusable> {
        let found = match self.known() {
            Some(Asked::Secret(_, found)) => found,
            _ => self.catalog.secret(secret.clone()),
        };
        self.note(found, |found| Asked::Secret(secret, found))
    }
}
