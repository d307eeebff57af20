//! Reading a table key by key, as [`crate::attributes`] lists it: what is left over at the end is not known.

use std::borrow::Cow;

use crate::attributes::{Attribute, Default, Kind, State, Table};
use crate::diagnostic::Report;
use crate::node::{Entry, Node, Span, Tree};
use crate::unit;

/// A table that is being read. Keys compare without regard to `camelCase`, `kebab-case` and
/// `snake_case`, so that Buildbot's spelling and ours are both right everywhere.
pub(crate) struct Section<'a> {
    /// What it may have.
    tables: Vec<&'static Table>,
    /// Where it stands; for what is missing.
    pub(crate) span: Span,
    /// By their names in `snake_case`.
    entries: Vec<(Cow<'a, str>, Option<&'a Entry>)>,
    taken: Vec<&'static str>,
}

/// A setting: its key as it is written, and its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) key: &'a Span,
    pub(crate) node: &'a Node,
}

impl<'a> Section<'a> {
    /// Begins to read a table.
    pub(crate) fn new(table: &'static Table, span: &Span, node: &'a Node) -> Section<'a> {
        let there = |entry: &&Entry| !matches!(entry.node.value, Tree::Null);
        let entries = node.entries().iter().filter(there).map(|entry| (canonical(&entry.key), Some(entry)));
        Section { tables: vec![table], span: span.clone(), entries: entries.collect(), taken: Vec::new() }
    }

    /// Says that it has the settings of another table, too.
    pub(crate) fn extend(&mut self, table: &'static Table) {
        self.tables.push(table);
    }

    /// Takes a setting. One that must be there and is not is reported.
    pub(crate) fn take(&mut self, name: &'static str, report: &mut Report) -> Option<Field<'a>> {
        let attribute = self.attributes().find(|attribute| attribute.name == name && attribute.is_read());
        let attribute = attribute.unwrap_or_else(|| panic!("BUG: {} lists no `{name}`", self.what()));
        self.taken.push(name);
        let found = self.find(attribute, report);
        if found.is_none() && attribute.default == Default::Needed {
            report.error("missing-key", &self.span, format!("{} needs `{name}`", self.what()));
        }
        found
    }

    fn what(&self) -> &'static str {
        self.tables[0].what
    }

    fn attributes(&self) -> impl Iterator<Item = &'static Attribute> + use<> {
        let tables = self.tables.clone();
        tables.into_iter().flat_map(|table| table.attributes)
    }

    fn find(&mut self, attribute: &Attribute, report: &mut Report) -> Option<Field<'a>> {
        let mut found: Option<Field<'a>> = None;
        for (key, slot) in &mut self.entries {
            let Some(entry) = *slot else { continue };
            if !attribute.names().any(|name| name == key) {
                continue;
            }
            *slot = None;
            let field = Field::of(entry);
            match found {
                Some(first) => two_spellings(first, field, report),
                None => found = Some(field),
            }
        }
        found
    }

    /// Reports what is wrong in a table that nobody reads, as far as the forms of its settings say it.
    pub(crate) fn check_unread(mut self, report: &mut Report) {
        for attribute in self.attributes() {
            self.taken.push(attribute.name);
            if !attribute.is_read() {
                continue;
            }
            let Some(field) = self.find(attribute, report) else { continue };
            match (&attribute.kind, &field.node.value) {
                // It stands for a value that is not known.
                (_, Tree::Text(text)) if text.contains("%(matrix:") => {}
                (Kind::Table(table), Tree::Table(_)) => {
                    Section::new(table, field.key, field.node).check_unread(report);
                }
                (Kind::Tables(table), Tree::List(_)) => {
                    field.sections(table, report).into_iter().for_each(|one| one.check_unread(report));
                }
                _ => field.check(&attribute.kind, report),
            }
        }
        self.finish(report);
    }

    /// Reports what nobody took, and what has no effect.
    pub(crate) fn finish(mut self, report: &mut Report) {
        for attribute in self.attributes() {
            match attribute.state {
                State::Works | State::WorksAs(_) => {
                    let name = attribute.name;
                    debug_assert!(
                        self.taken.contains(&name),
                        "BUG: nobody reads `{name}` of {}",
                        self.what()
                    );
                }
                State::Warns(instead) => {
                    let Some(field) = self.find(attribute, report) else { continue };
                    field.check(&attribute.kind, report);
                    let message = format!("`{}` of Buildbot does nothing here", field.name);
                    report.warning("no-effect", field.key, message).help(instead);
                }
                State::Refused(_) => {}
            }
        }
        let what = self.what();
        let refused = |key: &str| self.attributes().find(|a| a.names().any(|name| name == key));
        let known = || self.attributes().filter(|a| a.is_read()).map(|a| a.name);
        for (key, entry) in &self.entries {
            let Some(entry) = entry else { continue };
            let message = format!("{what} has no setting `{}`", entry.key);
            let finding = report.error("unknown-key", &entry.key_span, message).label("unknown");
            match refused(key).map(|attribute| attribute.state) {
                Some(State::Refused(instead)) => finding.help(instead),
                _ => finding.near(key, known(), ""),
            };
        }
    }
}

/// A setting that may stand in two places: the one that is there. Both are one too many.
pub(crate) fn either<'a>(
    one: Option<Field<'a>>,
    other: Option<Field<'a>>,
    report: &mut Report,
) -> Option<Field<'a>> {
    if let (Some(one), Some(other)) = (one, other) {
        two_spellings(one, other, report);
    }
    one.or(other)
}

/// Reports that a setting is there by two names.
pub(crate) fn two_spellings(first: Field<'_>, second: Field<'_>, report: &mut Report) {
    report
        .error("two-spellings", second.key, "this setting is there twice, by two names")
        .label(format!("the same as `{}`", first.name))
        .also(first.key, "first here");
}

/// `haltOnFailure` and `halt-on-failure` as `halt_on_failure`, `titleURL` as `title_url`.
#[must_use]
pub fn canonical(key: &str) -> Cow<'_, str> {
    if !key.bytes().any(|byte| byte == b'-' || byte.is_ascii_uppercase()) {
        return key.into();
    }
    let mut out = String::with_capacity(key.len() + 4);
    let mut begins_word = false;
    for character in key.chars() {
        if character.is_ascii_uppercase() && begins_word {
            out.push('_');
        }
        begins_word = character.is_ascii_lowercase() || character.is_ascii_digit();
        out.push(if character == '-' { '_' } else { character.to_ascii_lowercase() });
    }
    out.into()
}

impl<'a> Field<'a> {
    /// An entry of a table.
    pub(crate) fn of(entry: &'a Entry) -> Field<'a> {
        Field { name: &entry.key, key: &entry.key_span, node: &entry.node }
    }

    /// Looks at the value of a setting that nobody reads.
    fn check(self, kind: &Kind, report: &mut Report) {
        match (kind, &self.node.value) {
            (Kind::Count { least, most, .. }, _) if self.number().is_some() => {
                self.integer(*least, *most, report);
            }
            (Kind::Boolean, _) if self.is_boolean().is_some() => {}
            (Kind::Counts, Tree::Table(_)) => {
                for entry in self.table(report) {
                    entry.integer(1, i64::MAX, report);
                }
            }
            _ => {
                if let Some(expected) = kind.misfit(&self.node.to_json()) {
                    self.wrong::<()>(expected, report);
                }
            }
        }
    }

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
        self.is_boolean().or_else(|| self.wrong("true or false", report))
    }

    /// Which of `true` and `false` it is, if it is one.
    pub(crate) fn is_boolean(self) -> Option<bool> {
        match self.node.settled()? {
            Tree::Boolean(it_is) => Some(it_is),
            _ => None,
        }
    }

    /// A whole number between two, both included.
    pub(crate) fn integer(self, least: i64, most: i64, report: &mut Report) -> Option<i64> {
        match self.number() {
            Some(i) if (least..=most).contains(&i) => Some(i),
            Some(_) => self.refuse(&format!("must be between {least} and {most}"), "", report),
            None => self.wrong("a whole number", report),
        }
    }

    fn number(self) -> Option<i64> {
        match self.node.settled()? {
            Tree::Integer(number) => Some(number),
            _ => None,
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
        if let Some(s) = self.number().filter(|s| *s >= 0) {
            return Some((s as u64).saturating_mul(1000));
        }
        if let Some(Tree::Float(s)) = self.node.settled()
            && s >= 0.0
        {
            return Some((s * 1000.0).round() as u64);
        }
        match &self.node.value {
            Tree::Text(text) => unit::duration_ms(text).or_else(|| self.wrong(EXPECTED, report)),
            _ => self.wrong(EXPECTED, report),
        }
    }

    /// Bytes as a number, or `"10 MiB"`.
    pub(crate) fn size(self, report: &mut Report) -> Option<u64> {
        const EXPECTED: &str = "a size: bytes as a number, or a text like \"500 KiB\" or \"10 GB\"";
        if let Some(bytes) = self.number().filter(|bytes| *bytes >= 0) {
            return Some(bytes as u64);
        }
        match &self.node.value {
            Tree::Text(text) => unit::size(text).or_else(|| self.wrong(EXPECTED, report)),
            _ => self.wrong(EXPECTED, report),
        }
    }

    /// The entries of a table, as settings.
    pub(crate) fn table(self, report: &mut Report) -> Vec<Field<'a>> {
        match &self.node.value {
            Tree::Table(entries) => entries.iter().map(Field::of).collect(),
            _ => {
                self.wrong::<()>("a table", report);
                Vec::new()
            }
        }
    }

    /// A table as a section of its own. The key is to blame for what is missing in it.
    pub(crate) fn section(self, table: &'static Table, report: &mut Report) -> Option<Section<'a>> {
        match &self.node.value {
            Tree::Table(_) => Some(Section::new(table, self.key, self.node)),
            _ => self.wrong("a table", report),
        }
    }

    /// A table as a list of one.
    pub(crate) fn section_or_sections(self, table: &'static Table, report: &mut Report) -> Vec<Section<'a>> {
        match &self.node.value {
            Tree::Table(_) => self.section(table, report).into_iter().collect(),
            _ => self.sections(table, report),
        }
    }

    /// Each table of a list as a section.
    pub(crate) fn sections(self, table: &'static Table, report: &mut Report) -> Vec<Section<'a>> {
        let Tree::List(items) = &self.node.value else {
            self.wrong::<()>("a list of tables", report);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items {
            match &item.value {
                Tree::Table(_) => sections.push(Section::new(table, &item.span, item)),
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
        assert_eq!((canonical("titleURL"), canonical("builddir")), ("title_url".into(), "builddir".into()));
    }
}
