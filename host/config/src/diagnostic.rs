//! What is wrong in a file, and where: collected, then shown all at once.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{LabeledSpan, SourceCode};
use serde::Serialize;
use windlass_core::text::tame_lines;

use crate::sources::{Source, Sources};

/// Everything that is wrong in one configuration; never empty. `miette` draws it; [`Diagnostics::render`]
/// writes it plainly, for logs and for the API.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    file: String,
    list: Vec<Diagnostic>,
    /// How many more there are, which are not shown.
    more: usize,
}

/// One thing that is wrong, with its place.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Stable, in kebab-case: `unknown-key`.
    pub code: &'static str,
    /// Whether the file is refused for it.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The name of the file: the configuration's own, or of one that it includes.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The places, each with a word; the first is the one to blame.
    labels: Vec<Label>,
}

/// A place in a file, in bytes.
#[derive(Clone, Debug)]
struct Label {
    source: Source,
    span: Range<usize>,
    text: String,
}

/// Whether a file is refused for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It is.
    Error,
    /// It is not, but it is probably not meant.
    Warning,
}

impl Diagnostics {
    /// Those that are shown, in the order of the file: the first 100.
    #[must_use]
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// How many there are in all.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len() + self.more
    }

    /// For machines: a list of `{code, severity, message, file, line, column, help}`. Where there are more than are shown,
    /// the last one says so; it has the code `more` and no place.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let one = |d: &Diagnostic| {
            serde_json::json!({
                "code": d.code, "severity": d.severity, "message": d.message, "file": d.file,
                "line": d.line, "column": d.column, "help": d.help,
            })
        };
        let more = (self.more > 0).then(|| {
            serde_json::json!({
                "code": "more", "severity": self.list[0].severity, "message": self.more_in_words(),
                "file": self.file, "line": null, "column": null, "help": null,
            })
        });
        self.list.iter().map(one).chain(more).collect()
    }

    fn more_in_words(&self) -> String {
        format!("{} more are not shown", self.more)
    }

    /// As plain text: each with its line of the file and carets below, then how many there are.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        for diagnostic in &self.list {
            diagnostic.render(&mut out);
            out.push('\n');
        }
        out.push_str(&self.to_string());
        out.push('\n');
        out
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = match self.list[0].severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let plural = if self.count() == 1 { "" } else { "s" };
        write!(f, "{} {noun}{plural} in {}", self.count(), self.file)?;
        match self.more {
            0 => Ok(()),
            _ => write!(f, "; {}", self.more_in_words()),
        }
    }
}

impl std::error::Error for Diagnostics {}

impl miette::Diagnostic for Diagnostics {
    fn severity(&self) -> Option<miette::Severity> {
        Some(self.list[0].severity.into())
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        Some(Box::new(self.list.iter().map(|d| d as &dyn miette::Diagnostic)))
    }
}

impl From<Severity> for miette::Severity {
    fn from(severity: Severity) -> miette::Severity {
        match severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity.into())
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        // It draws one file: places in others are named.
        let elsewhere = self.labels.iter().filter(|label| !self.is_here(label)).map(|label| {
            let (line, column) = label.source.place(label.span.start);
            format!("{}: {}:{line}:{column}", label.text, label.source.name())
        });
        let all: Vec<String> = elsewhere.chain(self.help.clone()).collect();
        (!all.is_empty()).then(|| Box::new(all.join("\n")) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.labels[0].source.as_ref())
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let here = self.labels.iter().filter(|label| self.is_here(label));
        Some(Box::new(here.enumerate().map(|(n, Label { span, text, .. })| {
            let label = (!text.is_empty()).then(|| text.clone());
            let (at, length) = (span.start, span.len());
            if n == 0 {
                LabeledSpan::new_primary_with_span(label, (at, length))
            } else {
                LabeledSpan::new(label, at, length)
            }
        })))
    }
}

impl Diagnostic {
    /// Whether a place is in the file of the first one.
    fn is_here(&self, label: &Label) -> bool {
        Arc::ptr_eq(&label.source, &self.labels[0].source)
    }

    fn render(&self, out: &mut String) {
        let mut line = |text: String| {
            out.push_str(text.trim_end());
            out.push('\n');
        };
        line(format!("{}[{}]: {}", self.severity, self.code, self.message));
        for (n, Label { source, span, text: label }) in self.labels.iter().enumerate() {
            let (file, text) = (source.name(), source.text());
            let (row, column) = source.place(span.start);
            let shown = text.lines().nth(row - 1).unwrap_or_default().trim_start_matches('\u{feff}');
            let shown = shown.replace('\t', " ");
            let left = shown.chars().count().saturating_sub(column - 1).max(1);
            let carets = text.get(span.clone()).map_or(1, |t| t.chars().count()).clamp(1, left);
            let margin = " ".repeat(row.to_string().len());
            line(format!("{margin}{} {file}:{row}:{column}", if n == 0 { "-->" } else { ":::" }));
            line(format!("{row} | {shown}"));
            let mark = if n == 0 { "^" } else { "-" };
            line(format!("{margin} | {}{} {label}", " ".repeat(column - 1), mark.repeat(carets)));
        }
        if let Some(help) = &self.help {
            line(format!("help: {help}"));
        }
    }
}

/// So many findings of a file offer names that are near: looking for them takes longer than all the rest.
const MOST_NEAR: usize = 50;

/// So many errors and so many warnings of a configuration are shown: nobody mends more at a time.
const MOST_SHOWN: usize = 100;

/// So many errors and so many warnings are kept, to be put in order and shown; what is found beyond them is counted.
const MOST_KEPT: usize = 10_000;

/// Collects what is wrong while a file is walked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    found: Vec<Finding>,
    /// What was told where: what is wrong in a template is found with each builder that uses it.
    told: HashSet<(usize, &'static str, String)>,
    /// How many errors there were, repeated ones too.
    errors: usize,
    /// Errors and warnings that are kept, and those beyond them.
    kept: [usize; 2],
    over: [usize; 2],
    /// The last one that is not kept, as its finder holds it still.
    unkept: Option<Finding>,
}

/// Something wrong, before it is put beside the text of its file.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    code: &'static str,
    severity: Severity,
    message: String,
    labels: Vec<(Range<usize>, String)>,
    help: Option<String>,
    /// The place to blame is a part of the text that stands there.
    within: Option<(String, Range<usize>)>,
    /// Whether it may look for names that are near.
    may_look: bool,
}

impl Report {
    /// Adds an error; the answer takes labels and help.
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        span: &Range<usize>,
        message: impl Into<String>,
    ) -> &mut Finding {
        self.add(Severity::Error, code, span, message.into())
    }

    /// Adds a warning.
    pub(crate) fn warning(
        &mut self,
        code: &'static str,
        span: &Range<usize>,
        message: impl Into<String>,
    ) -> &mut Finding {
        self.add(Severity::Warning, code, span, message.into())
    }

    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        span: &Range<usize>,
        message: String,
    ) -> &mut Finding {
        let labels = vec![(span.clone(), String::new())];
        self.errors += usize::from(severity == Severity::Error);
        let has_room = self.kept[severity as usize] < MOST_KEPT;
        let is_new = has_room && self.told.insert((span.start, code, message.clone()));
        let may_look = is_new && self.told.len() <= MOST_NEAR;
        let finding = Finding { code, severity, message, labels, help: None, within: None, may_look };
        if is_new {
            self.kept[severity as usize] += 1;
            self.found.push(finding);
            return self.found.last_mut().expect("one was pushed");
        }
        self.over[severity as usize] += usize::from(!has_room);
        self.unkept.insert(finding)
    }

    /// Whether an error was found.
    pub(crate) fn failed(&self) -> bool {
        self.errors > 0
    }

    /// How many errors were found so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// All messages of errors, for a text without places.
    pub(crate) fn messages(&self) -> Vec<String> {
        let one = |finding: &Finding| {
            let message = tame_lines(&finding.message);
            match &finding.within {
                Some((text, span)) => located(&message, text, span),
                None => message,
            }
        };
        self.found.iter().map(one).collect()
    }

    /// Errors and warnings of a configuration, in its order. `file` is where it begins.
    pub(crate) fn finish(self, file: &str, sources: &Sources) -> (Option<Diagnostics>, Option<Diagnostics>) {
        let mut found = self.found;
        found.sort_by_key(|f| f.labels[0].0.start);
        let (errors, warnings): (Vec<Finding>, Vec<Finding>) =
            found.into_iter().partition(|f| f.severity == Severity::Error);
        let all = |list: Vec<Finding>, severity: Severity| {
            let more = list.len().saturating_sub(MOST_SHOWN) + self.over[severity as usize];
            let list: Vec<Diagnostic> = list.into_iter().take(MOST_SHOWN).map(|f| f.place(sources)).collect();
            (!list.is_empty()).then(|| Diagnostics { file: file.to_owned(), list, more })
        };
        (all(errors, Severity::Error), all(warnings, Severity::Warning))
    }
}

impl Finding {
    /// Says at the place to blame what is there.
    pub(crate) fn label(&mut self, text: impl Into<String>) -> &mut Finding {
        self.labels[0].1 = text.into();
        self
    }

    /// Says which part of the text that stands at the place is to blame.
    pub(crate) fn within(&mut self, text: &str, span: &Range<usize>) -> &mut Finding {
        self.within = Some((text.to_owned(), span.clone()));
        self
    }

    /// Points at another place too.
    pub(crate) fn also(&mut self, span: &Range<usize>, text: impl Into<String>) -> &mut Finding {
        self.labels.push((span.clone(), text.into()));
        self
    }

    /// Says what to do about it.
    pub(crate) fn help(&mut self, text: impl Into<String>) -> &mut Finding {
        self.help = Some(text.into());
        self
    }

    /// Offers the names that are near `name`, or lists all if they are few.
    pub(crate) fn near<'a>(
        &mut self,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
        else_help: &str,
    ) -> &mut Finding {
        let near = if self.may_look { near_miss(name, known) } else { None };
        self.help = near.or_else(|| (!else_help.is_empty()).then(|| else_help.to_owned()));
        self
    }

    fn place(mut self, sources: &Sources) -> Diagnostic {
        let label = |(span, text): (Range<usize>, String)| {
            let (source, span) = sources.find(&span);
            Label { source: Arc::clone(source), span, text: tame_lines(&text) }
        };
        let mut labels: Vec<Label> = self.labels.into_iter().map(label).collect();
        if let Some((text, within)) = self.within.take() {
            let Label { source, span: whole, .. } = &mut labels[0];
            // A text with escapes in it reads otherwise in the file: the whole is to blame then.
            match source.text().get(whole.clone()).and_then(|written| written.find(&text)) {
                Some(at) => *whole = whole.start + at + within.start..whole.start + at + within.end,
                None => self.message = located(&self.message, &text, &within),
            }
        }
        let (line, column) = labels[0].source.place(labels[0].span.start);
        Diagnostic {
            code: self.code,
            severity: self.severity,
            // The words of a plugin's schema may stand in all of them, and terminals obey.
            message: tame_lines(&self.message),
            help: self.help.as_deref().map(tame_lines),
            file: labels[0].source.name().to_owned(),
            line,
            column,
            labels,
        }
    }
}

/// A message with the place in a text that is not shown.
fn located(message: &str, text: &str, span: &Range<usize>) -> String {
    let character = text.get(..span.start).map_or(0, |before| before.chars().count()) + 1;
    format!("{message}, at character {character}")
}

/// `did you mean …?`, or the known names if they are at most ten.
fn near_miss<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    let (name, length) = (name.to_lowercase(), name.chars().count());
    // A third of the letters may differ; of one letter, none. So many more or fewer are as many that differ.
    let most = |other: &str| length.max(other.chars().count()) / 3;
    let near = known.iter().filter(|other| length.abs_diff(other.chars().count()) <= most(other));
    let near = near.map(|other| (strsim::damerau_levenshtein(&name, &other.to_lowercase()), *other)).min();
    if let Some((_, near)) = near.filter(|(distance, other)| *distance <= most(other)) {
        return Some(format!("did you mean `{near}`?"));
    }
    if known.is_empty() {
        return None;
    }
    let list: Vec<String> = known.iter().map(|k| format!("`{k}`")).collect();
    (known.len() <= 10).then(|| format!("known here: {}", list.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: an answer of some megabytes kept whoever read it busy for hours. Cause: each error was compared with all before
    /// it, each looked for names that are near, and all were kept. Cure: all are counted, and so many are kept and may look.
    #[test]
    fn of_a_flood_of_findings_all_are_counted_and_so_many_are_kept() {
        const FOUND: usize = 3 * MOST_KEPT;
        let mut report = Report::default();
        for n in 0..FOUND {
            report.warning("w", &(n..n), format!("{n}")).near("nam", ["name"], "");
            report.error("e", &(n..n), format!("{n}")).near("nam", ["name"], "");
        }
        let found = &report.found;
        assert_eq!((found.len(), report.told.len()), (2 * MOST_KEPT, 2 * MOST_KEPT));
        assert_eq!(found.iter().filter(|finding| finding.help.is_some()).count(), MOST_NEAR);
        assert_eq!(report.errors(), FOUND);
        let mut sources = Sources::default();
        sources.add("m.toml", "");
        let (errors, warnings) = report.finish("m.toml", &sources);
        for told in [errors.unwrap(), warnings.unwrap()] {
            assert_eq!((told.list().len(), told.count()), (MOST_SHOWN, FOUND));
        }
    }
}
