//! Where things are: the configuration file in a directory, and the socket of its master.

use std::path::{Path, PathBuf};

use windlass_runtime::files;
use windlass_web::client::Client;

use crate::exit::{Exit, Failed};

/// The name of a master's configuration.
pub const MASTER_FILE: &str = "master.toml";
/// The name of a worker's configuration.
pub const WORKER_FILE: &str = "worker.toml";

/// `path` itself if it is a file, else the file `name` in it.
#[must_use]
pub fn file_in(path: &Path, name: &str) -> PathBuf {
    if path.is_dir() { path.join(name) } else { path.to_owned() }
}

/// Reads a configuration file; where there is none, says where there are others of its name.
pub fn read(path: &Path) -> Result<String, Failed> {
    files::text(path, files::MOST).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => missing(path, Exit::Outside),
        _ => Failed::from(anyhow::Error::new(error).context(format!("failed to read `{}`", path.display()))),
    })
}

/// A client of the master in `dir`. A configuration that is broken just now does not keep anyone from
/// its running master: the socket is then looked for in the usual place.
pub fn client(dir: &Path) -> Result<Client, Failed> {
    let config = file_in(dir, MASTER_FILE);
    if !config.is_file() {
        return Err(missing(&config, Exit::NoMaster));
    }
    let text = read(&config)?;
    let folder = config.parent().unwrap_or(Path::new("."));
    let variable = |name: &str| std::env::var(name).ok();
    let fixed = windlass_config::MasterText::parse(&config, &text).peek(&variable);
    let state = fixed.map_or(PathBuf::from("state"), |fixed| fixed.state_dir);
    Ok(Client::new(windlass_web::socket_in(&folder.join(state))))
}

/// There is no such configuration. The commonest slip is to stand beside the directory, so that one is named.
fn missing(path: &Path, exit: Exit) -> Failed {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    // A path that names no file was meant to be a directory.
    let is_file = [MASTER_FILE, WORKER_FILE].contains(&name.as_str());
    let dir = if is_file { path.parent().unwrap_or(Path::new("")) } else { path };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let what = match (dir.is_dir(), is_file) {
        (true, _) => format!("there is no {name} in `{}`", dir.display()),
        (false, _) => format!("there is no directory `{}`", dir.display()),
    };
    let hint = match below(dir, &name).as_slice() {
        [] if exit == Exit::NoMaster => String::new(),
        [] => "; `windlass init DIR` makes a directory to start from".to_owned(),
        [one] => format!("; did you mean `{}`?", one.display()),
        several => {
            let names: Vec<_> = several.iter().map(|dir| format!("`{}`", dir.display())).collect();
            format!("; there is one in {}", names.join(", "))
        }
    };
    Failed { exit, error: anyhow::Error::msg(what + &hint) }
}

/// The directories below this one that have such a file.
fn below(dir: &Path, name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let folders =
        entries.map(|entry| entry.file_name()).filter(|folder| dir.join(folder).join(name).is_file());
    // `ci`, not `./ci`.
    let dir = if dir == Path::new(".") { Path::new("") } else { dir };
    let mut folders: Vec<PathBuf> = folders.map(|folder| dir.join(folder)).collect();
    folders.sort();
    folders.truncate(3);
    folders
}

/// The moment, for ages and durations in what is printed.
#[must_use]
pub fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
