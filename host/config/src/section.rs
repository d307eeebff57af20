//! Reading a table key by key: what is taken is known, and what is left over at the end is not.

use crate::diagnostic::Report;
use crate::node::{Entry, Node, Span, Tree};
use crate::unit;

/// A table that is being read. Keys compare without regard to `camelCase`, `kebab-case` and
/// `snake_case`, so that Buildbot's spelling and ours are both right everywhere.
pub(crate) struct Section<'a> {
    /// `a builder`, `[master]`.
    what: &'a str,
    /// Where it stands; for what is missing.
    pub(crate) span: Span,
    entries: Vec<Option<&'a Entry>>,
    known: Vec<&'static str>,
}

/// A setting: its key as it is written, and its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) key: &'a Span,
    pub(crate) node: &'a Node,
}

const POLICY: &str = "policies stand in `[policies]`; a builder may have its own";

/// What people who know Buildbot will write, and what to write here.
const HINTS: &[(&str, &str)] = &[
    ("password", "a configuration holds no secrets: write the hash of the token, `token_hash`"),
    ("factory", "write its steps as `[[builders.steps]]`"),
    ("change_source", "write each poller as `[[git_pollers]]`"),
    ("change_sources", "write each poller as `[[git_pollers]]`"),
    ("slave_portnum", "write `listen` in `[master]`"),
    ("protocols", "write `listen` in `[master]`"),
    ("project_name", "write `title`"),
    ("merge_requests", POLICY),
    ("collapse_requests", POLICY),
    ("prioritize_builders", POLICY),
    ("codebase_generator", POLICY),
    ("select_next_worker", POLICY),
    ("next_slave", POLICY),
    ("next_worker", POLICY),
    ("next_build", POLICY),
    ("can_start_build", POLICY),
    ("file_is_important", "importance of files is not supported yet"),
    ("codebases", "codebases of schedulers are not supported yet; the policy `codebase_generator` is"),
    ("www", "pages are not supported yet"),
    ("services", "reporters are not supported yet"),
    ("secrets_providers", "write `[secrets]`, as `NAME = { file = \"PATH\" }`"),
    ("allow", "what may happen on a worker stands in its worker.toml"),
    ("grants", "grants stand in master.toml; what may happen on this worker stands in `[allow]`"),
    ("workername", "write `workers = [\"NAME\"]`"),
];

impl<'a> Section<'a> {
    /// Begins to read a table.
    pub(crate) fn new(what: &'a str, span: &Span, node: &'a Node) -> Section<'a> {
        let there = |entry: &&Entry| !matches!(entry.node.value, Tree::Null);
        let entries = node.entries().iter().filter(there).map(Some).collect();
        Section { what, span: span.clone(), entries, known: Vec::new() }
    }

    /// Takes the setting that has one of `names`, the first of which is the one that we suggest.
    pub(crate) fn take(&mut self, names: &'static [&'static str], report: &mut Report) -> Option<Field<'a>> {
        self.known.push(names[0]);
        let mut found: Option<Field<'a>> = None;
        for slot in &mut self.entries {
            let Some(entry) = *slot else { continue };
            if !names.contains(&canonical(&entry.key).as_str()) {
                continue;
            }
            *slot = None;
            match found {
                Some(first) => {
                    report
                        .error("two-spellings", &entry.key_span, "this setting is there twice, by two names")
                        .label(format!("the same as `{}`", first.name))
                        .also(first.key, "first here");
                }
                None => {
                    found = Some(Field { name: &entry.key, key: &entry.key_span, node: &entry.node });
                }
            }
        }
        found
    }

    /// Takes a setting that must be there.
    pub(crate) fn need(&mut self, names: &'static [&'static str], report: &mut Report) -> Option<Field<'a>> {
        let found = self.take(names, report);
        if found.is_none() {
            report.error("missing-key", &self.span, format!("{} needs `{}`", self.what, names[0]));
        }
        found
    }

    /// Reports what nobody took.
    pub(crate) fn finish(self, report: &mut Report) {
        for entry in self.entries.into_iter().flatten() {
            let key = canonical(&entry.key);
            let finding = report
                .error(
                    "unknown-key",
                    &entry.key_span,
                    format!("{} has no setting `{}`", self.what, entry.key),
                )
                .label("unknown");
            match HINTS.iter().find(|(name, _)| *name == key) {
                Some((_, hint)) => finding.help(*hint),
                None => finding.near(&key, self.known.iter().copied(), ""),
            };
        }
    }
}

/// `haltOnFailure` and `halt-on-failure` as `halt_on_failure`.
pub(crate) fn canonical(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 4);
    for character in key.chars() {
        if character.is_ascii_uppercase() {
            if !out.is_empty() {
                out.push('_');
            }
            out.push(character.to_ascii_lowercase());
        } else {
            out.push(if character == '-' { '_' } else { character });
        }
    }
    out
}

impl<'a> Field<'a> {
    /// Says that another kind of value was expected.
    pub(crate) fn wrong<T>(self, expected: &str, report: &mut Report) -> Option<T> {
        report
            .error("wrong-type", &self.node.span, format!("`{}` must be {expected}", self.name))
            .label(format!("this is {}", self.node.kind()));
        None
    }

    /// Says that a value of the right kind is not possible.
    pub(crate) fn refuse<T>(self, message: &str, help: &str, report: &mut Report) -> Option<T> {
        let finding = report.error("bad-value", &self.node.span, format!("`{}` {message}", self.name));
        if !help.is_empty() {
            finding.help(help);
        }
        None
    }

    pub(crate) fn text(self, report: &mut Report) -> Option<&'a str> {
        match &self.node.value {
            Tree::Text(text) => Some(text),
            _ => self.wrong("a text", report),
        }
    }

    /// A text with something in it.
    pub(crate) fn name(self, report: &mut Report) -> Option<&'a str> {
        match self.text(report)? {
            "" => self.refuse("is empty", "", report),
            text => Some(text),
        }
    }

    pub(crate) fn boolean(self, report: &mut Report) -> Option<bool> {
        match self.node.value {
            Tree::Boolean(b) => Some(b),
            _ => self.wrong("true or false", report),
        }
    }

    /// A whole number between two, both included.
    pub(crate) fn integer(self, least: i64, most: i64, report: &mut Report) -> Option<i64> {
        match self.node.value {
            Tree::Integer(i) if (least..=most).contains(&i) => Some(i),
            Tree::Integer(_) => self.refuse(&format!("must be between {least} and {most}"), "", report),
            _ => self.wrong("a whole number", report),
        }
    }

    /// One text, or a list of them; each with its own place.
    pub(crate) fn texts(self, report: &mut Report) -> Vec<(&'a str, &'a Span)> {
        match &self.node.value {
            Tree::Text(text) => vec![(text, &self.node.span)],
            Tree::List(items) => items
                .iter()
                .filter_map(|item| Some((Field { node: item, ..self }.text(report)?, &item.span)))
                .collect(),
            _ => {
                self.wrong::<()>("a list of texts", report);
                Vec::new()
            }
        }
    }

    /// Like [`Field::texts`], without the places.
    pub(crate) fn strings(self, report: &mut Report) -> Vec<String> {
        self.texts(report).into_iter().map(|(text, _)| text.to_owned()).collect()
    }

    /// Seconds as a number, or `"1h 30m"`; in milliseconds.
    pub(crate) fn duration_ms(self, report: &mut Report) -> Option<u64> {
        const EXPECTED: &str = "a time: seconds as a number, or a text like \"90s\", \"5m\" or \"1h 30m\"";
        match &self.node.value {
            Tree::Integer(s) if *s >= 0 => Some((*s as u64).saturating_mul(1000)),
            Tree::Float(s) if *s >= 0.0 => Some((*s * 1000.0).round() as u64),
            Tree::Text(text) => unit::duration_ms(text).or_else(|| self.wrong(EXPECTED, report)),
            _ => self.wrong(EXPECTED, report),
        }
    }

    /// Bytes as a number, or `"10 MiB"`.
    pub(crate) fn size(self, report: &mut Report) -> Option<u64> {
        const EXPECTED: &str = "a size: bytes as a number, or a text like \"500 KiB\" or \"10 GB\"";
        match &self.node.value {
            Tree::Integer(bytes) if *bytes >= 0 => Some(*bytes as u64),
            Tree::Text(text) => unit::size(text).or_else(|| self.wrong(EXPECTED, report)),
            _ => self.wrong(EXPECTED, report),
        }
    }

    /// The entries of a table, as settings.
    pub(crate) fn table(self, report: &mut Report) -> Vec<Field<'a>> {
        match &self.node.value {
            Tree::Table(entries) => {
                entries.iter().map(|e| Field { name: &e.key, key: &e.key_span, node: &e.node }).collect()
            }
            _ => {
                self.wrong::<()>("a table", report);
                Vec::new()
            }
        }
    }

    /// A table as a section of its own. The key is to blame for what is missing in it.
    pub(crate) fn section(self, what: &'a str, report: &mut Report) -> Option<Section<'a>> {
        match &self.node.value {
            Tree::Table(_) => Some(Section::new(what, self.key, self.node)),
            _ => self.wrong("a table", report),
        }
    }

    /// Each table of a list as a section.
    pub(crate) fn sections(self, what: &'a str, report: &mut Report) -> Vec<Section<'a>> {
        let Tree::List(items) = &self.node.value else {
            self.wrong::<()>("a list of tables", report);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items {
            match &item.value {
                Tree::Table(_) => sections.push(Section::new(what, &item.span, item)),
                _ => {
                    Field { node: item, ..self }.wrong::<()>("a list of tables", report);
                }
            }
        }
        sections
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn spellings_of_a_key_are_one() {
        for key in ["haltOnFailure", "halt-on-failure", "halt_on_failure"] {
            assert_eq!(canonical(key), "halt_on_failure");
        }
        assert_eq!(canonical("treeStableTimer"), "tree_stable_timer");
    }
}
