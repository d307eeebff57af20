//! The files that a configuration is made of, laid one behind the other: a place in any of them is one number.

use std::sync::Arc;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use crate::node::Span;

/// A file.
pub(crate) type Source = Arc<File>;

/// A file: its name and its text.
#[derive(Debug)]
pub(crate) struct File {
    name: String,
    text: String,
}

impl File {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte, both from 1. Columns are characters; the mark that some editors put before a text is none.
    pub(crate) fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let start = before.rfind('\n').map_or(0, |n| n + 1);
        let shown = before[start..].trim_start_matches('\u{feff}');
        (before.matches('\n').count() + 1, shown.chars().count() + 1)
    }
}

/// As a text is one, but for columns: of a text they are bytes.
impl SourceCode for File {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.text.read_span(span, before, after)?;
        let (line, column) = match before {
            0 => self.place(span.offset()),
            _ => (contents.line() + 1, contents.column() + 1),
        };
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            contents.data(),
            *contents.span(),
            line - 1,
            column - 1,
            contents.line_count(),
        )))
    }
}

/// The files, each with where it begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(Vec<(usize, Source)>);

impl Sources {
    /// Adds a file, and returns where it begins.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> usize {
        // A place behind the end of a text is none of the next one.
        let begin = self.0.last().map_or(0, |(begin, last)| begin + last.text.len() + 1);
        self.0.push((begin, Arc::new(File { name: name.to_owned(), text: text.to_owned() })));
        begin
    }

    /// The file that was added first.
    pub(crate) fn first(&self) -> &Source {
        &self.0[0].1
    }

    /// The file in which something stands, and where in it.
    pub(crate) fn find(&self, span: &Span) -> (&Source, Span) {
        let after = self.0.partition_point(|(begin, _)| *begin <= span.start);
        let (begin, source) = &self.0[after.saturating_sub(1)];
        (source, span.start - begin..span.end.max(span.start) - begin)
    }
}
