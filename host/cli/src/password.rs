//! `password`, and how a password is asked for: of a terminal that shows nothing, or from a file.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anstream::println;
use anyhow::Context as _;
use rustix::fs::OFlags;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::exit::{Exit, Failed};
use crate::query::print_json;

/// The most bytes of one.
const MOST: u64 = 1_024;

/// The fewest characters of a new one.
const FEWEST: usize = 8;

/// What the terminal sends for Control-C.
const INTERRUPT: char = '\u{3}';

/// `windlass password`.
pub fn make(file: Option<&Path>, json: bool) -> Result<Exit, Failed> {
    let password = match file {
        Some(file) => read(file)?,
        None => {
            let password = ask("new password: ")?;
            if ask("once more: ")? != password {
                return Err(refused("the two are not the same"));
            }
            password
        }
    };
    if password.chars().count() < FEWEST {
        return Err(refused(&format!("a password has {FEWEST} characters at the least")));
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|e| anyhow::anyhow!("the system gives no random bytes: {e}"))?;
    let password_hash = windlass_config::hash_password(&password, &salt);
    if json {
        print_json(&serde_json::json!({ "password_hash": password_hash }));
    } else {
        println!("password_hash = \"{password_hash}\"");
    }
    Ok(Exit::Success)
}

/// The password: from a file, or asked for.
pub fn get(file: Option<&Path>) -> Result<String, Failed> {
    match file {
        Some(file) => read(file),
        None => ask("password: "),
    }
}

/// The first line of a file that only its owner may read.
fn read(path: &Path) -> Result<String, Failed> {
    let shown = path.display();
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = File::options();
    let file = options.read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = file.with_context(|| format!("failed to read the password from `{shown}`"))?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(refused(&format!("`{shown}` is no regular file")));
    }
    if found.permissions().mode() & 0o077 != 0 {
        return Err(refused(&format!("`{shown}` can be read by others; `chmod 600 {shown}` mends that")));
    }
    let mut text = String::new();
    file.take(MOST + 2).read_to_string(&mut text).with_context(|| format!("failed to read `{shown}`"))?;
    checked(text.lines().next().unwrap_or_default())
}

/// Asks the terminal, which does not show what is typed.
fn ask(prompt: &str) -> Result<String, Failed> {
    let terminal = File::options().read(true).write(true).open("/dev/tty");
    let terminal = terminal.context(
        "there is no terminal to ask for the password; `--password-file FILE` names a file with it",
    )?;
    let quiet = Quiet::begin(&terminal).context("the terminal cannot be told not to show what is typed")?;
    (&terminal).write_all(prompt.as_bytes())?;
    let mut line = String::new();
    let read = BufReader::new((&terminal).take(MOST + 2)).read_line(&mut line);
    drop(quiet);
    (&terminal).write_all(b"\n")?;
    read.context("failed to read the password")?;
    checked(line.trim_end_matches(['\n', '\r']))
}

fn checked(password: &str) -> Result<String, Failed> {
    match password {
        "" => Err(refused("the password is empty")),
        long if long.len() as u64 > MOST => Err(refused(&format!("a password has {MOST} bytes at the most"))),
        interrupted if interrupted.contains(INTERRUPT) => Err(refused("interrupted")),
        password => Ok(password.to_owned()),
    }
}

fn refused(why: &str) -> Failed {
    Failed { exit: Exit::Refused, error: anyhow::Error::msg(why.to_owned()) }
}

/// A terminal that shows nothing, and sends Control-C as a letter so that nobody leaves it like that.
struct Quiet<'t> {
    terminal: &'t File,
    before: Termios,
}

impl Quiet<'_> {
    fn begin(terminal: &File) -> std::io::Result<Quiet<'_>> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Quiet { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        tcsetattr(self.terminal, OptionalActions::Flush, &self.before).ok();
    }
}
