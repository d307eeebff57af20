//! What the steps of a build had to say: the lines of its summary.

use crate::outcome::Outcome;

/// The most bytes of a build's line about itself, and the most steps that it names.
const MAX_BYTES: usize = 2_000;
const MAX_LINES: usize = 20;

/// The line of a step that ended like this.
pub(super) fn line(step: &str, outcome: Outcome, about: &str) -> String {
    let mut line = match (outcome, about) {
        (_, "") => format!("{step}: {outcome}"),
        (Outcome::Success, about) => format!("{step}: {about}"),
        (outcome, about) => format!("{step}: {outcome}: {about}"),
    };
    line.truncate(line.floor_char_boundary(MAX_BYTES));
    line
}

/// Lines, the worst first, those of one outcome in the order of their steps.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Vec<(Outcome, String)>);

impl Told {
    /// Adds a line; beyond their number, the mildest goes.
    pub(super) fn tell(&mut self, outcome: Outcome, line: String) {
        let at = self.0.iter().position(|(other, _)| other.worst(outcome) != *other).unwrap_or(self.0.len());
        self.0.insert(at, (outcome, line));
        self.0.truncate(MAX_LINES);
    }

    /// All of them as one; none: nobody said anything.
    pub(super) fn lines(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let lines: Vec<&str> = self.0.iter().map(|(_, line)| line.as_str()).collect();
        let mut whole = lines.join("; ");
        whole.truncate(whole.floor_char_boundary(MAX_BYTES));
        Some(whole)
    }
}
