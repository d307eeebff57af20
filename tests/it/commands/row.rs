//! A row of the table: what is given, which command is sent, and what comes of it.

/// What stands in a row's own directory before the command.
#[derive(Clone, Copy)]
pub enum Given {
    /// A directory.
    Dir(&'static str),
    /// A file with this text.
    File(&'static str, &'static str),
    /// A symbolic link, and where it leads.
    Link(&'static str, &'static str),
    /// So many empty files, `file-00000` and on, in a directory.
    Files(&'static str, usize),
    /// Permission bits of what stands there already.
    Mode(&'static str, u32),
}

/// What stands there afterwards.
#[derive(Clone, Copy)]
pub enum Left {
    /// Something.
    There(&'static str),
    /// Nothing.
    Gone(&'static str),
    /// A file with this text.
    Text(&'static str, &'static str),
    /// A link that leads there.
    LeadsTo(&'static str, &'static str),
    /// The same mode and time of change as another path.
    Like(&'static str, &'static str),
    /// A file with the number of a process that has ended.
    Ended(&'static str),
}

/// What a command says, in this order, and how it ends. Headers may say more than is expected of them.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// To its log, on standard output.
    Out(&'static str),
    /// The same by its length, in bytes.
    OutLen(usize),
    /// On standard error.
    Err(&'static str),
    /// To another log.
    Log(&'static str, &'static str),
    /// An update, as JSON.
    Update(&'static str),
    /// So many updates of this name.
    Updates(&'static str, usize),
    /// A header contains this.
    Says(&'static str),
    /// No header does.
    SaysNot(&'static str),
    /// It ends with this exit code.
    Rc(i32),
    /// And with this value, as JSON.
    Value(&'static str, &'static str),
    /// It ends as a failure with this code, and this in its message.
    Fails(&'static str, &'static str),
}

/// `{row}` in texts stands for the directory of the row.
#[derive(Clone, Copy)]
pub struct Row {
    pub case: &'static str,
    pub command: &'static str,
    pub args: &'static str,
    pub then: &'static [Then],
    pub given: &'static [Given],
    pub left: &'static [Left],
    /// It is interrupted, so often, once this stands in its output.
    pub interrupt: Option<(&'static str, u64)>,
}

pub const fn row(
    case: &'static str,
    command: &'static str,
    args: &'static str,
    then: &'static [Then],
) -> Row {
    Row { case, command, args, then, given: &[], left: &[], interrupt: None }
}

pub const fn shell(case: &'static str, args: &'static str, then: &'static [Then]) -> Row {
    row(case, "shell", args, then)
}

impl Row {
    pub const fn given(self, given: &'static [Given]) -> Row {
        Row { given, ..self }
    }

    pub const fn leaves(self, left: &'static [Left]) -> Row {
        Row { left, ..self }
    }

    pub const fn interrupted_at(self, text: &'static str, times: u64) -> Row {
        Row { interrupt: Some((text, times)), ..self }
    }
}
