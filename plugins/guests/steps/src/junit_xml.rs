//! JUnit's XML, as the many tools write it that borrowed it, as test results.

use windlass_sdk::Outcome;
use windlass_sdk::step::TestResult;

use crate::xml::{Event, Reader, Wrong};

/// The most that a result says.
const MAX_TEXT: usize = 16 * 1024;

/// The longest part of a name.
const MAX_NAME: usize = 1024;

/// The most results of one file.
const MAX_RESULTS: usize = 100_000;

/// Reads a file. The error says what is wrong with it.
pub fn read(text: &str) -> Result<Vec<TestResult>, String> {
    read_from(&mut Reader::new(text))
}

/// Reads files that stand behind one another. None: these are not so many whole ones, and each has to be read by itself
/// to tell which is not, and why.
pub fn read_several(text: &str, files: usize) -> Option<Vec<TestResult>> {
    let mut reader = Reader::several(text);
    let results = read_from(&mut reader).ok()?;
    (reader.documents() == files).then_some(results)
}

fn read_from(reader: &mut Reader<'_>) -> Result<Vec<TestResult>, String> {
    let mut file = File::default();
    let no_xml = |wrong: Wrong| format!("line {} is no XML: {}", wrong.line, wrong.what);
    while let Some(event) = reader.next().map_err(no_xml)? {
        match event {
            Event::Start { name, attributes } => file.start(name, &attributes),
            Event::Text(text) => file.text(&text),
            Event::End => file.end(),
        }
        // Those that came before would pass for all of them.
        if file.results.len() > MAX_RESULTS {
            return Err(format!("it has more than {MAX_RESULTS} results"));
        }
    }
    Ok(file.results)
}

/// Elements that matter, from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    /// `testsuites`, `testsuite`: whether it has a name, which is one of the suites.
    Suite(bool),
    /// `testcase`.
    Case,
    /// What went wrong in a case, and what it wrote.
    Verdict,
    Output,
    /// Anything else, with all that is in it.
    Other,
}

#[derive(Default)]
struct File {
    open: Vec<Element>,
    suites: Vec<String>,
    case: Option<Case>,
    results: Vec<TestResult>,
}

/// A case in the making.
struct Case {
    result: TestResult,
    /// What it wrote, of interest only if it failed.
    output: String,
}

impl File {
    fn start(&mut self, name: &str, attributes: &[(&str, String)]) {
        let attribute = |name: &str| {
            let found = attributes.iter().find(|(there, _)| *there == name);
            found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        // Those with a prefix are the same ones.
        let name = name.rsplit(':').next().unwrap_or(name);
        let element = match (name, &mut self.case) {
            ("testsuite" | "testsuites", None) => {
                let suite = attribute("name");
                self.suites.extend(suite.map(|name| cut(name, MAX_NAME).to_owned()));
                Element::Suite(suite.is_some())
            }
            ("testcase", None) => {
                self.begin(attribute);
                Element::Case
            }
            (
                "failure" | "error" | "skipped" | "flakyFailure" | "flakyError" | "rerunFailure"
                | "rerunError",
                Some(case),
            ) => {
                case.result.outcome = worse(case.result.outcome, name);
                let (kind, message) = (attribute("type"), attribute("message"));
                let line = match (kind, message) {
                    (Some(kind), Some(message)) if !message.starts_with(kind) => format!("{kind}: {message}"),
                    (_, Some(message)) => message.to_owned(),
                    (Some(kind), None) => kind.to_owned(),
                    (None, None) => String::new(),
                };
                add_line(&mut case.result.text, &line);
                Element::Verdict
            }
            ("system-out" | "system-err", Some(_)) => Element::Output,
            _ => Element::Other,
        };
        self.open.push(element);
    }

    fn begin<'a>(&mut self, attribute: impl Fn(&str) -> Option<&'a str>) {
        let mut name = self.suites.clone();
        // Many tools repeat the suite's name in front of the class.
        let class = attribute("classname").filter(|class| name.last().is_none_or(|suite| suite != class));
        name.extend(class.map(|class| cut(class, MAX_NAME).to_owned()));
        name.push(cut(attribute("name").unwrap_or("(no name)"), MAX_NAME).to_owned());
        let result = TestResult {
            name,
            outcome: match attribute("status") {
                Some("skipped" | "disabled" | "notrun") => Outcome::Skipped,
                _ => Outcome::Success,
            },
            text: String::new(),
            duration_ms: attribute("time").and_then(milliseconds),
            log: None,
        };
        self.case = Some(Case { result, output: String::new() });
    }

    fn text(&mut self, text: &str) {
        let Some(case) = &mut self.case else { return };
        match self.open.last() {
            Some(Element::Verdict) => add(&mut case.result.text, text.trim_matches('\n')),
            Some(Element::Output) => add(&mut case.output, text),
            Some(Element::Suite(_) | Element::Case | Element::Other) | None => {}
        }
    }

    fn end(&mut self) {
        match self.open.pop() {
            Some(Element::Suite(true)) => drop(self.suites.pop()),
            Some(Element::Case) => {
                if let Some(Case { mut result, output }) = self.case.take() {
                    if matches!(result.outcome, Outcome::Failure | Outcome::Exception) {
                        add_line(&mut result.text, output.trim_end());
                    }
                    self.results.push(result);
                }
            }
            Some(Element::Suite(false) | Element::Verdict | Element::Output | Element::Other) | None => {}
        }
    }
}

/// What a case is that also has this verdict. One that went well at last went well with warnings.
fn worse(so_far: Outcome, verdict: &str) -> Outcome {
    match (so_far, verdict) {
        (_, "error") => Outcome::Exception,
        (Outcome::Exception, _) => Outcome::Exception,
        (_, "failure") => Outcome::Failure,
        (Outcome::Success, "skipped") => Outcome::Skipped,
        (Outcome::Success, "flakyFailure" | "flakyError") => Outcome::Warnings,
        (so_far, _) => so_far,
    }
}

/// Seconds, as `1.234`, `1,234.5` or `1.2e-05`.
fn milliseconds(seconds: &str) -> Option<u32> {
    let seconds: f64 = seconds.replace(',', "").trim().parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    (seconds >= 0.0).then_some((seconds * 1000.0).round() as u32)
}

fn add_line(text: &mut String, line: &str) {
    if !line.is_empty() {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        add(text, line);
    }
}

fn add(text: &mut String, more: &str) {
    let room = MAX_TEXT.saturating_sub(text.len());
    if room > 0 && !more.is_empty() {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(cut(more, room));
    }
}

/// At most so many bytes of a text.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(outcome: Outcome) -> String {
        format!("{outcome:?}").replace("Outcome::", "")
    }

    /// Each result in one line.
    fn lines(text: &str) -> Vec<String> {
        let line = |result: TestResult| {
            let took = result.duration_ms.map_or("-".to_owned(), |ms| ms.to_string());
            format!(
                "{} {} {took} {}",
                result.name.join("/"),
                how(result.outcome),
                result.text.replace('\n', "|")
            )
        };
        read(text).expect("it is XML").into_iter().map(line).collect()
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let trimmed: Vec<String> = lines(text).iter().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(trimmed, expected);
    }

    #[test]
    fn a_suite_of_all_kinds_of_cases_is_read() {
        check(
            r#"<?xml version="1.0"?>
            <testsuites name="all"><testsuite name="unit" tests="5">
              <properties><property name="a" value="b"/></properties>
              <testcase classname="A" name="works" time="0.012"/>
              <testcase classname="A" name="fails" time="1,000.5">
                <failure type="Assert" message="1 != 2">trace &lt;here&gt;</failure>
                <system-out>it said so</system-out>
              </testcase>
              <testcase classname="B" name="breaks"><error message="no file"/></testcase>
              <testcase classname="B" name="rests"><skipped message="not today"/></testcase>
              <testcase name="chatters"><system-out><![CDATA[<x>]]></system-out></testcase>
            </testsuite></testsuites>"#,
            &[
                "all/unit/A/works Success 12",
                "all/unit/A/fails Failure 1000500 Assert: 1 != 2|trace <here>|it said so",
                "all/unit/B/breaks Exception - no file",
                "all/unit/B/rests Skipped - not today",
                "all/unit/chatters Success -",
            ],
        );
    }

    #[test]
    fn dialects_are_understood() {
        // A suite without suites around it, suites within suites, a class that repeats its suite.
        check(
            r#"<testsuite name="S"><testcase classname="S" name="a"/><testsuite name="T"><testcase name="b"/></testsuite></testsuite>"#,
            &["S/a Success -", "S/T/b Success -"],
        );
        // What went well at the second try; what did not.
        check(
            r#"<testsuites><testcase name="a"><flakyFailure message="x"/></testcase><testcase name="b"><failure message="x"/><rerunFailure message="y"/></testcase></testsuites>"#,
            &["a Warnings - x", "b Failure - x|y"],
        );
        check(r#"<testsuite><testcase time="x" status="notrun"/></testsuite>"#, &["(no name) Skipped -"]);
        // An error counts more than a failure, whatever their order.
        check(
            r#"<testsuite><testcase name="a"><error message="1"/><failure message="2"/></testcase></testsuite>"#,
            &["a Exception - 1|2"],
        );
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = "ü".repeat(MAX_TEXT);
        let file =
            format!("<testsuite><testcase name='{text}'><failure>{text}</failure></testcase></testsuite>");
        let results = read(&file).expect("it is XML");
        assert_eq!((results[0].name[0].len(), results[0].text.len()), (MAX_NAME, MAX_TEXT));
    }

    #[test]
    fn a_file_that_is_cut_off_is_an_error() {
        let wrong = read("<testsuite><testcase name='a'/>").expect_err("it is cut off");
        assert_eq!(wrong, "line 1 is no XML: it ends within <testsuite>");
    }

    #[test]
    fn files_behind_one_another_are_read_at_once_if_each_is_whole() {
        let (one, two) = (
            "<testsuite name='S'><testcase name='a'/></testsuite>",
            "\u{feff}<?xml version='1.0'?>\n\
            <testsuites><testcase name='b'/></testsuites><!-- by a tool -->\n",
        );
        let names = |text: &str, files| {
            let results = read_several(text, files)?;
            Some(results.into_iter().map(|result| result.name.join("/")).collect::<Vec<_>>())
        };
        let both = [one, two, one].concat();
        assert_eq!(names(&both, 3), Some(vec!["S/a".to_owned(), "b".to_owned(), "S/a".to_owned()]));
        assert_eq!(names("", 0), None);
        // One of them is empty, one is cut off, one is no XML.
        assert_eq!(names(&both, 4), None);
        let cut = &one[..one.len() - "</testsuite>".len()];
        for bad in [[cut, one, two].concat(), [cut, two, "</testsuite>"].concat(), [one, "x", two].concat()] {
            assert_eq!((names(&bad, 2), names(&bad, 3)), (None, None), "{bad}");
        }
    }

    /// Symptom: a file of 150,000 cases, the 120,000th of which failed, was a success of 100,000 tests.
    /// Cause: what came behind the most that is taken was not read, and nothing was said.
    /// Cure: a file with more than that is an error.
    #[test]
    fn a_file_of_more_cases_than_are_taken_is_an_error() {
        let file = |cases: usize| format!("<testsuite>{}</testsuite>", "<testcase name='a'/>".repeat(cases));
        assert_eq!(read(&file(MAX_RESULTS)).expect("they are taken").len(), MAX_RESULTS);
        let wrong = read(&file(MAX_RESULTS + 1)).expect_err("that is too many");
        assert_eq!(wrong, "it has more than 100000 results");
    }
}
