//! `init` and `token`: a directory to start from, and secrets for its workers.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anstream::println;
use anyhow::Context as _;

use crate::exit::{Exit, Failed};
use crate::output::{HEADING, paint};
use crate::place::{MASTER_FILE, WORKER_FILE};
use crate::query::print_json;

/// The worker's directory below the master's.
const WORKER_DIR: &str = "worker";

/// `windlass init`.
pub fn init(dir: &Path) -> Result<Exit, Failed> {
    let config = dir.join(MASTER_FILE);
    if config.exists() {
        let message = format!("`{}` is there already; nothing was changed", config.display());
        return Err(Failed { exit: Exit::Refused, error: anyhow::Error::msg(message) });
    }
    let worker = dir.join(WORKER_DIR);
    for folder in [dir, &dir.join("plugins"), &worker] {
        make_private(folder)?;
    }
    let hash = new_token(&worker.join("token"))?;
    write_new(&config, &windlass_config::template::MASTER.replace("@TOKEN_HASH@", &hash), 0o644)?;
    write_new(&worker.join(WORKER_FILE), windlass_config::template::WORKER, 0o644)?;
    let shown = dir.display();
    println!("made {shown} with master.toml, plugins/ and worker/. Next:");
    println!("  {}", paint(HEADING, format_args!("windlass master {shown}")));
    println!("  {}   in another terminal", paint(HEADING, format_args!("windlass worker {shown}/worker")));
    println!("  {}", paint(HEADING, format_args!("windlass --dir {shown} force hello --wait")));
    Ok(Exit::Success)
}

/// `windlass token`.
pub fn token(file: &Path, json: bool) -> Result<Exit, Failed> {
    let token_hash = new_token(file)?;
    if json {
        print_json(&serde_json::json!({ "file": file, "token_hash": token_hash }));
    } else {
        println!("token_hash = \"{token_hash}\"");
    }
    Ok(Exit::Success)
}

/// Writes 32 random bytes in hex to a new file that only its owner reads; answers their hash. Both the file and its name
/// are durable when this returns.
pub fn new_token(file: &Path) -> Result<String, Failed> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("the system gives no random bytes: {e}"))?;
    let token: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    write_new(file, &format!("{token}\n"), 0o600)?;
    if let Err(error) = make_durable(file) {
        // It counts nowhere, and would be in the way of the next try.
        let left = std::fs::remove_file(file).err().map(|left| format!("; it stays behind: {left}"));
        let what = format!("failed to make `{}` durable{}", file.display(), left.unwrap_or_default());
        return Err(anyhow::Error::new(error).context(what).into());
    }
    Ok(windlass_config::hash_token(&token))
}

/// Makes a directory, with its parents, that only its owner may enter; one that is there stays as it is.
pub fn make_private(dir: &Path) -> Result<(), Failed> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    Ok(made.with_context(|| format!("failed to make `{}`", dir.display()))?)
}

/// Writes a file that must not be there yet.
pub fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Failed> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("failed to make `{}`", path.display()))?;
    Ok(file.write_all(text.as_bytes()).with_context(|| format!("failed to write `{}`", path.display()))?)
}

/// What a file holds, and then its name, which is in its folder.
fn make_durable(file: &Path) -> io::Result<()> {
    File::open(file)?.sync_all()?;
    File::open(folder_of(file))?.sync_all()
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_file_is_found_however_it_is_named() {
        for (file, folder) in
            [("token", "."), ("ci/token", "ci"), ("/token", "/"), ("./token", "."), ("../t", "..")]
        {
            assert_eq!(folder_of(Path::new(file)), Path::new(folder), "{file}");
        }
    }

    #[test]
    fn a_token_is_made_once_and_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let hash = new_token(&file).unwrap();
        let token = std::fs::read_to_string(&file).unwrap();
        assert!(windlass_config::verify_token(&token, &hash));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(new_token(&file).is_err() && std::fs::read_to_string(&file).unwrap() == token);
    }
}
