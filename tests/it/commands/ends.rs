//! `shell`: how it ends, by itself, at its limits, by signals and at an interrupt. Never with rc 0 where it was stopped.

use super::row::Left::Ended;
use super::row::Then::{Log, Out, Rc, Says, Value};
use super::row::{Row, shell};

pub const ROWS: &[Row] = &[
    // Limits.
    shell("who is silent for too long is stopped", r#"{"command": "echo a; sleep 1000", "timeout": 2}"#, &[Says("at most 2 s without output"), Out("a\n"), Says("stopped: no output for 2 s\n"), Rc(-1), Value("timed-out", "\"idle-time\"")]),
    shell("who speaks is not", r#"{"command": "for i in 1 2 3 4 5; do echo $i; sleep 0.6; done", "timeout": 2.5}"#, &[Out("1\n2\n3\n4\n5\n"), Rc(0)]),
    shell("nor is who speaks to nobody", r#"{"command": "for i in 1 2 3 4 5; do echo $i; sleep 0.6; done", "timeout": 2.5, "want_stdout": false}"#, &[Rc(0)]),
    shell("nor who writes to a file that is followed", r#"{"command": "for i in 1 2 3 4 5; do echo $i >> f; sleep 0.6; done", "workdir": "{row}", "timeout": 2.5, "logfiles": {"extra": "f"}}"#, &[Log("extra", "1\n2\n3\n4\n5\n"), Rc(0)]),
    shell("who takes too long is stopped", r#"{"command": "sleep 1000", "max_time": 0.3}"#, &[Says("0.3 s in all"), Says("stopped: it took more than 0.3 s\n"), Rc(-1), Value("timed-out", "\"max-time\"")]),
    shell("though it speaks", r#"{"command": "while :; do echo x; sleep 0.05; done", "want_stdout": false, "max_time": 0.3}"#, &[Rc(-1), Value("timed-out", "\"max-time\"")]),
    shell("in a terminal as well", r#"{"command": "sleep 1000", "pty": true, "max_time": 0.5}"#, &[Rc(-1), Value("timed-out", "\"max-time\"")]),
    shell("no limit is no limit", r#"{"command": "echo a", "timeout": null}"#, &[Out("a\n"), Rc(0)]),
    shell("who writes too many lines is stopped", r#"{"command": "printf '1\\n2\\n3\\n4\\n'; sleep 1000", "max_lines": 3}"#, &[Says("3 lines"), Out("1\n2\n3\n4\n"), Says("stopped: it wrote more than 3 lines\n"), Rc(-1), Value("timed-out", "\"max-lines\"")]),
    shell("as many as are allowed are not too many", r#"{"command": "printf '1\\n2\\n3\\n4'", "max_lines": 3}"#, &[Out("1\n2\n3\n4"), Rc(0)]),
    shell("a carriage return ends a line", r#"{"command": "printf '1\\r2\\r3\\r4\\r'; sleep 1000", "max_lines": 3, "want_stdout": false}"#, &[Rc(-1), Value("timed-out", "\"max-lines\"")]),
    shell("and with a line feed it is one end", r#"{"command": "printf '1\\r\\n2\\r\\n3\\r\\n'", "max_lines": 3, "want_stdout": false}"#, &[Rc(0)]),
    shell("lines of both streams count", r#"{"command": "echo 1; echo 2 >&2; echo 3; echo 4 >&2; sleep 1000", "max_lines": 3, "want_stdout": false, "want_stderr": false}"#, &[Rc(-1), Value("timed-out", "\"max-lines\"")]),
    // Signals.
    shell("death by a signal is named", r#"{"command": "kill -SEGV $$"}"#, &[Says("ended by SIGSEGV\n"), Rc(-1), Value("signal", "\"SIGSEGV\"")]),
    shell("whoever sent it", r#"{"command": "kill -KILL $$"}"#, &[Says("ended by SIGKILL\n"), Rc(-1), Value("signal", "\"SIGKILL\"")]),
    shell("a stopped program that says 0 has not succeeded", r#"{"command": "exec 2>&-; trap 'exit 0' TERM; while :; do sleep 0.05; done", "max_time": 3, "sigterm_time": 20}"#, &[Rc(-1), Value("timed-out", "\"max-time\"")]),
    shell("who is asked first may say more", r#"{"command": "exec 2>&-; trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done", "max_time": 3, "sigterm_time": 20}"#, &[Out("bye\n"), Rc(-1)]),
    shell("who does not heed that gets the other signal", r#"{"command": "exec 2>&-; trap '' TERM; trap 'echo int; exit 0' INT; while :; do sleep 0.05; done", "max_time": 3, "sigterm_time": 0.3, "interrupt_signal": "INT"}"#, &[Out("int\n"), Rc(-1)]),
    shell("which is a kill unless said", r#"{"command": "trap '' TERM; while :; do sleep 0.05; done", "max_time": 0.3, "sigterm_time": 0.3}"#, &[Rc(-1), Value("timed-out", "\"max-time\"")]),
    shell("without asking it comes at once", r#"{"command": "exec 2>&-; trap 'echo usr; exit 0' USR1; while :; do sleep 0.05; done", "max_time": 3, "interrupt_signal": "SIGUSR1"}"#, &[Out("usr\n"), Rc(-1)]),
    shell("a limit ends the whole group", r#"{"command": "sleep 1000 & echo $! > pid; wait", "workdir": "{row}", "max_time": 3}"#, &[Rc(-1)]).leaves(&[Ended("pid")]),
    // Interrupts.
    shell("an interrupt is an end of its own", r#"{"command": "echo ready; sleep 1000"}"#, &[Out("ready\n"), Says("interrupted\n"), Rc(-1), Value("interrupted", "true")]).interrupted_at("ready", 1),
    shell("it may come several times", r#"{"command": "echo ready; sleep 1000"}"#, &[Out("ready\n"), Rc(-1), Value("interrupted", "true")]).interrupted_at("ready", 5),
    shell("it ends the whole group", r#"{"command": "sleep 1000 & echo $! > pid; echo ready; wait", "workdir": "{row}"}"#, &[Out("ready\n"), Rc(-1)]).leaves(&[Ended("pid")]).interrupted_at("ready", 1),
    shell("it asks first where that is wanted", r#"{"command": "exec 2>&-; trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done", "sigterm_time": 20}"#, &[Out("ready\nbye\n"), Rc(-1), Value("interrupted", "true")]).interrupted_at("ready", 2),
    shell("it reaches a terminal", r#"{"command": "echo ready > f; sleep 1000", "workdir": "{row}", "pty": true, "logfiles": {"extra": "f"}}"#, &[Log("extra", "ready\n"), Rc(-1), Value("interrupted", "true")]).interrupted_at("ready", 1),
];
