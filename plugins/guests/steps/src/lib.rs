//! The build steps that most builders are made of: `shell-command`, `compile`, `test`, `git`.

mod git;
mod remote;
mod shell_command;
mod trigger;

windlass_sdk::export!(
    build_step: shell_command::ShellCommand, shell_command::Compile, shell_command::Test, git::Git,
    trigger::Trigger
);
