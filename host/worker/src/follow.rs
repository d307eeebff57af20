//! Files that a child writes beside its output, followed into logs of their own while they grow.
//!
//! A file is looked at a few times a second, since nothing tells of changes on every kind of file system. One
//! that stood there before the child and is not touched by it is somebody else's, and is left alone.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use windlass_core::value::Failure;

use crate::beneath::Root;
use crate::mask::{Mask, Masker};

/// Between two looks at a file that did not grow.
const LOOKS: Duration = Duration::from_millis(250);

/// Read at a time.
const READ: u64 = 32 * 1024;

/// Pieces on their way to the log; what is not taken stays in the file.
const PIECES: usize = 4;

/// What a file has grown by.
#[derive(Debug)]
pub struct Piece {
    /// The log that it is for.
    pub log: String,
    /// The bytes.
    pub data: Bytes,
}

/// A file to follow: what an agent that is started anew has to know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    log: String,
    path: String,
    from_end: bool,
    /// What stood there before the child.
    before: Option<Before>,
}

/// How far a file was read: which one, and up to where. None: nothing of it was.
pub type Place = Option<((u64, u64), u64)>;

/// A file to follow, as it was before the child.
#[derive(Debug)]
pub struct Tail {
    root: Arc<Root>,
    kept: Kept,
    /// Held where the file from before is told by its number: it is not given to another one meanwhile.
    _held: Option<OwnedFd>,
    open: Option<Open>,
    /// What stood there at the end, if something of the one before was not read yet.
    last: Option<Open>,
    /// The child has ended: there is nothing more to look for.
    finished: bool,
}

/// What stood there before the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    which: (u64, u64),
    seen: (i64, [i64; 2], [u64; 2]),
    length: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    which: (u64, u64),
    at: u64,
    /// Where to stop: how long it was when the child had ended.
    end: Option<u64>,
}

impl Open {
    fn new(file: File, stat: &Stat) -> Open {
        Open { file, which: which(stat), at: 0, end: None }
    }

    fn len(&self) -> u64 {
        self.file.metadata().map_or(self.at, |metadata| metadata.len())
    }

    fn read(&mut self) -> Option<Bytes> {
        let most = self.end.map_or(READ, |end| end.saturating_sub(self.at).min(READ));
        let mut data = Vec::new();
        (&mut self.file).take(most).read_to_end(&mut data).ok()?;
        self.at += data.len() as u64;
        (!data.is_empty()).then(|| data.into())
    }
}

impl Tail {
    /// Remembers what stands at `path` now. `from_end`: of that only what comes behind it is wanted.
    pub fn new(root: Arc<Root>, log: String, path: String, from_end: bool) -> Result<Tail, Failure> {
        let (before, held) = match root.open_at(&path, OFlags::PATH, Mode::empty()) {
            Ok(found) => {
                let before = rustix::fs::fstat(&found).ok().map(|stat| Before {
                    which: which(&stat),
                    seen: seen(&stat),
                    length: length(&stat),
                });
                (before, from_end.then_some(found))
            }
            Err(failure) if failure.code == "bad-argument" => return Err(failure),
            // It may come, or be mended, while the child runs.
            Err(_) => (None, None),
        };
        let kept = Kept { log, path, from_end, before };
        Ok(Tail { root, kept, _held: held, open: None, last: None, finished: false })
    }

    /// One that an earlier agent read up to a place. What it left of a file that does not stand there any more is gone.
    pub fn again(root: Arc<Root>, kept: Kept, place: Place) -> Tail {
        let mut tail = Tail { root, kept, _held: None, open: None, last: None, finished: false };
        if let Some((was, at)) = place {
            tail.kept.before = None;
            if let Some((mut file, stat)) = tail.standing()
                && which(&stat) == was
                && file.seek(SeekFrom::Start(at)).is_ok()
            {
                tail.open = Some(Open { at, ..Open::new(file, &stat) });
            }
        }
        tail
    }

    /// What an agent that is started anew has to know of it.
    pub fn kept(&self) -> Kept {
        self.kept.clone()
    }

    /// How far it was read.
    fn place(&self) -> Place {
        self.open.as_ref().map(|open| (open.which, open.at))
    }

    /// The next piece; none: there is nothing new just now.
    fn read(&mut self) -> Option<Bytes> {
        if !self.finished {
            self.look();
        }
        match self.open.as_mut()?.read() {
            None if self.last.is_some() => {
                self.open = self.last.take();
                self.open.as_mut()?.read()
            }
            read => read,
        }
    }

    /// The file that stands there now.
    fn standing(&self) -> Option<(File, Stat)> {
        // Not blocked by a pipe that stands there, and no terminal becomes the worker's.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.root.open_at(&self.kept.path, flags, Mode::empty()).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        FileType::from_raw_mode(stat.st_mode).is_file().then(|| (file.into(), stat))
    }

    /// Finds out whether there is another file by now, or the same one was cut.
    fn look(&mut self) {
        let Some((file, stat)) = self.standing() else { return };
        let size = length(&stat);
        match &mut self.open {
            Some(open) if open.which == which(&stat) => {
                if size < open.at && open.file.seek(SeekFrom::Start(0)).is_ok() {
                    open.at = 0;
                }
            }
            // What is left of the one before is read first.
            Some(open) if open.len() > open.at => {}
            Some(_) => self.open = Some(Open::new(file, &stat)),
            None => {
                let same = self.kept.before.filter(|before| before.which == which(&stat));
                if same.is_some_and(|before| before.seen == seen(&stat)) {
                    return;
                }
                // One that was cut meanwhile is new from its beginning.
                let skipped = same.filter(|_| self.kept.from_end).map(|before| before.length);
                let skipped = skipped.filter(|skipped| *skipped <= size);
                let mut open = Open::new(file, &stat);
                open.at = skipped.unwrap_or_default();
                if open.file.seek(SeekFrom::Start(open.at)).is_ok() {
                    self.open = Some(open);
                    self.kept.before = None;
                    self._held = None;
                }
            }
        }
    }

    /// The child has ended: what stands there now is all, and what is left of the one before.
    fn finish(&mut self) {
        self.look();
        self.finished = true;
        let standing = self.standing();
        let Some(open) = &mut self.open else { return };
        open.end = Some(open.len());
        let another = standing.filter(|(_, stat)| which(stat) != open.which);
        self.last = another.map(|(file, stat)| Open { end: Some(length(&stat)), ..Open::new(file, &stat) });
    }
}

/// Tells files apart as long as they are there.
fn which(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn length(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

/// What changes when somebody writes to a file.
fn seen(stat: &Stat) -> (i64, [i64; 2], [u64; 2]) {
    (stat.st_size, [stat.st_mtime, stat.st_ctime], [stat.st_mtime_nsec, stat.st_ctime_nsec])
}

/// The files of one child.
#[derive(Debug)]
pub struct Followed {
    pieces: mpsc::Receiver<(usize, Bytes, Place)>,
    ended: CancellationToken,
    /// The logs, and what takes secrets out of what goes there.
    logs: Vec<(String, Option<Masker>)>,
    /// How far each was handed on.
    places: Vec<Place>,
}

impl Followed {
    /// Begins to look, within a tokio runtime; none: there is nothing to follow. It stops when this is dropped.
    pub fn start(tails: Vec<Tail>, mask: Option<&Arc<Mask>>) -> Option<Followed> {
        if tails.is_empty() {
            return None;
        }
        let places = tails.iter().map(Tail::place).collect();
        let masker = || mask.map(|mask| Masker::new(Arc::clone(mask)));
        let logs = tails.iter().map(|tail| (tail.kept.log.clone(), masker())).collect();
        let (sender, pieces) = mpsc::channel(PIECES);
        let ended = CancellationToken::new();
        drop(tokio::spawn(follow(tails, sender, ended.clone())));
        Some(Followed { pieces, ended, logs, places })
    }

    /// The child has ended: what stands in the files now still comes, and no more.
    pub fn finish(&self) {
        self.ended.cancel();
    }

    /// How far each file was handed on, once what [`Followed::next`] gave was.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The next piece; none after the last. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<Piece> {
        while let Some((index, data, place)) = self.pieces.recv().await {
            let (log, masker) = &mut self.logs[index];
            let data = match masker {
                Some(masker) => masker.push(&data).into(),
                None => data,
            };
            // What a masker holds back was not handed on.
            let held = masker.as_ref().map_or(0, Masker::held) as u64;
            self.places[index] = place.map(|(file, at)| (file, at.saturating_sub(held)));
            if !data.is_empty() {
                return Some(Piece { log: log.clone(), data });
            }
        }
        // What was held back was no secret.
        while let Some((log, masker)) = self.logs.pop() {
            let held = masker.map(|mut masker| masker.finish()).unwrap_or_default();
            if !held.is_empty() {
                return Some(Piece { log, data: held.into() });
            }
        }
        None
    }
}

/// Reads where it delays nobody, until the child has ended and all is read, or nobody listens any more.
async fn follow(mut tails: Vec<Tail>, pieces: mpsc::Sender<(usize, Bytes, Place)>, ended: CancellationToken) {
    let mut finished = false;
    loop {
        let last = ended.is_cancelled();
        let finish = last && !std::mem::replace(&mut finished, last);
        let read = tokio::task::spawn_blocking(move || {
            if finish {
                tails.iter_mut().for_each(Tail::finish);
            }
            let found: Vec<_> = (tails.iter_mut().enumerate())
                .filter_map(|(n, tail)| Some((n, tail.read()?, tail.place())))
                .collect();
            (tails, found)
        });
        let Ok((back, found)) = read.await else { return };
        tails = back;
        let nothing = found.is_empty();
        for piece in found {
            if pieces.send(piece).await.is_err() {
                return;
            }
        }
        if nothing {
            if last {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOKS) => {}
                () = ended.cancelled() => {}
                () = pieces.closed() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    struct World {
        _base: tempfile::TempDir,
        root: Arc<Root>,
    }

    fn world() -> World {
        let (base, root) = Root::beside_a_precious_file();
        World { _base: base, root: Arc::new(root) }
    }

    impl World {
        fn add(&self, name: &str, text: &str) {
            let path = self.root.path().join(name);
            let mut file = File::options().create(true).append(true).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn tail(&self, from_end: bool) -> Tail {
            Tail::new(Arc::clone(&self.root), "log".into(), "f".into(), from_end).unwrap()
        }
    }

    fn all(tail: &mut Tail) -> String {
        let pieces: Vec<Bytes> = std::iter::from_fn(|| tail.read()).collect();
        String::from_utf8(pieces.concat()).unwrap()
    }

    #[test]
    fn a_file_that_comes_and_grows_is_read_as_it_grows() {
        let world = world();
        let mut tail = world.tail(false);
        assert_eq!(all(&mut tail), "");
        world.add("f", "one\n");
        assert_eq!(all(&mut tail), "one\n");
        world.add("f", "two\n");
        assert_eq!(all(&mut tail), "two\n");
    }

    #[test]
    fn a_file_from_before_is_read_once_it_changes_from_its_beginning_or_from_where_it_ended() {
        for (from_end, expected) in [(false, "old\nnew\n"), (true, "new\n")] {
            let world = world();
            world.add("f", "old\n");
            let mut tail = world.tail(from_end);
            assert_eq!(all(&mut tail), "", "nobody touched it");
            world.add("f", "new\n");
            assert_eq!(all(&mut tail), expected);
        }
    }

    #[test]
    fn a_file_that_was_cut_or_replaced_begins_anew() {
        let world = world();
        let mut tail = world.tail(false);
        world.add("f", "first file\n");
        assert_eq!(all(&mut tail), "first file\n");
        std::fs::write(world.root.path().join("f"), "cut\n").unwrap();
        assert_eq!(all(&mut tail), "cut\n");
        world.add("f", "last words\n");
        std::fs::rename(world.root.path().join("f"), world.root.path().join("f.1")).unwrap();
        world.add("f", "another\n");
        assert_eq!(all(&mut tail), "last words\nanother\n");
    }

    #[test]
    fn another_agent_reads_on_where_the_last_one_stood_and_whatever_stands_there_by_then() {
        let world = world();
        world.add("f", "before\n");
        let mut tail = world.tail(true);
        let again = |tail: &Tail| Tail::again(Arc::clone(&world.root), tail.kept(), tail.place());
        assert_eq!(all(&mut again(&tail)), "", "nobody touched it");
        world.add("f", "one\n");
        assert_eq!(all(&mut tail), "one\n");
        world.add("f", "two\n");
        let mut next = again(&tail);
        assert_eq!(all(&mut next), "two\n");
        std::fs::rename(world.root.path().join("f"), world.root.path().join("f.1")).unwrap();
        world.add("f", "another\n");
        assert_eq!(all(&mut again(&next)), "another\n");
    }

    #[test]
    fn what_is_written_after_the_end_does_not_come() {
        let world = world();
        let mut tail = world.tail(false);
        world.add("f", "in time\n");
        tail.finish();
        world.add("f", "too late\n");
        assert_eq!(all(&mut tail), "in time\n");
    }

    /// Symptom: the last lines of a log that was rotated at the end never came. Cause: what was left of the old file
    /// was read, and nothing after it. Cure: what stands there at the end is read then.
    #[test]
    fn a_file_that_was_replaced_just_before_the_end_is_read_after_the_one_before_it() {
        let world = world();
        let mut tail = world.tail(false);
        world.add("f", "one\n");
        assert_eq!(all(&mut tail), "one\n");
        world.add("f", "two\n");
        std::fs::rename(world.root.path().join("f"), world.root.path().join("f.1")).unwrap();
        world.add("f", "three\n");
        tail.finish();
        world.add("f", "too late\n");
        world.add("f.1", "too late\n");
        assert_eq!(all(&mut tail), "two\nthree\n");
    }

    /// Symptom: a command did not end. Cause: a file that was not there when its program ended, and came later, was
    /// followed without an end. Cure: it is looked for no more.
    #[test]
    fn a_file_that_comes_after_the_end_is_not_followed() {
        let world = world();
        let mut tail = world.tail(false);
        tail.finish();
        world.add("f", "too late\n");
        assert_eq!(all(&mut tail), "");
    }

    /// Symptom: the beginning of a file was missing in its log. Cause: it stood in the place of one from before, and
    /// had got its number. Cure: the one from before is held until it is known which is which.
    #[test]
    fn a_new_file_is_never_taken_for_the_one_from_before() {
        for _ in 0..100 {
            let world = world();
            world.add("f", "old\n");
            let mut tail = world.tail(true);
            std::fs::remove_file(world.root.path().join("f")).unwrap();
            world.add("f", "new\nand longer\n");
            assert_eq!(all(&mut tail), "new\nand longer\n");
        }
    }

    #[test]
    fn what_is_no_file_of_the_builder_is_not_followed() {
        let world = world();
        let mut tail = world.tail(false);
        std::os::unix::fs::symlink("../outside/precious", world.root.path().join("f")).unwrap();
        assert_eq!(all(&mut tail), "");
        let up = Tail::new(Arc::clone(&world.root), "log".into(), "../outside/precious".into(), false);
        assert_eq!(up.unwrap_err().code, "bad-argument");
    }
}
