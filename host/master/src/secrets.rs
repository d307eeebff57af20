//! Where the values of secrets are: looked for when a configuration is checked, read when a build sends a
//! command, and held by that build alone, until it ends.

mod command;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use windlass_config::config::{self, Secret, SecretSource};
use windlass_config::{Severity, Unusable};
use windlass_core::persist::Persist;
use windlass_core::secret::{MAX_VALUE, MIN_VALUE, Placeholders, Seal};
use windlass_core::value::Failure;
use windlass_protocol::message::{self, SecretValue};
use windlass_runtime::files;
use windlass_runtime::registry::Resolved;
use windlass_store::Store;

use crate::start::{StartError, blocking};

/// A secret whose value is there and can be used; its path begins in the directory of `file`, the configuration's. What this
/// process cannot know, where it is not the master (`is_master`), is no error.
pub(crate) fn look(mut secret: Secret, file: &Path, is_master: bool) -> Result<Secret, Unusable> {
    if let SecretSource::File(path) = &mut secret.source {
        *path = file.parent().unwrap_or(file).join(&*path);
    }
    if let (SecretSource::Command { .. }, false) = (&secret.source, is_master) {
        // It would run as whoever looks at the file, and may ask them something.
        return Ok(secret);
    }
    match value(&secret, false) {
        Ok(_) => Ok(secret),
        Err(problem) => {
            let foreign = matches!(problem, Problem::Unset { .. }) && !is_master;
            let severity = if foreign { Severity::Warning } else { Severity::Error };
            Err(Unusable { message: problem.to_string(), help: problem.help(), severity })
        }
    }
}

/// Why a secret has no value. Reads after "the secret `x`"; never holds a part of the value.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("cannot be read from `{path}`: {error}")]
    Unreadable { path: String, error: std::io::Error },
    #[error("may be read by others than its owner: `{path}` has mode {mode:03o}")]
    Exposed { path: String, mode: u32 },
    #[error("is not set: there is no variable `{name}`")]
    Unset { name: String },
    #[error("cannot be had: {0}")]
    Command(#[from] command::Failed),
    #[error("is too short: a value has at least {MIN_VALUE} bytes")]
    Short,
    #[error("is too long: a value has at most {MAX_VALUE} bytes")]
    Long,
}

impl Problem {
    fn help(&self) -> String {
        match self {
            Problem::Unreadable { .. } => "write the value into that file, with mode 600".to_owned(),
            Problem::Exposed { path, .. } => format!("run `chmod 600 {path}`"),
            Problem::Unset { name } => format!("start the master with `{name}` in its environment"),
            Problem::Command(_) => {
                "run it by hand, as the user of the master and without input: it must print the value and nothing else".to_owned()
            }
            Problem::Short => {
                "it would be masked wherever its few letters stand in a log, and be guessed by that"
                    .to_owned()
            }
            Problem::Long => "hand large files to a worker in another way".to_owned(),
        }
    }
}

/// `stands`: a failure of a little while ago will do.
fn value(secret: &Secret, stands: bool) -> Result<Vec<u8>, Problem> {
    let mut value = match &secret.source {
        SecretSource::File(path) => from_file(path)?,
        SecretSource::Env(name) => match std::env::var_os(name) {
            Some(value) => value.into_encoded_bytes(),
            None => return Err(Problem::Unset { name: name.clone() }),
        },
        SecretSource::Command { argv, timeout_ms } => {
            command::value(argv, Duration::from_millis(*timeout_ms), stands)?
        }
    };
    if secret.strip {
        let end = value.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
        value.truncate(end);
    }
    match value.len() {
        ..MIN_VALUE => Err(Problem::Short),
        MIN_VALUE..=MAX_VALUE => Ok(value),
        _ => Err(Problem::Long),
    }
}

/// The mode is that of the very file that is read.
fn from_file(path: &Path) -> Result<Vec<u8>, Problem> {
    let shown = || path.display().to_string();
    let unreadable = |error| Problem::Unreadable { path: shown(), error };
    let file = files::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Problem::Exposed { path: shown(), mode });
    }
    let mut value = Vec::new();
    // With room for an end of line, and for one byte that shows that it is too long.
    file.take(MAX_VALUE as u64 + 3).read_to_end(&mut value).map_err(unreadable)?;
    Ok(value)
}

/// Reads the value of a secret for a build.
fn read(sources: &BTreeMap<String, Secret>, name: &str) -> Result<SecretValue, Failure> {
    let Some(secret) = sources.get(name) else {
        return Err(Failure::new("not-found", format!("there is no secret `{name}` in the configuration")));
    };
    value(secret, true).map(|value| SecretValue(value.into())).map_err(|problem| {
        let mut failure = Failure::new("io", format!("the secret `{name}` {problem}"));
        failure.detail = Some(problem.help());
        failure
    })
}

/// Where the key of this master's placeholders lies among the small states.
const SEAL_OWNER: &str = "master";
const SEAL: &str = "seal-of-secrets";

/// Whether a row of the store is to be shown to nobody. Its key is what the store writes, of which there is one for each row:
/// what was typed may be written in many ways.
pub(crate) fn is_secret_row(table: &str, key: &str) -> bool {
    table == "state" && key.split_once(',') == Some((SEAL_OWNER, SEAL))
}

/// The key of this master's placeholders: made once, so that what was rendered before a restart still
/// stands for the same after it.
pub(crate) async fn seal(store: &Store) -> Result<Seal, StartError> {
    let kept = store.state(SEAL_OWNER, SEAL)?.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    if let Some(kept) = kept {
        return Ok(Seal::new(kept));
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).expect("the system has random numbers");
    let (owner, key) = (SEAL_OWNER.to_owned(), SEAL.to_owned());
    store.commit(vec![Persist::PutState { owner, key, value: Some(random.to_vec()) }]).await?;
    Ok(Seal::new(random))
}

/// The variables that hold secrets, or held some under an earlier configuration. There is one such list
/// in a process because there is one environment.
static HIDDEN: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());

/// From now on no child of the master gets the variables that hold secrets.
pub(crate) fn hide(secrets: &BTreeMap<String, Secret>) {
    let names = secrets.values().filter_map(|secret| match &secret.source {
        SecretSource::Env(name) => Some(name.clone()),
        SecretSource::File(_) | SecretSource::Command { .. } => None,
    });
    HIDDEN.write().expect("no holder of this lock panics").extend(names);
}

/// Takes them out of what a child is about to get, and the mark that this master may have itself.
pub(crate) fn take_out(child: &mut std::process::Command) {
    child.env_remove(crate::orphans::MARK);
    for name in HIDDEN.read().expect("no holder of this lock panics").iter() {
        child.env_remove(name);
    }
}

/// The most bytes of a builder's secrets in all: they travel with each of its commands, and its workers look
/// for all of them in all output.
pub(crate) const MAX_VALUES: usize = 1024 * 1024;

/// The most bytes of all values that a build read before the newest ones: they travel along to be masked.
pub(crate) const MAX_FORMER: usize = MAX_VALUES;

/// How many builds may wait for programs that print secrets at once: each takes a thread, and others need some.
const AT_ONCE: usize = 32;
static ASKING: Semaphore = Semaphore::const_new(AT_ONCE);

/// How many values of one secret a build remembers beside the newest one.
const FORMER: usize = 4;

/// The secrets of one build.
#[derive(Debug)]
pub(crate) struct BuildSecrets {
    /// Of those that its builder lists.
    pub placeholders: Placeholders,
    values: Mutex<Values>,
}

/// What a build has read.
#[derive(Debug, Default)]
struct Values {
    /// By name.
    newest: BTreeMap<String, SecretValue>,
    /// What was replaced meanwhile still lies in files and logs that the build wrote: by name, what was replaced last
    /// comes first.
    former: VecDeque<(String, SecretValue)>,
}

impl Values {
    /// Takes over what was read now. Of the former values the oldest go where there are too many.
    fn renew(&mut self, read: BTreeMap<String, SecretValue>) {
        for (name, value) in read {
            // One that is back is no former one any more.
            self.former.retain(|(of, former)| *of != name || *former != value);
            if let Some(old) = self.newest.insert(name.clone(), value.clone())
                && old != value
            {
                self.former.push_front((name, old));
            }
        }
        let (mut bytes, mut counts) = (0, BTreeMap::<String, usize>::new());
        self.former.retain(|(name, value)| {
            let count = counts.entry(name.clone()).or_default();
            let keep = *count < FORMER && bytes + value.0.len() <= MAX_FORMER;
            if keep {
                (bytes, *count) = (bytes + value.0.len(), *count + 1);
            } else {
                tracing::warn!(
                    secret = name,
                    "it was replaced too often: its oldest value is not masked any more"
                );
            }
            keep
        });
    }

    fn former_of(&self, name: &str) -> Vec<SecretValue> {
        self.former.iter().filter(|(of, _)| of == name).map(|(_, value)| value.clone()).collect()
    }
}

impl BuildSecrets {
    pub fn new(placeholders: Placeholders) -> BuildSecrets {
        BuildSecrets { placeholders, values: Mutex::default() }
    }

    /// What travels beside every command of the build: all secrets of its builder, since any output may hold
    /// any of them, in a file that an earlier build left or from a command that runs beside it. Which of
    /// them the command may use is the worker's to say, from the grants that travel with it.
    pub async fn beside(
        self: &Arc<Self>,
        config: &Arc<config::Master>,
    ) -> Result<Vec<message::Secret>, Failure> {
        if self.placeholders.iter().next().is_none() {
            return Ok(Vec::new());
        }
        let is_command = |(name, _): (&str, &str)| {
            let source = config.secrets.get(name).map(|secret| &secret.source);
            matches!(source, Some(SecretSource::Command { .. }))
        };
        // Nobody closes it.
        let _asks = match self.placeholders.iter().any(is_command) {
            true => ASKING.acquire().await.ok(),
            false => None,
        };
        let (secrets, config) = (Arc::clone(self), Arc::clone(config));
        blocking(move || secrets.read(&config.secrets)).await
    }

    /// One that the build never read and cannot read fails the command, whether it needs it or not: it could
    /// not be masked. What is wrong with a value that replaces another fails nothing: the build goes on with what it
    /// read last.
    fn read(&self, sources: &BTreeMap<String, Secret>) -> Result<Vec<message::Secret>, Failure> {
        let mut values = self.values.lock().expect("no holder of this lock panics");
        let mut found = BTreeMap::new();
        for (name, _) in self.placeholders.iter() {
            let value = match (read(sources, name), values.newest.get(name)) {
                (Ok(value), _) => value,
                (Err(failure), None) => return Err(failure),
                (Err(failure), Some(last)) => {
                    tracing::warn!(%failure, "a build goes on with the value that it read last");
                    last.clone()
                }
            };
            found.insert(name.to_owned(), value);
        }
        let bytes: usize = found.values().map(|value| value.0.len()).sum();
        if bytes <= MAX_VALUES {
            values.renew(found);
        } else {
            let message = format!("the secrets of a builder may have {MAX_VALUES} bytes in all, not {bytes}");
            if values.newest.is_empty() {
                return Err(Failure::new("too-large", message));
            }
            tracing::warn!(message, "a build goes on with the values that it read last");
        }
        let secret = |(name, placeholder): (&str, &str)| message::Secret {
            name: name.to_owned(),
            placeholder: placeholder.to_owned(),
            value: values.newest[name].clone(),
            former: values.former_of(name),
        };
        let secrets = self.placeholders.iter().map(secret).collect();
        Ok(secrets)
    }
}

/// What a component may do with secrets, as far as the master decides it.
struct Rights<'a> {
    component: &'a Resolved,
    granted: Option<&'a Vec<String>>,
}

impl<'a> Rights<'a> {
    fn of(component: &'a Resolved, config: &'a config::Master) -> Rights<'a> {
        let granted = config.grants.get(&component.qualified()).and_then(|grants| grants.get("secret"));
        Rights { component, granted }
    }

    /// Whether the plugin asks for a secret, and the configuration grants it.
    fn cover(&self, name: &str) -> bool {
        self.is_asked(name) && self.granted.is_some_and(|scope| covers(scope, name))
    }

    fn is_asked(&self, name: &str) -> bool {
        let mut asked = self.component.plugin.capabilities.iter();
        asked.any(|asked| asked.capability == "secret" && covers(&asked.scope, name))
    }
}

fn covers(scope: &[String], name: &str) -> bool {
    scope.iter().any(|granted| granted == "*" || granted == name)
}

/// What a step may name in templates of its own. What the configuration writes into its arguments is
/// the operator's word already.
pub(crate) struct OwnTemplates {
    hook: String,
    is_asked: bool,
    allowed: Placeholders,
}

impl OwnTemplates {
    pub fn of(component: &Resolved, config: &config::Master, listed: &Placeholders) -> OwnTemplates {
        let rights = Rights::of(component, config);
        OwnTemplates {
            hook: component.qualified(),
            is_asked: component.plugin.capabilities.iter().any(|asked| asked.capability == "secret"),
            allowed: listed.only(|name| rights.cover(name)),
        }
    }

    /// What they may become.
    pub fn allowed(&self) -> &Placeholders {
        &self.allowed
    }

    /// Why a name is refused, that `listed` by the builder may be or not.
    pub fn denied(&self, call: &str, name: &str, listed: &Placeholders) -> Failure {
        let hook = &self.hook;
        let (why, cure) = if listed.get(name).is_none() {
            ("its builder does not list it", "add it to `secrets` of the builder in master.toml".to_owned())
        } else if !self.is_asked {
            (
                "the plugin does not ask for it",
                format!("its `describe` must ask for `secret` with `{name}` in the scope"),
            )
        } else {
            (
                "the master does not grant it",
                format!("add `secret = [\"{name}\"]` to [grants.\"{hook}\"] in master.toml"),
            )
        };
        let message = format!("`{hook}` may not use the secret `{name}` in `{call}`: {why}");
        Failure { detail: Some(cure), ..Failure::new("denied", message) }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::id::BuildId;
    use windlass_store::RawRow;

    use super::*;

    fn in_file(text: &[u8], mode: u32, strip: bool) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let secret = Secret { source: SecretSource::File(path.clone()), strip };
        value(&secret, true)
            .map_err(|problem| problem.to_string().replace(&path.display().to_string(), "FILE"))
    }

    #[test]
    fn a_value_is_what_stands_in_its_file_without_the_last_ends_of_line() {
        assert_eq!(in_file(b"hunter2\r\n\n", 0o600, true).unwrap(), b"hunter2");
        assert_eq!(in_file(b"hun\nter2\n", 0o400, false).unwrap(), b"hun\nter2\n");
        assert_eq!(in_file(&[0xff, 0, 1, 2], 0o600, true).unwrap(), [0xff, 0, 1, 2]);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o777] {
            let said = in_file(b"hunter2", mode, true).unwrap_err();
            assert_eq!(said, format!("may be read by others than its owner: `FILE` has mode {mode:03o}"));
        }
    }

    #[test]
    fn values_have_bounds_and_are_in_no_message() {
        assert_eq!(in_file(b"abc\n", 0o600, true).unwrap_err(), "is too short: a value has at least 4 bytes");
        assert!(in_file(&[b'x'; MAX_VALUE], 0o600, true).is_ok());
        let said = in_file(&[b'x'; MAX_VALUE + 1], 0o600, true).unwrap_err();
        assert_eq!(said, "is too long: a value has at most 32768 bytes");
    }

    /// Two secrets in files of a folder, and a build that may use them.
    fn build() -> (tempfile::TempDir, BTreeMap<String, Secret>, BuildSecrets) {
        let folder = tempfile::tempdir().unwrap();
        let names = ["login", "token"].map(str::to_owned);
        let source =
            |name: &String| Secret { source: SecretSource::File(folder.path().join(name)), strip: true };
        let sources = names.iter().map(|name| (name.clone(), source(name))).collect();
        for name in &names {
            write(&folder, name, name.as_bytes());
        }
        let placeholders = Placeholders::new(&Seal::new([7; 32]), BuildId(1), &names);
        (folder, sources, BuildSecrets::new(placeholders))
    }

    fn write(folder: &tempfile::TempDir, name: &str, value: &[u8]) {
        let path = folder.path().join(name);
        std::fs::write(&path, value).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn a_build_sends_all_its_secrets_and_remembers_values_that_were_replaced() {
        let (folder, sources, build) = build();
        let sent = || {
            let texts = |value: &SecretValue| String::from_utf8(value.0.to_vec()).unwrap();
            let all = build.read(&sources).unwrap();
            let one = |s: &message::Secret| (texts(&s.value), s.former.iter().map(texts).collect::<Vec<_>>());
            all.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(sent(), [("login".to_owned(), vec![]), ("token".to_owned(), vec![])]);
        write(&folder, "token", b"other");
        assert_eq!(sent()[1], ("other".to_owned(), vec!["token".to_owned()]));
        // What was read once can be masked, whatever became of its file.
        std::fs::remove_file(folder.path().join("token")).unwrap();
        assert_eq!(sent()[1], ("other".to_owned(), vec!["token".to_owned()]));
        for value in ["v1xx", "v2xx", "token", "v3xx", "v4xx", "v5xx"] {
            write(&folder, "token", value.as_bytes());
            sent();
        }
        assert_eq!(
            sent()[1],
            ("v5xx".to_owned(), ["v4xx", "v3xx", "token", "v2xx"].map(str::to_owned).to_vec())
        );
    }

    /// Symptom: a build whose secrets were replaced while it ran could run no command any more. Cause: values that
    /// were replaced counted to what a builder's secrets may have in all. Cure: they have a bound of their own, at
    /// which the oldest go, and new values that are too large are left for the next build.
    #[test]
    fn secrets_that_are_replaced_while_a_build_runs_fail_none_of_its_commands() {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..32).map(|n| format!("n{n:02}")).collect();
        let source =
            |name: &String| Secret { source: SecretSource::File(folder.path().join(name)), strip: true };
        let sources = names.iter().map(|name| (name.clone(), source(name))).collect();
        let build = BuildSecrets::new(Placeholders::new(&Seal::new([7; 32]), BuildId(1), &names));
        for round in 0..4 {
            for name in &names {
                write(&folder, name, &[b'a' + round; MAX_VALUE]);
            }
            let sent = build.read(&sources).unwrap();
            assert!(sent.iter().all(|secret| secret.value.0[0] == b'a' + round));
            let former = || sent.iter().flat_map(|secret| &secret.former);
            assert!(former().map(|value| value.0.len()).sum::<usize>() <= MAX_FORMER);
            assert_eq!(former().count(), if round == 0 { 0 } else { 32 }, "the newest of them are kept");
            assert!(former().all(|value| value.0[0] == b'a' + round - 1));
        }
    }

    #[test]
    fn what_could_not_be_masked_or_sent_fails_the_command() {
        let (folder, mut sources, build) = build();
        std::fs::remove_file(folder.path().join("token")).unwrap();
        assert_eq!(build.read(&sources).unwrap_err().code, "io");
        let names: Vec<String> = (0..33).map(|n| format!("n{n}")).collect();
        for name in &names {
            write(&folder, name, &[b'x'; MAX_VALUE]);
            let source = SecretSource::File(folder.path().join(name));
            sources.insert(name.clone(), Secret { source, strip: true });
        }
        let grown = BuildSecrets::new(Placeholders::new(&Seal::new([7; 32]), BuildId(1), &names));
        write(&folder, "n0", b"small");
        write(&folder, "n32", b"less");
        assert_eq!(grown.read(&sources).unwrap().len(), 33);
        write(&folder, "n0", &[b'x'; MAX_VALUE]);
        let went_on = grown.read(&sources).unwrap();
        assert_eq!((went_on.len(), &went_on[0].value.0[..]), (33, &b"small"[..]));
        let of = |names| BuildSecrets::new(Placeholders::new(&Seal::new([7; 32]), BuildId(1), names));
        assert_eq!(of(&names[1..]).read(&sources).unwrap().len(), 32);
        assert_eq!(of(&names).read(&sources).unwrap_err().code, "too-large");
    }

    #[test]
    fn no_child_gets_a_variable_that_holds_a_secret_or_the_mark_of_a_program() {
        let secret = Secret { source: SecretSource::Env("WINDLASS_TEST_HIDDEN".into()), strip: true };
        hide(&BTreeMap::from([("key".to_owned(), secret)]));
        let mut child = std::process::Command::new("true");
        take_out(&mut child);
        // Nor one that prints a secret: it lives on if this master is killed and another one starts.
        for child in [child, command::program(&["true".to_owned()])] {
            for hidden in ["WINDLASS_TEST_HIDDEN", crate::orphans::MARK] {
                assert!(child.get_envs().any(|(name, value)| name == hidden && value.is_none()), "{hidden}");
            }
        }
    }

    #[tokio::test]
    async fn the_row_of_the_seal_is_a_secret_however_its_key_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), windlass_store::Options::default()).unwrap();
        seal(&store).await.unwrap();
        let put = |owner: &str, key: &str| {
            let (owner, key) = (owner.to_owned(), key.to_owned());
            Persist::PutState { owner, key, value: Some(Vec::new()) }
        };
        store.commit(vec![put("master", "x"), put(" master", SEAL), put("master,seal", SEAL)]).await.unwrap();
        let is_secret = |asked: &str| match store.raw("state", asked).unwrap() {
            RawRow::Bytes { key, .. } => is_secret_row("state", &key),
            other => panic!("{asked}: {other:?}"),
        };
        for asked in [
            "master,seal-of-secrets",
            " master\t, seal-of-secrets\u{a0}\n",
            "%6daster,seal%2dof%2Dsecrets",
            "%6D%61%73%74%65%72,%73eal-of-secrets",
        ] {
            assert!(is_secret(asked), "{asked}");
        }
        for asked in ["master,x", "%20master,seal-of-secrets", "master%2cseal,seal-of-secrets"] {
            assert!(!is_secret(asked), "{asked}");
        }
    }

    #[test]
    fn what_is_not_there_is_said_with_what_to_do() {
        let look = |source, is_master| {
            let file = Path::new("/nowhere/master.toml");
            look(Secret { source, strip: true }, file, is_master).unwrap_err()
        };
        let missing = look(SecretSource::File("key".into()), false);
        assert_eq!(missing.severity, Severity::Error);
        assert!(missing.message.contains("`/nowhere/key`"), "{}", missing.message);
        let unset = |is_master| look(SecretSource::Env("WINDLASS_TEST_UNSET".into()), is_master);
        assert_eq!(unset(true).severity, Severity::Error);
        // Another process may well have it.
        assert_eq!(unset(false).severity, Severity::Warning);
        assert!(unset(true).help.contains("WINDLASS_TEST_UNSET"));
    }
}
