//! Compiled components on disk, by the digest of their bytes and the engine they were compiled for.
//!
//! What is loaded from here is native code. So the directory is ours alone (mode 0700, our user), each
//! file carries a hash over its component's digest and its content, and what does not match is compiled
//! anew. The hash finds damage and mix-ups, not malice: against that stands the mode.

use std::fs::{self, DirBuilder, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use wasmtime::Engine;
use wasmtime::component::Component;
use windlass_core::digest::Digest;

/// Begins every file; its last digit counts the formats.
const MAGIC: &[u8; 8] = b"windlas1";
const HEADER: usize = MAGIC.len() + 32;

/// What is kept: room for the components of a day's worth of reloads, and those in use are in memory. One in
/// Python makes some 30 MB.
const MOST_KEPT: u64 = 1024 * 1024 * 1024;

/// Temporary files older than this were left by a process that died.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// Why a directory cannot be the cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It could not be made, or not be looked at.
    #[error("failed to open directory `{path}`", path = path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Others may write or read it.
    #[error("others can get into `{path}` (mode {mode:03o}), and it holds native code; `chmod 700` it", path = path.display())]
    Mode {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("`{path}` belongs to user {owner}, and it holds native code that runs as user {user}", path = path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// It is something else.
    #[error("`{path}` is not a directory", path = path.display())]
    NotADirectory {
        /// What is there.
        path: PathBuf,
    },
}

/// The directory.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    suffix: String,
    most: u64,
}

impl Cache {
    /// Makes the directory if need be, judges it, and clears out what no engine of ours will read.
    pub(crate) fn open(dir: &Path, engine: &Engine) -> Result<Cache, CacheError> {
        let failed = |cause| CacheError::Open { path: dir.to_owned(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let found = fs::symlink_metadata(dir).map_err(failed)?;
        let user = rustix::process::geteuid().as_raw();
        if !found.is_dir() {
            return Err(CacheError::NotADirectory { path: dir.to_owned() });
        }
        if found.uid() != user {
            return Err(CacheError::Owner { path: dir.to_owned(), owner: found.uid(), user });
        }
        if found.mode() & 0o077 != 0 {
            return Err(CacheError::Mode { path: dir.to_owned(), mode: found.mode() & 0o777 });
        }
        let cache = Cache {
            dir: dir.to_owned(),
            suffix: format!("{}.cwasm", compatibility(engine)),
            most: MOST_KEPT,
        };
        if let Err(error) = cache.clear_out() {
            tracing::warn!(dir = %dir.display(), %error, "old compiled components stay");
        }
        Ok(cache)
    }

    /// The compiled component with this digest, if there is one that can be used.
    pub(crate) fn get(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(digest);
        let bytes = match read_own(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled component cannot be read");
                return None;
            }
        };
        let Some(artefact) = verify(digest, &bytes) else {
            tracing::warn!(path = %path.display(), "a compiled component is damaged and is compiled anew");
            return None;
        };
        match deserialize(engine, artefact) {
            Ok(component) => {
                touch(&path);
                Some(component)
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled component is of no use");
                None
            }
        }
    }

    /// Keeps a compiled component: whole or not at all, never over one that somebody reads.
    pub(crate) fn put(&self, digest: &Digest, artefact: &[u8]) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let temporary = self.dir.join(format!(".{}-{number}.tmp", std::process::id()));
        let written =
            write(&temporary, digest, artefact).and_then(|()| fs::rename(&temporary, self.path(digest)));
        if written.is_err() {
            // Already failing; what is left behind is cleared out by a later start.
            drop(fs::remove_file(&temporary));
        }
        written?;
        make_room(&self.dir, self.most)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{digest}-{}", self.suffix))
    }

    fn clear_out(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let other_engine = name.ends_with(".cwasm") && !name.ends_with(&self.suffix);
            let left_behind = name.ends_with(".tmp")
                && entry.metadata()?.modified()?.elapsed().is_ok_and(|age| age > LEFT_BEHIND);
            if other_engine || left_behind {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Removes the files of a folder that were used least recently, so that the others have at most `most` bytes. One
/// that is too large for what is left goes, and smaller ones that were used before it may stay.
pub fn make_room(folder: &Path, most: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // What is gone already needs no room.
        if let Ok(found) = entry.metadata()
            && found.is_file()
        {
            files.push((found.modified()?, found.len(), entry.path()));
        }
    }
    files.sort();
    let mut kept = 0;
    for (_, len, path) in files.iter().rev() {
        if kept + len <= most {
            kept += len;
        } else {
            match fs::remove_file(path) {
                // Another process made the same room.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
    }
    Ok(())
}

/// Marks a file as used just now, for [`make_room`].
pub fn touch(path: &Path) {
    // One that cannot be marked is removed sooner, and made again.
    drop(File::open(path).and_then(|file| file.set_modified(SystemTime::now())));
}

/// Reads a file that this user alone can have written. The directory was judged when it was opened; if
/// somebody could put another in its place since, the files in that one are not ours.
fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let found = file.metadata()?;
    if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return Err(io::Error::other("somebody else can write it"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write(path: &Path, digest: &Digest, artefact: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(MAGIC)?;
    file.write_all(seal(digest, artefact).as_bytes())?;
    file.write_all(artefact)
}

/// The content of a file that is what it says it is.
fn verify<'a>(digest: &Digest, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (header, artefact) = bytes.split_at_checked(HEADER)?;
    let sealed = header.strip_prefix(MAGIC)?;
    (seal(digest, artefact).as_bytes() == sealed).then_some(artefact)
}

fn seal(digest: &Digest, artefact: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(digest.as_bytes()).update(artefact).finalize()
}

/// A component from its native code.
#[expect(
    unsafe_code,
    reason = "loads native code that this user compiled, just now or as the hash in front of it says"
)]
pub(crate) fn deserialize(engine: &Engine, artefact: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are in memory, so nobody changes them after the hash was compared; they were
    // made by our compiler: by this process or its child, or before, and then kept in a directory that
    // only this user can enter. wasmtime itself
    // checks its version and configuration.
    unsafe { Component::deserialize(engine, artefact) }
}

/// A short name for everything that compiled code depends on.
fn compatibility(engine: &Engine) -> String {
    struct Bytes(blake3::Hasher);
    impl Hasher for Bytes {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            let hash = self.0.finalize();
            u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
        }
    }
    let mut hasher = Bytes(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn engine() -> Engine {
        crate::engine::start().unwrap()
    }

    fn filled() -> (tempfile::TempDir, Engine, Cache, Digest) {
        let (dir, engine) = (tempfile::tempdir().unwrap(), engine());
        let cache = Cache::open(&dir.path().join("cache"), &engine).unwrap();
        let digest = Digest::of(EMPTY);
        let compiled = Component::from_binary(&engine, EMPTY).unwrap().serialize().unwrap();
        cache.put(&digest, &compiled).unwrap();
        (dir, engine, cache, digest)
    }

    #[test]
    fn what_was_put_is_got_by_its_digest() {
        let (_dir, engine, cache, digest) = filled();
        assert!(cache.get(&engine, &digest).is_some());
        assert!(cache.get(&engine, &Digest::of(b"other")).is_none());
        assert_eq!(fs::metadata(&cache.dir).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        let (_dir, engine, cache, digest) = filled();
        let path = cache.path(&digest);
        let good = fs::read(&path).unwrap();
        for at in [0, 10, HEADER + 5, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, bad).unwrap();
            assert!(cache.get(&engine, &digest).is_none(), "a changed byte {at} went unseen");
        }
        for len in [0, 7, HEADER, good.len() - 1] {
            fs::write(&path, &good[..len]).unwrap();
            assert!(cache.get(&engine, &digest).is_none(), "a cut at {len} went unseen");
        }
    }

    #[test]
    fn a_file_under_another_components_name_is_not_used() {
        let (_dir, engine, cache, digest) = filled();
        let other = Digest::of(b"other");
        fs::copy(cache.path(&digest), cache.path(&other)).unwrap();
        assert!(cache.get(&engine, &other).is_none());
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let refused = Cache::open(dir.path(), &engine()).unwrap_err();
        assert!(refused.to_string().contains("mode 755"), "{refused}");
    }

    #[test]
    fn a_file_that_others_can_write_is_not_used() {
        let (_dir, engine, cache, digest) = filled();
        fs::set_permissions(cache.path(&digest), fs::Permissions::from_mode(0o620)).unwrap();
        assert!(cache.get(&engine, &digest).is_none());
    }

    /// Symptom: each changed plugin left its code on the disk for ever. Cause: only a start removed files, and
    /// only those of other engines. Cure: each new one makes room, at the cost of what was used least recently.
    #[test]
    fn a_new_file_makes_room_at_the_cost_of_what_was_used_least_recently() {
        let (_dir, engine, mut cache, digest) = filled();
        let old = |name: &[u8], age: u64| {
            let path = cache.path(&Digest::of(name));
            fs::write(&path, [0; 100]).unwrap();
            let then = SystemTime::now() - Duration::from_secs(age);
            File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
            path
        };
        let (oldest, older) = (old(b"oldest", 7_200), old(b"older", 3_600));
        let size = |digest: &Digest| fs::metadata(cache.path(digest)).unwrap().len();
        let kept = old(b"used", 9_000);
        touch(&kept);
        let one = size(&digest);
        cache.most = 2 * one + 250;
        let compiled = Component::from_binary(&engine, EMPTY).unwrap().serialize().unwrap();
        cache.put(&Digest::of(b"new"), &compiled).unwrap();
        assert!(!oldest.exists() && older.exists() && kept.exists());
        assert!(cache.get(&engine, &digest).is_some());
    }

    /// Symptom: one large component took along all smaller ones that were used before it. Cause: it was counted even
    /// though it went. Cure: what goes takes no room.
    #[test]
    fn a_large_file_that_goes_takes_no_smaller_ones_along() {
        let folder = tempfile::tempdir().unwrap();
        for (name, len, age) in [("small", 10, 30), ("large", 100, 20), ("new", 10, 10)] {
            let path = folder.path().join(name);
            fs::write(&path, vec![0; len]).unwrap();
            let then = SystemTime::now() - Duration::from_secs(age);
            File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
        }
        make_room(folder.path(), 50).unwrap();
        assert_eq!(
            ["small", "large", "new"].map(|name| folder.path().join(name).exists()),
            [true, false, true]
        );
    }

    #[test]
    fn files_of_another_engine_are_cleared_out() {
        let (_dir, engine, cache, digest) = filled();
        let old = cache.dir.join("0000-1111.cwasm");
        fs::write(&old, b"x").unwrap();
        Cache::open(&cache.dir, &engine).unwrap();
        assert!(!old.exists());
        assert!(cache.get(&engine, &digest).is_some());
    }
}
