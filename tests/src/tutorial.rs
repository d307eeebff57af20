//! Does what a page of `docs/` says, block by block and to the letter, in a folder of its own.
//!
//! The words after a block's fence say what it is; a reader sees none of them but the first, which is for colours:
//!
//! | fence | |
//! |---|---|
//! | `sh` | run by bash, which must succeed |
//! | `sh terminal` | run in a terminal of its own, where it stays: the master, a worker |
//! | `sh tools` | installs what a language is built with: not run, but it must be what the program advises |
//! | `sh network` | fetches from elsewhere: not run; whoever follows the page has put the same there before |
//! | `text` | what the block before printed: lines in this order among others, `…` for anything |
//! | `rust PATH` | a file to write |
//! | `rust PATH made` | a file that must be there, with exactly this text |
//! | `diff PATH` | a change to a file: lines with `-` go, lines with `+` come, others are where it happens |
//!
//! One thing differs from what stands on the page: the port, since tests run side by side.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use windlass_build::{Language, tools};

use crate::binary::windlass;
use crate::site::{eventually, free_port};

/// The port in the files that `windlass init` writes.
const PORT: &str = "127.0.0.1:9989";

/// Does what `docs/PAGE` says.
///
/// # Panics
/// If the page is wrong.
pub fn follow(page: &str, language: Language) {
    drop(follow_from(page, language, |_| {}));
}

/// Does what `docs/PAGE` says in a folder that is prepared first, and leaves everything running.
///
/// # Panics
/// If the page is wrong.
pub fn follow_from<'a>(page: &'a str, language: Language, prepare: impl FnOnce(&Path)) -> Reader<'a> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let text = std::fs::read_to_string(&path).expect("the page is there");
    let mut reader = Reader::new(page, language);
    prepare(reader.folder.path());
    let blocks = blocks(&text);
    assert!(!blocks.is_empty(), "{page} has no blocks");
    for block in blocks {
        reader.step(&block);
    }
    reader
}

/// A fenced block.
struct Block<'a> {
    /// Of the fence, counted from 1.
    line: usize,
    fence: Vec<&'a str>,
    text: String,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for (n, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(fence), None) => {
                let fence = fence.split_whitespace().collect();
                open = Some(Block { line: n + 1, fence, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// Somebody who follows the page. Whatever was started ends with them.
pub struct Reader<'a> {
    page: &'a str,
    language: Language,
    folder: tempfile::TempDir,
    listen: String,
    /// What the last `sh` block printed.
    said: String,
    terminals: Vec<Child>,
    workers: usize,
}

impl<'a> Reader<'a> {
    fn new(page: &'a str, language: Language) -> Reader<'a> {
        let folder = tempfile::Builder::new().prefix("windlass-tutorial-").tempdir().expect("a folder");
        let listen = format!("127.0.0.1:{}", free_port());
        Reader { page, language, folder, listen, said: String::new(), terminals: Vec::new(), workers: 0 }
    }

    /// A path below the folder where everything happens.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Asks the master in `ci`: what `windlass` answers, whether or not its exit code says success.
    ///
    /// # Panics
    /// If the answer is no JSON.
    #[must_use]
    pub fn ask(&self, args: &str) -> serde_json::Value {
        let asked = self.shell(&format!("windlass --dir ci {args} --json")).output().expect("bash runs");
        serde_json::from_slice(&asked.stdout)
            .unwrap_or_else(|e| panic!("windlass {args}: {e}: {asked:?}\n{}", self.daemons()))
    }

    fn step(&mut self, block: &Block<'_>) {
        let place = format!("{}:{}", self.page, block.line);
        match block.fence.as_slice() {
            ["sh"] => self.run(&place, &block.text),
            ["sh", "terminal"] => self.open(&place, &block.text),
            ["sh", "tools"] => {
                let advice = tools::install(self.language);
                assert!(advice.starts_with(block.text.trim()), "{place}: the program advises `{advice}`");
            }
            ["sh", "network"] => {}
            ["text"] => self.expect(&place, &block.text),
            ["diff", path] => self.change(&place, path, &block.text),
            [_, path] => std::fs::write(self.path(path), &block.text).expect("the folder is ours"),
            [_, path, "made"] => {
                let made =
                    std::fs::read_to_string(self.path(path)).unwrap_or_else(|e| panic!("{place}: {e}"));
                assert!(made == block.text, "{place}: `{path}` really reads\n{made}");
            }
            other => panic!("{place}: nobody knows what to do with a block {other:?}"),
        }
    }

    /// A bash in that folder, which knows `windlass`.
    #[must_use]
    pub fn shell(&self, script: &str) -> Command {
        let mut shell = Command::new("bash");
        let here = windlass().parent().expect("a program lies in a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        shell
            .args(["-e", "-c", script])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", here.display()))
            .env_remove("WINDLASS_DIR")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        if self.language == Language::Rust {
            // Shared with the other tests, and so with what was compiled already.
            shell.env("WINDLASS_TARGET_DIR", crate::fixtures::target_dir());
        }
        shell
    }

    fn run(&mut self, place: &str, script: &str) {
        let done = self.shell(&format!("{{ {script}\n}} 2>&1")).output().expect("bash runs");
        self.said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(
            done.status.success(),
            "{place}: {}\n{script}\n{}\n{}",
            done.status,
            self.said,
            self.daemons()
        );
        self.move_port();
    }

    /// In every configuration that lies here.
    fn move_port(&self) {
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("it is ours").flatten() {
                let path = entry.path();
                match entry.file_name().to_str() {
                    Some("master.toml" | "worker.toml") => {
                        let text = std::fs::read_to_string(&path).expect("it is ours");
                        if text.contains(PORT) {
                            std::fs::write(&path, text.replace(PORT, &self.listen)).expect("it is ours");
                        }
                    }
                    Some("state" | "target" | "work") | None => {}
                    Some(_) if path.is_dir() => folders.push(path),
                    Some(_) => {}
                }
            }
        }
    }

    /// Starts a daemon, and waits until it is of use, as a person does by looking.
    fn open(&mut self, place: &str, script: &str) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("daemons.log"))
            .expect("the folder is ours");
        // `exec`: the shell becomes the daemon, so that its end is the daemon's.
        let mut shell = self.shell(&format!("exec {}", script.trim()));
        let child = shell.stdout(log.try_clone().expect("a handle")).stderr(log).spawn().expect("bash runs");
        self.terminals.push(child);
        self.workers += usize::from(script.contains("windlass worker "));
        let wanted = self.workers;
        eventually(&format!("{place}: the daemon is ready"), || {
            let asked = self.shell("windlass --dir ci status --json").output().expect("bash runs");
            let status: serde_json::Value = serde_json::from_slice(&asked.stdout).ok()?;
            let workers = status["workers"].as_array()?;
            (workers.iter().filter(|worker| !worker["connected"].is_null()).count() >= wanted).then_some(())
        });
    }

    fn expect(&self, place: &str, expected: &str) {
        let mut said = self.said.lines();
        for line in expected.lines().filter(|line| line.trim() != "…") {
            let pieces: Vec<&str> =
                line.split('…').map(str::trim).filter(|piece| !piece.is_empty()).collect();
            let found = said.any(|said| {
                let rest = |rest: usize, piece: &&str| Some(rest + said[rest..].find(piece)? + piece.len());
                pieces.iter().try_fold(0, rest).is_some()
            });
            assert!(found, "{place}: no line `{line}`, in this order, in\n{}\n{}", self.said, self.daemons());
        }
    }

    fn change(&self, place: &str, path: &str, diff: &str) {
        let side = |not: char| {
            let lines = diff.lines().filter(|line| !line.starts_with(not));
            lines.map(|line| format!("{}\n", line.get(1..).unwrap_or_default())).collect::<String>()
        };
        let (old, new) = (side('+'), side('-'));
        let text =
            std::fs::read_to_string(self.path(path)).unwrap_or_else(|e| panic!("{place}: {path}: {e}"));
        assert_eq!(text.matches(&old).count(), 1, "{place}: not once in `{path}`:\n{old}\nin\n{text}");
        std::fs::write(self.path(path), text.replace(&old, &new)).expect("the folder is ours");
    }

    fn daemons(&self) -> String {
        std::fs::read_to_string(self.path("daemons.log")).unwrap_or_default()
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        for terminal in &mut self.terminals {
            terminal.kill().ok();
            terminal.wait().ok();
        }
    }
}
