//! The commands that every worker has: `shell`, those for paths, and those that move files.

mod json;
mod looks;
mod paths;
mod shell;
mod transfer;
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
        looks::Listdir,
        transfer::UploadFile,
        transfer::UploadDirectory,
        transfer::DownloadFile
);
