//! Where things are: the configuration file in a directory, and the socket of its master.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use windlass_web::client::Client;

use crate::exit::Failed;

/// The name of a master's configuration.
pub const MASTER_FILE: &str = "master.toml";
/// The name of a worker's configuration.
pub const WORKER_FILE: &str = "worker.toml";

/// `path` itself if it is a file, else the file `name` in it.
#[must_use]
pub fn file_in(path: &Path, name: &str) -> PathBuf {
    if path.is_dir() { path.join(name) } else { path.to_owned() }
}

/// Reads a configuration file, with what to do if there is none.
pub fn read(path: &Path) -> Result<String, Failed> {
    let hint = || format!("failed to read `{}`; `windlass init DIR` makes one to start from", path.display());
    Ok(std::fs::read_to_string(path).with_context(hint)?)
}

/// A client of the master in `dir`. A configuration that is broken just now does not keep anyone from
/// its running master: the socket is then looked for in the usual place.
pub fn client(dir: &Path) -> Result<Client, Failed> {
    let config = file_in(dir, MASTER_FILE);
    let text = read(&config)?;
    let folder = config.parent().unwrap_or(Path::new("."));
    let state =
        windlass_config::peek_master(&config, &text).map_or(PathBuf::from("state"), |fixed| fixed.state_dir);
    Ok(Client::new(windlass_web::socket_in(&folder.join(state))))
}

/// The moment, for ages and durations in what is printed.
#[must_use]
pub fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
