//! Runs cargo and the other tools: their words go to the caller line by line, their answer comes back whole.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use crate::BuildError;

/// How much of what a tool wrote goes into an error.
const KEPT_LINES: usize = 200;

/// Runs the command and returns its standard output.
pub fn run(mut command: Command, progress: &mut dyn FnMut(&str)) -> Result<String, BuildError> {
    let line = command_line(&command);
    let failed = |source| BuildError::Run { command: line.clone(), source };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let mut stdout = child.stdout.take().expect("stdout was piped above");
    let stderr = child.stderr.take().expect("stderr was piped above");
    // Two pipes, two readers: otherwise the one that is not read fills up and stops cargo.
    let answer = std::thread::spawn(move || {
        let mut answer = String::new();
        stdout.read_to_string(&mut answer).map(|_| answer)
    });
    let mut said = Vec::new();
    for text in BufReader::new(stderr).lines() {
        let text = text.map_err(failed)?;
        progress(&text);
        if !is_progress(&text) {
            said.push(text);
        }
    }
    let answer = answer.join().expect("the reader does not panic").map_err(failed)?;
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        let output = said[said.len().saturating_sub(KEPT_LINES)..].join("\n");
        return Err(BuildError::Failed { command: line, output });
    }
    Ok(answer)
}

/// Whether cargo only says what it is at, ` Compiling serde ...`: nothing for an error.
fn is_progress(line: &str) -> bool {
    let verb = line.trim_start();
    line.starts_with("  ")
        && ["Compiling ", "Downloading ", "Downloaded ", "Updating ", "Locking ", "Blocking ", "Adding "]
            .iter()
            .any(|start| verb.starts_with(start))
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
