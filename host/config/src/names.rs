//! Names of one kind: each is given once, and only names that were given can be meant.

use std::collections::BTreeMap;

use windlass_core::text::is_like;

use crate::diagnostic::Report;
use crate::node::Span;

/// The names of a kind of things, with their places.
pub(crate) struct Names {
    /// `worker`, `builder`.
    what: &'static str,
    given: BTreeMap<String, (Span, bool)>,
    /// What others would be called that are not there because of another mistake; `*` stands for any text.
    lost: Vec<String>,
}

impl Names {
    pub(crate) fn new(what: &'static str) -> Names {
        Names { what, given: BTreeMap::new(), lost: Vec::new() }
    }

    /// Notes what others would be called that are not there because of another mistake, which is enough to tell.
    pub(crate) fn excuse(&mut self, lost: Vec<String>) {
        self.lost = lost;
    }

    fn is_excused(&self, name: &str) -> bool {
        self.lost.iter().any(|lost| is_like(lost, name) || is_like(name, lost))
    }

    /// Notes a name, and reports it if it was given before.
    pub(crate) fn give(&mut self, name: &str, span: &Span, report: &mut Report) {
        if let Some((first, _)) = self.given.get(name) {
            report
                .error("duplicate-name", span, format!("the {} `{name}` is there twice", self.what))
                .also(first, "first here");
        } else {
            self.given.insert(name.to_owned(), (span.clone(), false));
        }
    }

    /// The names that fit a pattern, in which `*` stands for any text. Each counts as meant; that there is none is
    /// reported.
    pub(crate) fn matching(&mut self, pattern: &str, span: &Span, report: &mut Report) -> Vec<String> {
        let fitting = self.given.iter_mut().filter(|(name, _)| is_like(pattern, name));
        let names: Vec<String> = fitting
            .map(|(name, (_, used))| {
                *used = true;
                name.clone()
            })
            .collect();
        self.some_are_like(&names, pattern, span, report);
        names
    }

    /// The same for those who ask for nothing: the names count as meant no more than before.
    pub(crate) fn like(&self, pattern: &str, span: &Span, report: &mut Report) -> Vec<String> {
        let names: Vec<String> = self.given.keys().filter(|name| is_like(pattern, name)).cloned().collect();
        self.some_are_like(&names, pattern, span, report);
        names
    }

    fn some_are_like(&self, names: &[String], pattern: &str, span: &Span, report: &mut Report) {
        if names.is_empty() && !self.is_excused(pattern) {
            report.error("unknown-name", span, format!("no {} is called like `{pattern}`", self.what));
        }
    }

    /// Notes that a name is meant, and reports it if nobody has it.
    pub(crate) fn mean(&mut self, name: &str, span: &Span, report: &mut Report) {
        match self.given.get_mut(name) {
            Some((_, used)) => *used = true,
            None => self.check(name, span, report),
        }
    }

    /// Reports a name that nobody has; one that somebody has counts as meant no more than before.
    pub(crate) fn check(&self, name: &str, span: &Span, report: &mut Report) {
        if !self.given.contains_key(name) && !self.is_excused(name) {
            report.error("unknown-name", span, format!("there is no {} `{name}`", self.what)).near(
                name,
                self.given.keys().map(String::as_str),
                "",
            );
        }
    }

    /// The names that nobody meant, with their places.
    pub(crate) fn unused(&self) -> impl Iterator<Item = (&str, &Span)> {
        self.given.iter().filter(|(_, (_, used))| !used).map(|(name, (span, _))| (name.as_str(), span))
    }

    /// Whether a name was first given elsewhere.
    pub(crate) fn is_repeated(&self, name: &str, span: &Span) -> bool {
        self.given.get(name).is_some_and(|(first, _)| first != span)
    }

    /// Whether somebody has this name.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.given.is_empty()
    }
}
