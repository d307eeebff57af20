//! The commands that every worker has: `shell`, `mkdir`, `rmdir`, `stat`.

mod paths;
mod shell;

windlass_sdk::export!(slave_command: shell::Shell, paths::Mkdir, paths::Rmdir, paths::Stat);
