//! What configurators wrote last, kept in the state: for a start at which one of them fails.
//!
//! A configurator is a function of its bytes and its arguments, so that what it wrote once is right for as long as these
//! are the same. It may fail all the same where it did well before, for want of time on a machine that is busy; a master
//! that did not start for that would have lost to one plugin. So a start goes on with what the configurator wrote before,
//! and says so. A reconfig takes nothing but what is written now: it can be refused, and nothing is lost by it.
//!
//! A file for each question, `state/configurators/<64 hex>`: a line with the hash of the rest, and the rest. They are read
//! before the store can be opened, which needs the configuration.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use windlass_config::Answer;
use windlass_core::digest::Digest;
use windlass_core::text::chain;

/// Begins each file.
const HEAD: &str = "# BLAKE3 of what follows: ";

/// What a configurator was asked, and what it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// See [`question`].
    pub question: Digest,
    /// TOML.
    pub text: String,
}

/// Names what a configurator is asked: all that its answer follows from.
pub(crate) fn question(component: &Digest, hook: &str, args: &str) -> Digest {
    let length = (hook.len() as u64).to_le_bytes();
    Digest::of(&[component.as_bytes().as_slice(), &length, hook.as_bytes(), args.as_bytes()].concat())
}

/// What counts: what was written now, else what was written when the same was asked before.
pub(crate) fn decide(
    now: Result<String, String>,
    before: impl FnOnce() -> Option<String>,
) -> Result<Answer, String> {
    match now {
        Ok(text) => Ok(text.into()),
        Err(fault) => match before() {
            Some(text) => Ok(Answer { text, fault: Some(fault) }),
            None => Err(fault),
        },
    }
}

/// Why an answer could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("failed to keep what a configurator wrote in `{path}`", path = path.display())]
pub(crate) struct KeepError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The folder. Whoever writes to it has the store open, and so is alone.
#[derive(Clone, Debug)]
pub(crate) struct Answers(PathBuf);

impl Answers {
    /// Those of a master with this folder for its state.
    pub fn of(state: &Path) -> Answers {
        Answers(state.join("configurators"))
    }

    /// What was written when this was asked. What cannot be read is none, and said.
    pub fn last(&self, question: &Digest) -> Option<String> {
        let path = self.path(question);
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "its content is not what it was");
        let read =
            fs::read_to_string(&path).and_then(|file| parse(&file).map(str::to_owned).ok_or_else(damaged));
        match read {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "what a configurator wrote before cannot be read");
                None
            }
        }
    }

    /// Keeps all of these, if there is room for their bytes. They are durable when it returns; until then what was there is
    /// there. False: on a full disk nothing is kept. They are for bad days, and the reserve is for what cannot wait.
    pub fn keep(&self, all: &[Answered], has_room: impl Fn(u64) -> bool) -> Result<bool, KeepError> {
        let failed = |source| KeepError { path: self.0.clone(), source };
        let new = |answered: &&Answered| match fs::read_to_string(self.path(&answered.question)) {
            Ok(file) => parse(&file) != Some(answered.text.as_str()),
            Err(_) => true,
        };
        let new: Vec<&Answered> = all.iter().filter(new).collect();
        if new.is_empty() {
            return Ok(true);
        }
        if !has_room(new.iter().map(|answered| (HEAD.len() + answered.text.len()) as u64).sum()) {
            return Ok(false);
        }
        fs::create_dir_all(&self.0).map_err(failed)?;
        for answered in new {
            self.write(answered).map_err(failed)?;
        }
        File::open(&self.0).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(true)
    }

    /// The same for those who go on without: what is not kept is said. True: all of them are kept.
    pub fn keep_or_say(&self, all: &[Answered], has_room: impl Fn(u64) -> bool) -> bool {
        let why = match self.keep(all, has_room) {
            Ok(true) => return true,
            Ok(false) => "too little room is left on the disk".to_owned(),
            Err(error) => chain(&error),
        };
        tracing::warn!(
            why,
            "what configurators wrote is not kept; one that fails at the next start will keep the master from starting"
        );
        false
    }

    fn write(&self, Answered { question, text }: &Answered) -> io::Result<()> {
        let unfinished = self.0.join(format!("{question}.new"));
        let written = File::create(&unfinished).and_then(|mut file| {
            file.write_all(format!("{HEAD}{}\n{text}", Digest::of(text.as_bytes())).as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, self.path(question))
        });
        if written.is_err() {
            // On a full disk it would take what little there is. Already failing; a later start removes it.
            drop(fs::remove_file(&unfinished));
        }
        written
    }

    /// Removes all but these, and what a write left that did not end.
    pub fn forget_others(&self, all: &[Answered]) {
        let kept: BTreeSet<PathBuf> = all.iter().map(|answered| self.path(&answered.question)).collect();
        let forget = || -> io::Result<()> {
            for entry in fs::read_dir(&self.0)? {
                let path = entry?.path();
                if !kept.contains(&path) {
                    fs::remove_file(path)?;
                }
            }
            Ok(())
        };
        match forget() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(folder = %self.0.display(), %error, "what configurators wrote once stays behind");
            }
        }
    }

    fn path(&self, question: &Digest) -> PathBuf {
        self.0.join(question.to_string())
    }
}

/// The answer in a file, if it is whole.
fn parse(file: &str) -> Option<&str> {
    let (hash, text) = file.strip_prefix(HEAD)?.split_once('\n')?;
    (Digest::of(text.as_bytes()).to_string() == hash).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(args: &str, text: &str) -> Answered {
        Answered { question: question(&Digest::of(b"component"), "make", args), text: text.to_owned() }
    }

    #[test]
    fn what_is_written_now_counts_and_what_was_written_before_stands_in_for_nothing() {
        let before = || Some("before".to_owned());
        assert_eq!(decide(Ok("now".to_owned()), || panic!("nobody asks")), Ok("now".to_owned().into()));
        let stands_in = Answer { text: "before".to_owned(), fault: Some("it trapped".to_owned()) };
        assert_eq!(decide(Err("it trapped".to_owned()), before), Ok(stands_in));
        assert_eq!(decide(Err("it trapped".to_owned()), || None), Err("it trapped".to_owned()));
    }

    #[test]
    fn a_question_is_the_component_the_hook_and_the_arguments() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let all = [
            question(&a, "make", "{}"),
            question(&b, "make", "{}"),
            question(&a, "mak", "e{}"),
            question(&a, "make", "{\"x\":1}"),
        ];
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert_eq!(question(&a, "make", "{}"), all[0]);
    }

    #[test]
    fn answers_are_kept_until_others_take_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let answers = Answers::of(folder.path());
        let (one, two) = (answered("1", "[locks]\n"), answered("2", ""));
        assert_eq!(answers.last(&one.question), None);
        answers.forget_others(&[]);
        answers.keep(&[one.clone(), two.clone()], |_| true).unwrap();
        assert_eq!(answers.last(&one.question).as_deref(), Some("[locks]\n"));
        assert_eq!(answers.last(&two.question).as_deref(), Some(""));
        // What a killed master left of a write is no answer.
        fs::write(folder.path().join(format!("configurators/{}.new", one.question)), "half").unwrap();
        answers.forget_others(std::slice::from_ref(&two));
        assert_eq!(answers.last(&one.question), None);
        assert_eq!(answers.last(&two.question).as_deref(), Some(""));
        assert_eq!(fs::read_dir(folder.path().join("configurators")).unwrap().count(), 1);
    }

    /// Symptom: what configurators wrote took what was left of a disk for the master's own rows. Cause: it was kept without a
    /// look at the reserve. Cure: it is kept where there is room for it, and lost to nobody but a start at which one fails.
    #[test]
    fn answers_for_which_there_is_no_room_are_not_kept_and_those_that_are_stay() {
        let folder = tempfile::tempdir().unwrap();
        let answers = Answers::of(folder.path());
        let (old, new) = (answered("1", "[locks]\n"), answered("2", &"#".repeat(1_000)));
        answers.keep(std::slice::from_ref(&old), |_| true).unwrap();
        let both = [old.clone(), new.clone()];
        assert!(!answers.keep(&both, |bytes| !(1_000..1_200).contains(&bytes)).unwrap());
        assert_eq!(answers.last(&old.question).as_deref(), Some("[locks]\n"));
        assert_eq!(answers.last(&new.question), None);
        assert!(answers.keep(&both, |bytes| bytes < 1_200).unwrap());
        assert_eq!(answers.last(&new.question), Some(new.text));
        assert!(answers.keep(&both, |_| panic!("nothing is new")).unwrap());
    }

    #[test]
    fn a_damaged_answer_is_none_and_is_mended_when_it_is_kept_again() {
        let folder = tempfile::tempdir().unwrap();
        let answers = Answers::of(folder.path());
        let one = answered("1", "[locks]\n");
        answers.keep(std::slice::from_ref(&one), |_| true).unwrap();
        let path = answers.path(&one.question);
        let whole = fs::read_to_string(&path).unwrap();
        for damaged in [whole.replace("locks", "lokks"), whole[..20].to_owned(), String::new()] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(answers.last(&one.question), None);
        }
        answers.keep(std::slice::from_ref(&one), |_| true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    }
}
