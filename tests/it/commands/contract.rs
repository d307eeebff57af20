//! What holds of any command: updates are in order, and each way to go wrong has its own code.

use super::row::Then::{Fails, Out, Rc, Update};
use super::row::{Row, row};

pub const ROWS: &[Row] = &[
    row("a name that nobody has is not started", "no-such-command", "{}", &[Fails("not-found", "no-such-command")]),
    row("arguments that make no sense are refused", "stat", r#"{"path": 1}"#, &[Fails("bad-argument", "")]),
    row("a plugin's name leads to its command", "windlass:shell", r#"{"command": "echo x"}"#, &[Out("x\n"), Rc(0)]),
    row("updates and output come in order, and then the failure of the command", "break-off", r#"{"how": "fail"}"#, &[Out("all is done\n"), Update(r#"{"first": 1}"#), Out("but one thing\n"), Update(r#"{"second": 2}"#), Fails("unwilling", "it could not be finished")]),
    row("a fault at the end names plugin and command", "break-off", r#"{"how": "panic"}"#, &[Out("all is done\n"), Update(r#"{"first": 1}"#), Out("but one thing\n"), Update(r#"{"second": 2}"#), Fails("plugin-fault", "`breaker:break-off`")]),
];
