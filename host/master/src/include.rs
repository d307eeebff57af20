//! What a configuration takes from outside: the files that it includes, and variables.

use std::path::Path;

use windlass_config::Included;
use windlass_core::text::is_like;

/// The most bytes of all files that one pattern means.
const MOST: u64 = 64 << 20;

/// A variable of the environment.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The files that a pattern means, by their names: `*` stands for any part of the last one.
pub(crate) fn find(directory: &Path, pattern: &str) -> Result<Vec<Included>, String> {
    let (folder, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    if folder.contains('*') {
        return Err("`*` stands in the name of a file, and in none of a folder".to_owned());
    }
    let folder_path =
        directory.join(if pattern.starts_with('/') && folder.is_empty() { "/" } else { folder });
    let mut names = Vec::new();
    if last.contains('*') {
        let entries = match std::fs::read_dir(&folder_path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.to_string()),
        };
        for entry in entries {
            let entry = entry.map_err(|error| error.to_string())?;
            // Editors leave files beside those that they edit.
            names.extend(
                entry
                    .file_name()
                    .into_string()
                    .ok()
                    .filter(|name| is_like(last, name) && !name.starts_with('.') && !entry.path().is_dir()),
            );
        }
        names.sort();
    } else {
        names.push(last.to_owned());
    }
    let mut room = MOST;
    let mut files = Vec::new();
    for name in names {
        let shown = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let path = folder_path.join(&name);
        let failed = |error: std::io::Error| format!("`{shown}`: {error}");
        let size = match std::fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        room = room.checked_sub(size).ok_or_else(|| format!("`{shown}`: they are too large together"))?;
        files.push(Included { text: std::fs::read_to_string(&path).map_err(failed)?, name: shown });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_files_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("builders/x.toml")).unwrap();
        for name in ["b.toml", "a.toml", ".a.toml", "c.txt"] {
            std::fs::write(dir.path().join("builders").join(name), name).unwrap();
        }
        let found = |pattern: &str| find(dir.path(), pattern).unwrap();
        let names: Vec<String> = found("builders/*.toml").into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["builders/a.toml", "builders/b.toml"]);
        assert_eq!(found("builders/c.txt")[0].text, "c.txt");
        assert_eq!((found("builders/d.toml"), found("none/*.toml")), (Vec::new(), Vec::new()));
        assert!(find(dir.path(), "*/a.toml").is_err());
    }
}
