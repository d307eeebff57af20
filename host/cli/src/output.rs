//! What people see: tables, colours, durations. Colours go through `anstream`, which leaves them out
//! where NO_COLOR is set or nobody looks. Cells lose what a terminal would obey.

use anstyle::{AnsiColor, Style};
use windlass_core::outcome::Outcome;
use windlass_core::text::acts;
pub use windlass_core::text::{tame, tame_lines};

/// The style of headings.
pub const HEADING: Style = Style::new().bold();
/// The style of what matters less.
pub const FAINT: Style = Style::new().dimmed();
/// The style of what runs now.
pub const RUNNING: Style = AnsiColor::Cyan.on_default();
/// The style of what went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// The style of what deserves a look.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// The style of what went wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();

/// The style of an outcome; none: it runs.
#[must_use]
pub fn outcome_style(outcome: Option<Outcome>) -> Style {
    match outcome {
        None => RUNNING,
        Some(Outcome::Success) => GOOD,
        Some(Outcome::Skipped) => FAINT,
        Some(Outcome::Warnings | Outcome::Retry) => WARN,
        Some(Outcome::Failure | Outcome::Exception | Outcome::Cancelled) => BAD,
    }
}

/// The word for an outcome; `running` where there is none yet.
#[must_use]
pub fn outcome_word(outcome: Option<Outcome>) -> &'static str {
    outcome.map_or("running", Outcome::as_str)
}

/// `text` in `style`.
#[must_use]
pub fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// A value as JSON, on several lines. A terminal shows it as it is: JSON lets some control characters stand.
#[must_use]
pub fn json(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("our own types are JSON");
    let escape = |c: char| match c {
        '\n' => "\n".to_owned(),
        c if acts(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// So many of a kind: `1 builder`, `2 builders`.
#[must_use]
pub fn count(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A text of at most so many characters, with a sign that it goes on.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{} …", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

/// A duration for people: `340 ms`, `12.3 s`, `4 min 05 s`, `3 h 12 min`, `5 days`.
#[must_use]
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {:02} s", ms / 60_000, ms % 60_000 / 1_000),
        3_600_000..172_800_000 => format!("{} h {:02} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
        _ => format!("{} days", ms / 86_400_000),
    }
}

/// A short duration for people: `840 us`, `3.2 ms`, and as [`duration`] from a second on.
#[must_use]
pub fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => duration(us / 1_000),
    }
}

/// A size for people: `512 B`, `14.2 KiB`, `3.0 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB"] {
        if size < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} GiB")
}

/// A table whose columns are as wide as their widest cell. Styles do not count as width.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<(Style, String)>>,
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new(headings: &[&str]) -> Table {
        let mut table = Table::default();
        table.row(headings.iter().map(|h| (FAINT, (*h).to_owned())).collect());
        table
    }

    /// Adds a row. Cells are tamed.
    pub fn row(&mut self, cells: Vec<(Style, String)>) {
        self.rows.push(cells.into_iter().map(|(style, text)| (style, tame(&text))).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|r| r.get(column))
                .map(|(_, text)| text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            // Nothing is written for empty cells at the end.
            let filled = row.iter().rposition(|(_, text)| !text.is_empty()).map_or(0, |last| last + 1);
            for (column, (style, text)) in row[..filled].iter().enumerate() {
                match text.as_str() {
                    "" => {}
                    text => write!(f, "{style}{text}{style:#}")?,
                }
                if column + 1 < filled {
                    write!(f, "{:1$}", "", widths[column] - text.chars().count() + 2)?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_well() {
        assert_eq!(
            [0, 999, 12_340, 65_000, 11_520_000, 500_000_000].map(duration),
            ["0 ms", "999 ms", "12.3 s", "1 min 05 s", "3 h 12 min", "5 days"]
        );
        assert_eq!([840, 3_240, 1_500_000].map(micros), ["840 us", "3.2 ms", "1.5 s"]);
        assert_eq!([0, 1023, 14_540, 3_145_728].map(size), ["0 B", "1023 B", "14.2 KiB", "3.0 MiB"]);
    }

    #[test]
    fn escape_sequences_in_json_are_escaped_once_more() {
        assert_eq!(json(&"\u{9b}31m\x7f\n"), r#""\u009b31m\u007f\n""#);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["name", "n"]);
        table.row(vec![(FAINT, "long name".into()), (FAINT, "1".into())]);
        let plain = anstream::adapter::strip_str(&table.to_string()).to_string();
        assert_eq!(plain, "name       n\nlong name  1\n");
        table.row(vec![(FAINT, "x".into()), (FAINT, String::new())]);
        assert!(table.to_string().ends_with(&format!("{}\n", paint(FAINT, "x"))), "{table:?}");
    }
}
