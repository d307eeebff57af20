//! What a configuration takes from outside: the files that it includes, and variables.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use windlass_config::Included;
use windlass_core::text::is_like;
use windlass_runtime::files;

/// A variable of the environment.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The files that a pattern in `file` means, by their names: `*` stands for any part of the last one. `room` is how many
/// bytes they may have together.
pub(crate) fn find(file: &Path, pattern: &str, room: usize) -> Result<Vec<Included>, String> {
    let directory = file.parent().unwrap_or(file);
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
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
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
    let own = file.canonicalize().ok();
    let mut room = room;
    let mut files: Vec<Included> = Vec::new();
    for name in names {
        let shown = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let failed = |error: io::Error| format!("`{shown}`: {error}");
        let found = match read(&folder_path.join(&name), room) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        if own.as_ref() == Some(&found.0) {
            match last.contains('*') {
                true => continue,
                false => return Err(format!("`{shown}` is this file itself")),
            }
        }
        room -= found.1.len();
        files.push(Included { path: found.0, text: found.1, name: shown });
    }
    Ok(files)
}

/// Where a file really is, and its text.
fn read(path: &Path, room: usize) -> io::Result<(PathBuf, String)> {
    let text = files::text(path, room).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => {
            io::Error::new(ErrorKind::FileTooLarge, "all that is included is too large together")
        }
        _ => error,
    })?;
    Ok((path.canonicalize()?, text))
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
        let found = |pattern: &str| find(&dir.path().join("m.toml"), pattern, 100).unwrap();
        let names: Vec<String> = found("builders/*.toml").into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["builders/a.toml", "builders/b.toml"]);
        assert_eq!(found("builders/c.txt")[0].text, "c.txt");
        assert_eq!((found("builders/d.toml"), found("none/*.toml")), (Vec::new(), Vec::new()));
        assert!(find(&dir.path().join("m.toml"), "*/a.toml", 100).is_err());
    }

    /// Symptom: `windlass reconfig` never returned, nor did the next one. Cause: a pipe among the files was opened and
    /// read, and the size that `/dev/zero` says it has is none. Cure: what is no regular file is refused by what was
    /// opened, and no more is read than there is room for.
    #[test]
    fn what_is_no_file_or_has_no_end_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("p.toml"), rustix::fs::FileType::Fifo, mode, 0)
            .unwrap();
        std::fs::write(dir.path().join("large.txt"), "x".repeat(100)).unwrap();
        let file = dir.path().join("m.toml");
        for pattern in ["p.toml", "*.toml", "/dev/zero", "/dev/null", "."] {
            let why = find(&file, pattern, 100).unwrap_err();
            assert!(why.contains("no regular file"), "{pattern}: {why}");
        }
        assert_eq!(find(&file, "large.txt", 100).unwrap().len(), 1);
        assert!(find(&file, "large.txt", 99).unwrap_err().contains("too large together"));
        assert!(find(&file, "/proc/self/status", 9).unwrap_err().contains("too large together"));
    }

    #[test]
    fn a_file_includes_itself_by_no_pattern() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["m.toml", "n.toml"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let file = dir.path().join("m.toml");
        let names: Vec<String> =
            find(&file, "*.toml", 100).unwrap().into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["n.toml"]);
        assert!(find(&file, "m.toml", 100).unwrap_err().contains("this file itself"));
    }
}
