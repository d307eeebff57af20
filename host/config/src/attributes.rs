//! Every setting that there is, as tables of types: what the readers ask for, what `docs/config.md` and the JSON
//! schema are made of.
//!
//! A reader takes a setting by its name here: one that is not listed cannot be read, and one that
//! is listed as working and that nobody reads is a panic of the first test that reads its table.

mod builder;
mod keeping;
mod kind;
mod master;
mod reporter;
mod schedule;
mod users;
mod worker;

pub use builder::{BUILDER, FACTORY, POLICIES, POLICY_USE, STEP};
pub use keeping::{ARTIFACTS, DECISIONS, LOGS};
pub use kind::{Kind, key};
pub use master::{
    CONFIGURATION, CONFIGURATOR, DATABASE, DEBUG, LOCK, LOCK_USE, MASTER, PROTOCOL, PROTOCOLS, SECRET,
    VALIDATION, WORKER,
};
pub use reporter::REPORTER;
pub use schedule::{CHANGE_FILTER, DEPENDENT, POLLER, SCHEDULER, SINGLE_BRANCH};
pub use users::{USER, USER_MANAGER, USERS_FILE};
pub use worker::WORKER_FILE;

pub use crate::section::canonical;

/// A table of a file: which settings it has.
#[derive(Debug)]
pub struct Table {
    /// As messages call it: `a builder`, `[logs]`.
    pub what: &'static str,
    /// As a heading shows it.
    pub heading: &'static str,
    /// What it is for, in a sentence or two.
    pub about: &'static str,
    /// Its settings, in the order of the page.
    pub attributes: &'static [Attribute],
}

/// A setting.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    /// Its name, in `snake_case`.
    pub name: &'static str,
    /// Other names that it has or had, in `snake_case`. `camelCase` and `kebab-case` are the same as these.
    pub also: &'static [&'static str],
    /// Which values it takes.
    pub kind: Kind,
    /// What holds without it.
    pub default: Default,
    /// What it does, in a sentence.
    pub effect: &'static str,
    /// A value other than the default, as TOML.
    pub example: &'static str,
    /// Whether it does that.
    pub state: State,
}

/// What holds where a setting is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// The file is refused.
    Needed,
    /// This, in words or as TOML.
    Is(&'static str),
}

/// Whether a setting does what its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Works,
    /// It does, and has another place here, which is the one that we suggest.
    WorksAs(&'static str),
    /// Its old meaning makes no sense here: it is accepted with a warning that says what to use.
    Warns(&'static str),
    /// A file that has it would not be what it says: it is refused, with what to use.
    Refused(&'static str),
}

impl Attribute {
    /// A setting that works.
    const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        example: &'static str,
        effect: &'static str,
    ) -> Attribute {
        let default = Default::Is(default);
        Attribute { name, also: &[], kind, default, effect, example, state: State::Works }
    }

    /// One that must be there.
    const fn needed(
        name: &'static str,
        kind: Kind,
        example: &'static str,
        effect: &'static str,
    ) -> Attribute {
        let default = Default::Needed;
        Attribute { name, also: &[], kind, default, effect, example, state: State::Works }
    }

    /// One without an effect here.
    const fn warns(
        name: &'static str,
        kind: Kind,
        example: &'static str,
        instead: &'static str,
    ) -> Attribute {
        let default = Default::Is("");
        Attribute { name, also: &[], kind, default, effect: "none", example, state: State::Warns(instead) }
    }

    /// One that is refused.
    const fn refused(name: &'static str, instead: &'static str) -> Attribute {
        let (kind, default) = (Kind::Any, Default::Is(""));
        Attribute {
            name,
            also: &[],
            kind,
            default,
            effect: "none",
            example: "",
            state: State::Refused(instead),
        }
    }

    /// The same with other names.
    const fn also(self, also: &'static [&'static str]) -> Attribute {
        Attribute { also, ..self }
    }

    /// The same with another place.
    const fn works_as(self, place: &'static str) -> Attribute {
        Attribute { state: State::WorksAs(place), ..self }
    }

    /// All its names, the first of which is the one that we suggest.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.also.iter().copied())
    }

    /// Whether somebody reads it.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(self.state, State::Works | State::WorksAs(_))
    }
}

impl Table {
    /// The setting that has this name, in `snake_case`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes.iter().find(|attribute| attribute.names().any(|known| known == name))
    }
}

/// All tables of `master.toml`, in the order of the page.
pub static OF_MASTER: &[&Table] = &[
    &CONFIGURATION,
    &CONFIGURATOR,
    &MASTER,
    &PROTOCOLS,
    &PROTOCOL,
    &DATABASE,
    &VALIDATION,
    &WORKER,
    &BUILDER,
    &FACTORY,
    &STEP,
    &POLICIES,
    &POLICY_USE,
    &LOCK,
    &LOCK_USE,
    &POLLER,
    &SCHEDULER,
    &SINGLE_BRANCH,
    &DEPENDENT,
    &CHANGE_FILTER,
    &REPORTER,
    &USER_MANAGER,
    &SECRET,
    &DEBUG,
    &LOGS,
    &DECISIONS,
    &ARTIFACTS,
];
