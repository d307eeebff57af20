//! Finds warnings in the output of a compiler, line by line.

use regex_lite::Regex;
use windlass_sdk::{Failure, bad_argument};

/// Which lines are warnings, unless a step says otherwise.
pub const PATTERN: &str = "(?i)warning[: ]";

/// How a warning names its file and line: as most compilers do.
pub const EXTRACTOR: &str = r"^(?P<file>[^:\s][^:]*):(?P<line>[0-9]+):(?:[0-9]+:)?\s*(?P<text>.*)$";

/// How `make` says where it goes, and that it comes back.
pub const ENTER: &str = "make.*: Entering directory [`'\"](.*)['`\"]";
/// See [`ENTER`].
pub const LEAVE: &str = "make.*: Leaving directory";

/// The longest line that is looked at: no compiler says so much, and each is looked at as a whole.
const MAX_LINE: usize = 8 * 1024;

/// The most directories within one another.
const MAX_DEPTH: usize = 64;

/// A warning, as far as its line tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warning {
    /// Where it is.
    pub file: Option<String>,
    /// On which line of it.
    pub line: Option<u64>,
    /// What it says: the whole line where nothing else is known.
    pub text: String,
}

/// Warnings that are of no interest.
#[derive(Debug)]
pub struct Suppression {
    file: Option<Regex>,
    text: Option<Regex>,
    lines: Option<(u64, u64)>,
}

impl Suppression {
    /// Of files and texts that these expressions find, on the lines from `start` to `end`. Without `end` on that line
    /// alone, without `start` from the first one on, without both on all.
    pub fn new(
        file: Option<&str>,
        text: Option<&str>,
        start: Option<u64>,
        end: Option<u64>,
    ) -> Result<Suppression, Failure> {
        let lines = match (start, end) {
            (None, None) => None,
            (start, end) => Some((start.unwrap_or(0), end.or(start).unwrap_or(0))),
        };
        Ok(Suppression {
            file: file.map(|file| regex("file", file)).transpose()?,
            text: text.map(|text| regex("text", text)).transpose()?,
            lines,
        })
    }

    /// Reads a file of them: `FILE : TEXT`, or `FILE : TEXT : START-END`, one a line; `#` begins a comment.
    pub fn read(text: &str) -> Result<Vec<Suppression>, Failure> {
        let mut all = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong =
                || bad_argument(format!("line {number} of the suppressions is not `FILE : TEXT`: {line}"));
            let (file, rest) = line.split_once(':').ok_or_else(wrong)?;
            // The lines stand behind the last colon, if it is followed by nothing but numbers.
            let lines = rest.rsplit_once(':').and_then(|(text, lines)| Some((text, range(lines.trim())?)));
            let (text, lines) = match lines {
                Some((text, (start, end))) => (text, Some((start, end))),
                None => (rest, None),
            };
            let (start, end) = lines.unzip();
            all.push(Suppression::new(Some(file.trim()), Some(text.trim()), start, end)?);
        }
        Ok(all)
    }

    fn covers(&self, warning: &Warning) -> bool {
        let file = match (&self.file, &warning.file) {
            (None, _) => true,
            (Some(wanted), Some(file)) => wanted.is_match(file),
            (Some(_), None) => false,
        };
        let line = match (self.lines, warning.line) {
            (None, _) => true,
            (Some((start, end)), Some(line)) => (start..=end).contains(&line),
            (Some(_), None) => false,
        };
        file && line && self.text.as_ref().is_none_or(|text| text.is_match(&warning.text))
    }
}

/// `12`, or `12-14`.
fn range(text: &str) -> Option<(u64, u64)> {
    match text.split_once('-') {
        Some((start, end)) => Some((start.trim().parse().ok()?, end.trim().parse().ok()?)),
        None => text.parse().ok().map(|line| (line, line)),
    }
}

/// Compiles an expression, which is at most so large that it takes no time worth mentioning.
pub fn regex(name: &str, text: &str) -> Result<Regex, Failure> {
    regex_lite::RegexBuilder::new(text)
        .size_limit(1024 * 1024)
        .build()
        .map_err(|error| bad_argument(format!("`{name}` is not a regular expression: {error}: {text}")))
}

/// What to look for.
#[derive(Debug)]
pub struct Finder {
    pattern: Regex,
    /// The pattern is the usual one: a line without this word cannot match.
    usual: bool,
    extractor: Regex,
    enter: Regex,
    leave: Regex,
    suppressions: Vec<Suppression>,
    directories: Vec<String>,
}

impl Finder {
    /// None: the usual ones.
    pub fn new(
        pattern: Option<&str>,
        extractor: Option<&str>,
        enter: Option<&str>,
        leave: Option<&str>,
        suppressions: Vec<Suppression>,
    ) -> Result<Finder, Failure> {
        Ok(Finder {
            pattern: regex("warning_pattern", pattern.unwrap_or(PATTERN))?,
            usual: pattern.is_none(),
            extractor: regex("warning_extractor", extractor.unwrap_or(EXTRACTOR))?,
            enter: regex("directory_enter_pattern", enter.unwrap_or(ENTER))?,
            leave: regex("directory_leave_pattern", leave.unwrap_or(LEAVE))?,
            suppressions,
            directories: Vec::new(),
        })
    }

    /// The warning on this line, if it is one that counts.
    pub fn look(&mut self, line: &str) -> Option<Warning> {
        let line = &line[..line.floor_char_boundary(MAX_LINE)];
        if self.usual && !may_warn(line) {
            // Most lines: nothing more is asked of them than where the compiler is.
            self.walk(line);
            return None;
        }
        if !self.pattern.is_match(line) {
            self.walk(line);
            return None;
        }
        let warning = self.extract(line);
        (!self.suppressions.iter().any(|suppression| suppression.covers(&warning))).then_some(warning)
    }

    fn walk(&mut self, line: &str) {
        if !line.contains("directory") && self.usual {
            return;
        }
        if let Some(entered) = self.enter.captures(line) {
            if self.directories.len() < MAX_DEPTH {
                let directory = entered.get(1).map_or("", |directory| directory.as_str());
                self.directories.push(directory.to_owned());
            }
        } else if self.leave.is_match(line) {
            self.directories.pop();
        }
    }

    fn extract(&self, line: &str) -> Warning {
        let Some(found) = self.extractor.captures(line) else {
            return Warning { text: line.to_owned(), ..Warning::default() };
        };
        // By name, or by place.
        let part = |name: &str, place: usize| {
            let part = found.name(name).or_else(|| found.get(place));
            part.map(|part| part.as_str().trim().to_owned())
        };
        let file = part("file", 1).map(|file| match self.directories.last() {
            Some(directory) if !file.starts_with('/') => format!("{directory}/{file}"),
            _ => file,
        });
        let number = part("line", 2).and_then(|line| line.parse().ok());
        Warning { file, line: number, text: part("text", 3).unwrap_or_else(|| line.to_owned()) }
    }
}

/// Whether the usual pattern may match.
fn may_warn(line: &str) -> bool {
    line.as_bytes().windows(7).any(|word| word.eq_ignore_ascii_case(b"warning"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finder(suppressions: &str) -> Finder {
        let suppressions = Suppression::read(suppressions).expect("they can be read");
        Finder::new(None, None, None, None, suppressions).expect("they are expressions")
    }

    fn all(finder: &mut Finder, output: &str) -> Vec<Warning> {
        output.lines().filter_map(|line| finder.look(line)).collect()
    }

    const GCC: &str = "cc -c a.c\n\
        a.c: In function 'main':\n\
        a.c:3:7: warning: unused variable 'x' [-Wunused-variable]\n\
        a.c:4:9: error: nothing of that\n\
        Warning: no file here\n\
        nothing is wrong with warnings\n";

    #[test]
    fn lines_of_a_compiler_tell_file_line_and_text() {
        let found = all(&mut finder(""), GCC);
        let first = Warning {
            file: Some("a.c".into()),
            line: Some(3),
            text: "warning: unused variable 'x' [-Wunused-variable]".into(),
        };
        let second = Warning { text: "Warning: no file here".into(), ..Warning::default() };
        assert_eq!(found, [first, second]);
    }

    #[test]
    fn directories_that_make_enters_are_part_of_the_file() {
        let output = "make[1]: Entering directory '/src/lib'\nb.c:1: warning: b\n\
                      make[2]: Entering directory `/src/lib/x'\nc.c:1: warning: c\n/d.c:1: warning: d\n\
                      make[2]: Leaving directory `/src/lib/x'\ne.c:1: warning: e\n\
                      make[1]: Leaving directory '/src/lib'\nf.c:1: warning: f\n";
        let files: Vec<_> = all(&mut finder(""), output).into_iter().filter_map(|w| w.file).collect();
        assert_eq!(files, ["/src/lib/b.c", "/src/lib/x/c.c", "/d.c", "/src/lib/e.c", "f.c"]);
    }

    #[test]
    fn what_is_suppressed_does_not_count() {
        let count = |suppressions: &str| all(&mut finder(suppressions), GCC).len();
        assert_eq!(count(""), 2);
        assert_eq!(count("# the old ones\n\na\\.c : unused variable\n"), 1);
        assert_eq!(count("a\\.c : unused : 3"), 1);
        assert_eq!(count("a\\.c : unused : 1-5"), 1);
        assert_eq!(count("a\\.c : unused : 4-9"), 2);
        assert_eq!(count("other : unused"), 2);
        // A warning without a file has none that could be suppressed by it.
        assert_eq!(count(".* : no file"), 2);
        let wrong = Suppression::read("nothing of that").expect_err("it is not one");
        assert!(wrong.message.starts_with("line 1 of the suppressions"), "{}", wrong.message);
    }

    /// Symptom: `{ file = "a\.c", end = 2 }` suppressed the warnings of all lines of the file.
    /// Cause: an `end` without a `start` was dropped.
    /// Cure: the first line is the start that is not given.
    #[test]
    fn either_end_of_the_lines_may_be_left_out() {
        let count = |start, end| {
            let suppression = Suppression::new(Some("a\\.c"), None, start, end).expect("it is one");
            let mut finder = Finder::new(None, None, None, None, vec![suppression]).expect("usual ones");
            all(&mut finder, "a.c:1: warning: a\na.c:2: warning: b\na.c:3: warning: c\n").len()
        };
        assert_eq!(count(None, None), 0);
        assert_eq!(count(None, Some(2)), 1);
        assert_eq!(count(Some(2), None), 2);
        assert_eq!(count(Some(2), Some(3)), 1);
    }

    #[test]
    fn patterns_of_a_step_replace_the_usual_ones() {
        let pattern = Some("^W[0-9]+");
        let extractor = Some(r"^W[0-9]+ (.*) \((.*)\) (.*)$");
        let mut finder =
            Finder::new(pattern, extractor, None, None, Vec::new()).expect("they are expressions");
        let found = all(&mut finder, "W12 a.py (7) too long\nb.c:1: warning: not one of these\n");
        assert_eq!(found, [Warning { file: Some("a.py".into()), line: Some(7), text: "too long".into() }]);
        assert_eq!(regex("warning_pattern", "(").expect_err("it is none").code, "bad-argument");
    }
}
