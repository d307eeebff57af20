//! The files that a configuration is made of, laid one behind the other: a place in any of them is one number.

use std::sync::Arc;

use miette::NamedSource;

use crate::node::Span;

/// A file: its name and its text.
pub(crate) type Source = Arc<NamedSource<String>>;

/// The files, each with where it begins.
#[derive(Default)]
pub(crate) struct Sources(Vec<(usize, Source)>);

impl Sources {
    /// Adds a file, and returns where it begins.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> usize {
        // A place behind the end of a text is none of the next one.
        let begin = self.0.last().map_or(0, |(begin, last)| begin + last.inner().len() + 1);
        self.0.push((begin, Arc::new(NamedSource::new(name, text.to_owned()))));
        begin
    }

    /// The file in which something stands, and where in it.
    pub(crate) fn find(&self, span: &Span) -> (&Source, Span) {
        let after = self.0.partition_point(|(begin, _)| *begin <= span.start);
        let (begin, source) = &self.0[after.saturating_sub(1)];
        (source, span.start - begin..span.end.max(span.start) - begin)
    }
}
