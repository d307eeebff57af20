//! What the log says about a program, beside what the program says. No times: the log of the same program stays
//! the same.

use std::fmt::Write as _;

use windlass_sdk::process::{Exit, Limit};

use super::args::{Args, Line};

/// Before it starts. Its environment follows, if it is wanted: only the host knows it.
pub fn begin(args: &Args) -> String {
    let mut text = format!("$ {}\n", shown(&args.command));
    let mut line = |what: String| {
        // Into a string: it has room.
        let _always = writeln!(text, "  {what}");
    };
    if !args.workdir.is_empty() {
        line(format!("in {}", args.workdir));
    }
    let limits = [
        args.timeout.map(|seconds| format!("{seconds} s without output")),
        args.max_time.map(|seconds| format!("{seconds} s in all")),
        args.max_lines.map(|lines| format!("{lines} lines")),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    if !limits.is_empty() {
        line(format!("at most {}", limits.join(", ")));
    }
    for (log, file) in &args.logfiles {
        line(format!("follows {} in the log {log}", file.path()));
    }
    if let Some(input) = &args.initial_stdin {
        line(format!("{} bytes of input", input.len()));
    }
    if args.has_terminal() {
        line("in a terminal".to_owned());
    }
    text
}

/// After its end.
pub fn end(exit: &Exit, args: &Args) -> String {
    let seconds = |limit: Option<f64>| limit.unwrap_or_default();
    let what = match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("ended by {signal}"),
        Exit::TimedOut(Limit::MaxTime) => format!("stopped: it took more than {} s", seconds(args.max_time)),
        Exit::TimedOut(Limit::IdleTime) => format!("stopped: no output for {} s", seconds(args.timeout)),
        Exit::TimedOut(Limit::MaxLines) => {
            format!("stopped: it wrote more than {} lines", args.max_lines.unwrap_or_default())
        }
        Exit::Interrupted => "interrupted".to_owned(),
        Exit::Other(other) => format!("ended: {}", other.name),
    };
    what + "\n"
}

/// The command as one could type it.
fn shown(command: &Line) -> String {
    match command {
        Line::Shell(text) => text.clone(),
        Line::Argv(argv) => argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@,+%^~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_could_type_it() {
        let argv = ["git", "log", "--format=%h", "it's", "", "a b"].map(str::to_owned).to_vec();
        assert_eq!(shown(&Line::Argv(argv)), r"git log --format=%h 'it'\''s' '' 'a b'");
        assert_eq!(shown(&Line::Shell("a | b".into())), "a | b");
    }
}
