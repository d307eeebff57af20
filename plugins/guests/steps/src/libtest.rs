//! Reads what `cargo test` writes for people into test results: its JSON is not stable.

use std::collections::BTreeMap;

use windlass_sdk::Outcome;
use windlass_sdk::step::TestResult;

/// The most that a result says.
const MAX_TEXT: usize = 16 * 1024;

/// The longest part of a name.
const MAX_NAME: usize = 1024;

/// Reads line by line.
#[derive(Default)]
pub struct Reader {
    /// The binary that runs: `unittests src/lib.rs`, `tests/it.rs`, `Doc-tests x`.
    suite: String,
    /// Results of that binary; those that failed have their texts when it is over.
    results: Vec<TestResult>,
    /// Place in `results`, by the test's name.
    failed: BTreeMap<String, usize>,
    /// A test whose own output stands between its name and how it ended.
    begun: Option<String>,
    /// The test whose output is being read.
    about: Option<usize>,
}

impl Reader {
    /// Reads a line; answers results once nothing more is said of them.
    pub fn read(&mut self, line: &str) -> Vec<TestResult> {
        let line = line.trim_end();
        if let Some(suite) = suite(line) {
            let before = self.take();
            suite.clone_into(&mut self.suite);
            return before;
        }
        if line.starts_with("test result: ") {
            return self.take();
        }
        if let Some((name, rest)) = line.strip_prefix("test ").and_then(|line| line.split_once(" ... ")) {
            self.about = None;
            match ending(rest) {
                Some((outcome, text)) => self.add(name, outcome, text),
                None => self.begun = Some(name.to_owned()),
            }
        } else if let Some(name) =
            line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----"))
        {
            self.about = self.failed.get(bare(name)).copied();
        } else if line == "failures:" {
            self.about = None;
        } else if let Some(place) = self.about {
            let text = &mut self.results[place].text;
            if text.len() + line.len() < MAX_TEXT && !(text.is_empty() && line.is_empty()) {
                text.push_str(line);
                text.push('\n');
            }
        } else if self.begun.is_some()
            && let Some((outcome, text)) = ending(line)
            && let Some(name) = self.begun.take()
        {
            self.add(&name, outcome, text);
        }
        Vec::new()
    }

    /// What is left when the output is over.
    pub fn take(&mut self) -> Vec<TestResult> {
        // It never said how that one ended: the program did not live to tell.
        if let Some(name) = self.begun.take() {
            self.add(&name, Outcome::Exception, "it did not end");
        }
        self.failed.clear();
        self.about = None;
        for result in &mut self.results {
            let end = result.text.trim_end().len();
            result.text.truncate(end);
        }
        std::mem::take(&mut self.results)
    }

    fn add(&mut self, name: &str, outcome: Outcome, text: &str) {
        self.begun = None;
        let name = bare(name);
        let name = &name[..name.floor_char_boundary(MAX_NAME)];
        if outcome == Outcome::Failure {
            self.failed.insert(name.to_owned(), self.results.len());
        }
        let parts = [self.suite.as_str(), name];
        self.results.push(TestResult {
            name: parts.into_iter().filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            outcome,
            text: text.to_owned(),
            duration_ms: None,
            log: None,
        });
    }
}

/// The line that says which binary runs: `     Running tests/it.rs (target/debug/deps/it-0123)`.
fn suite(line: &str) -> Option<&str> {
    let words = line.trim_start();
    if words.len() == line.len() {
        return None;
    }
    if words.starts_with("Doc-tests ") {
        return Some(words);
    }
    let running = words.strip_prefix("Running ")?;
    Some(running.split_once(" (").map_or(running, |(suite, _)| suite))
}

/// Without the remark that a test is to panic.
fn bare(name: &str) -> &str {
    name.strip_suffix(" - should panic").unwrap_or(name)
}

/// How a test ended; what stands behind that is a time, or why it was passed over.
fn ending(rest: &str) -> Option<(Outcome, &str)> {
    let (word, more) = rest.split_once([' ', ',', ':']).unwrap_or((rest, ""));
    let outcome = match word {
        "ok" | "bench" => Outcome::Success,
        "FAILED" | "failed" => Outcome::Failure,
        "ignored" => Outcome::Skipped,
        _ => return None,
    };
    Some((outcome, if outcome == Outcome::Skipped { more.trim() } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(outcome: Outcome) -> String {
        format!("{outcome:?}").replace("Outcome::", "")
    }

    fn lines(output: &str) -> Vec<String> {
        let mut reader = Reader::default();
        let mut results: Vec<_> = output.lines().flat_map(|line| reader.read(line)).collect();
        results.extend(reader.take());
        let line = |result: TestResult| {
            format!("{} {} {}", result.name.join("/"), how(result.outcome), result.text.replace('\n', "|"))
        };
        results.into_iter().map(|result| line(result).trim_end().to_owned()).collect()
    }

    const OUTPUT: &str = "   Compiling tiny v0.1.0
    Finished `test` profile
     Running unittests src/lib.rs (target/debug/deps/tiny-0123456789abcdef)

running 4 tests
test tests::adds ... ok
test tests::later ... ignored, not today
test tests::fails ... FAILED
test tests::panics - should panic ... ok

failures:

---- tests::fails stdout ----
it said so

thread 'tests::fails' panicked at src/lib.rs:9:9:
left: 1


failures:
    tests::fails

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/it.rs (target/debug/deps/it-0123456789abcdef)

running 1 test
test works ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests tiny

running 1 test
test src/lib.rs - add (line 3) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";

    #[test]
    fn suites_tests_and_what_those_said_that_failed_are_read() {
        assert_eq!(
            lines(OUTPUT),
            [
                "unittests src/lib.rs/tests::adds Success",
                "unittests src/lib.rs/tests::later Skipped not today",
                "unittests src/lib.rs/tests::fails Failure it said so||thread 'tests::fails' panicked at \
                 src/lib.rs:9:9:|left: 1",
                "unittests src/lib.rs/tests::panics Success",
                "tests/it.rs/works Success",
                "Doc-tests tiny/src/lib.rs - add (line 3) Success",
            ]
        );
    }

    #[test]
    fn a_test_that_writes_between_its_name_and_its_end_is_understood() {
        let output = "running 2 tests\ntest a ... hello\nok\ntest b ... hello\nFAILED\n";
        assert_eq!(lines(output), ["a Success", "b Failure"]);
    }

    #[test]
    fn a_test_that_took_its_program_along_broke_off() {
        let output = "running 2 tests\ntest a ... ok\ntest b ... and then\n";
        assert_eq!(lines(output), ["a Success", "b Exception it did not end"]);
    }

    #[test]
    fn what_is_no_output_of_tests_has_none() {
        assert_eq!(lines("error[E0425]: cannot find value `x`\nRunning late\ntest is over\n"), [""; 0]);
    }
}
