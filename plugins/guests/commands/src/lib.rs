//! The commands that every worker has: `shell`, and those for paths.

mod json;
mod looks;
mod paths;
mod shell;
mod trees;

windlass_sdk::export!(
    slave_command:
        shell::Shell,
        trees::Mkdir,
        trees::Rmdir,
        trees::Cpdir,
        trees::Rmfile,
        looks::Stat,
        looks::Glob,
        looks::Listdir
);
