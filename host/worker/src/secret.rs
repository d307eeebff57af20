//! The secrets of one command: put into a process at its start, taken out of whatever comes back.
//!
//! A value goes into values of environment variables and into standard input, where no other process
//! finds it by looking at a command line. A placeholder anywhere else is refused: what came of it would be
//! a surprise for whoever wrote it. Whether the command may use a secret at all is asked here, at the put;
//! all of them are masked.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::sync::{Arc, Weak};

use aho_corasick::AhoCorasick;
use windlass_core::value::{Completion, Failure, Pair, Value};
use windlass_protocol::message::Secret;
use windlass_runtime::port::SpawnOptions;

use crate::child::Plan;
use crate::environment::MAX_VARIABLES;
use crate::grant::Grants;
use crate::mask::Mask;

/// The most bytes of the input of a child with its secrets.
const MAX_INPUT: usize = 1024 * 1024;

/// The secrets of commands that run. Those of one build have the same ones, and share what finds them.
#[derive(Debug, Default)]
pub struct Known(Vec<Weak<Secrets>>);

impl Known {
    /// What came with a command; none: it came without.
    pub fn take(&mut self, list: Vec<Secret>) -> Result<Option<Arc<Secrets>>, Failure> {
        self.0.retain(|known| known.strong_count() > 0);
        if let Some(known) = self.0.iter().filter_map(Weak::upgrade).find(|known| known.list == list) {
            return Ok(Some(known));
        }
        let secrets = Secrets::new(list)?;
        self.0.extend(secrets.iter().map(Arc::downgrade));
        Ok(secrets)
    }
}

/// The secrets of one command that has some.
#[derive(Debug)]
pub struct Secrets {
    list: Vec<Secret>,
    /// Finds their placeholders, in the order of the list.
    search: AhoCorasick,
    mask: Arc<Mask>,
}

impl Secrets {
    /// What came with the command; none: it came without. One without a placeholder could be put nowhere and refused
    /// nowhere: the command that it came with does not run.
    pub fn new(list: Vec<Secret>) -> Result<Option<Arc<Secrets>>, Failure> {
        if let Some(secret) = list.iter().find(|secret| secret.placeholder.is_empty()) {
            let message = format!("the master sent the secret `{}` without a placeholder", secret.name);
            return Err(Failure::new("bad-argument", message));
        }
        if list.is_empty() {
            return Ok(None);
        }
        let values = list.iter().flat_map(|secret| {
            let values = std::iter::once(&secret.value).chain(&secret.former);
            values.map(|value| (secret.name.as_str(), value.0.as_ref()))
        });
        // Placeholders differ from build to build; a log shall not.
        let texts = list.iter().map(|secret| (secret.name.as_str(), secret.placeholder.as_str()));
        let mask = Mask::new(values, texts);
        let placeholders = list.iter().map(|secret| &secret.placeholder);
        let search = AhoCorasick::new(placeholders).expect("placeholders are few and short");
        Ok(Some(Arc::new(Secrets { mask: Arc::new(mask), search, list })))
    }

    /// Takes them out of output.
    pub fn mask(&self) -> &Arc<Mask> {
        &self.mask
    }

    /// Whether a placeholder stands in this.
    pub fn occur_in(&self, bytes: &[u8]) -> bool {
        self.named_in(bytes).is_some()
    }

    /// The first secret whose placeholder stands in this.
    fn named_in(&self, bytes: &[u8]) -> Option<&Secret> {
        self.search.find(bytes).map(|found| &self.list[found.pattern().as_usize()])
    }

    /// Refuses a placeholder in what is about to be written into a file.
    pub fn refuse_content(&self, data: &[u8]) -> Result<(), Failure> {
        self.refuse(data, || "the content of a file".to_owned())
    }

    /// Refuses placeholders wherever a value must not go.
    pub fn refuse_misplaced(&self, options: &SpawnOptions) -> Result<(), Failure> {
        let SpawnOptions { argv, workdir, env, tee_to_log, options, .. } = options;
        let program = argv.first().map_or("", String::as_str);
        for argument in argv {
            self.refuse(argument.as_bytes(), || format!("an argument of `{program}`"))?;
        }
        self.refuse(workdir.as_bytes(), || "a path".to_owned())?;
        self.refuse(tee_to_log.as_deref().unwrap_or_default().as_bytes(), || "the name of a log".to_owned())?;
        for (name, _) in env {
            self.refuse(name.as_bytes(), || "the name of a variable".to_owned())?;
        }
        for Pair { name, value } in options {
            self.refuse(value.to_text().as_bytes(), || format!("the option `{name}`"))?;
        }
        Ok(())
    }

    fn refuse(&self, text: &[u8], place: impl Fn() -> String) -> Result<(), Failure> {
        let Some(secret) = self.named_in(text) else { return Ok(()) };
        let (name, place) = (&secret.name, place());
        let message = format!("the secret `{name}` stands in {place}, where others could read it");
        let mut failure = Failure::new("bad-argument", self.mask.text(&message));
        failure.detail = Some(format!(
            "put it into the environment, like `env = {{ TOKEN = \"%(secret:{name})s\" }}`, and write \"$TOKEN\" \
             in the text of a shell; or into the input"
        ));
        Err(failure)
    }

    /// Puts values into the environment and the input of a child, as far as the command may use them.
    pub fn put_into(&self, plan: &mut Plan, grants: &Grants) -> Result<(), Failure> {
        let mut room = MAX_VARIABLES;
        for (name, value) in &mut plan.variables {
            if self.named_in(value.as_bytes()).is_none() {
                continue;
            }
            let put = self.put(value.as_bytes(), grants, room)?;
            room -= put.len();
            if put.contains(&0) {
                let message = format!("a secret in the variable `{}` contains a NUL", name.display());
                return Err(Failure::new("bad-argument", message));
            }
            *value = std::ffi::OsString::from_vec(put);
        }
        if let Some(input) = &mut plan.input
            && self.occur_in(input)
        {
            *input = self.put(input, grants, MAX_INPUT)?;
        }
        Ok(())
    }

    /// A text with the values of its placeholders. One that would come to more than `most` bytes is refused
    /// before it takes any memory: a text may repeat a placeholder as often as it likes.
    pub fn put(&self, text: &[u8], grants: &Grants, most: usize) -> Result<Vec<u8>, Failure> {
        let secret = |found: &aho_corasick::Match| &self.list[found.pattern().as_usize()];
        let mut len = text.len();
        for found in self.search.find_iter(text) {
            let Secret { name, value, .. } = secret(&found);
            grants.secret(name)?;
            len = len - found.len() + value.0.len();
        }
        if len > most {
            let message = format!("with its secrets this comes to {len} bytes, where {most} have room");
            return Err(Failure::new("too-large", message));
        }
        let mut out = Vec::with_capacity(len);
        let mut at = 0;
        for found in self.search.find_iter(text) {
            out.extend_from_slice(&text[at..found.start()]);
            out.extend_from_slice(&secret(&found).value.0);
            at = found.end();
        }
        out.extend_from_slice(&text[at..]);
        Ok(out)
    }

    /// A structured answer without them.
    pub fn mask_values(&self, values: Vec<Pair>) -> Vec<Pair> {
        let one = |Pair { name, value }| {
            let value = match value {
                Value::Text(text) => Value::Text(self.mask.text(&text)),
                Value::Json(text) => Value::Json(self.mask.text(&text)),
                plain @ (Value::Null | Value::Boolean(_) | Value::Integer(_) | Value::Number(_)) => plain,
            };
            Pair { name: self.mask.text(&name), value }
        };
        values.into_iter().map(one).collect()
    }

    /// The end of a command without them.
    pub fn mask_end(&self, how: Result<Completion, Failure>) -> Result<Completion, Failure> {
        match how {
            Ok(Completion { rc, values }) => Ok(Completion { rc, values: self.mask_values(values) }),
            Err(failure) => Err(self.mask_failure(failure)),
        }
    }

    /// A failure without them: it may name what a build named.
    pub fn mask_failure(&self, failure: Failure) -> Failure {
        let Failure { code, message, detail, retryable } = failure;
        Failure {
            code: self.mask.text(&code),
            message: self.mask.text(&message),
            detail: detail.map(|detail| self.mask.text(&detail)),
            retryable,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use windlass_protocol::message::SecretValue;
    use windlass_runtime::port::Delivery;

    use super::*;

    fn list() -> Vec<Secret> {
        let value = |text: &'static str| SecretValue(text.into());
        let long = SecretValue(vec![b'k'; 32 * 1024].into());
        let secret = |name: &str, value, former| Secret {
            name: name.to_owned(),
            placeholder: format!("windlass_secret_{name}"),
            value,
            former,
        };
        vec![secret("key", value("hunter2"), vec![value("hunter1")]), secret("long", long, vec![])]
    }

    fn secrets() -> Arc<Secrets> {
        Secrets::new(list()).unwrap().unwrap()
    }

    fn grants(scope: &str) -> Grants {
        let scope = vec![scope.to_owned()];
        let side = [("secret", scope.as_slice())];
        Grants::new("lint:check".into(), "1a2b3c4d".into(), side, side, &BTreeMap::new(), true)
    }

    fn options(argv: &[&str]) -> SpawnOptions {
        SpawnOptions {
            argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
            workdir: String::new(),
            env: vec![("TOKEN".into(), Some("windlass_secret_key".into()))],
            input: Some(b"windlass_secret_key".to_vec()),
            pty: false,
            max_time_ms: None,
            idle_time_ms: None,
            tee_to_log: Some("stdio".into()),
            deliver: Delivery::None,
            options: vec![],
        }
    }

    #[test]
    fn values_stand_where_their_placeholders_stood() {
        let put = |text: &str| {
            secrets().put(text.as_bytes(), &grants("*"), 100).map(|put| String::from_utf8(put).unwrap())
        };
        assert_eq!(put("a windlass_secret_key,windlass_secret_key"), Ok("a hunter2,hunter2".into()));
        assert_eq!(put("windlass_secret_other"), Ok("windlass_secret_other".into()));
        let denied = secrets().put(b"windlass_secret_key", &grants("other"), 100).unwrap_err();
        assert!(denied.message.contains("may not use the secret `key`"), "{denied}");
    }

    /// Symptom: a step filled a worker's memory. Cause: a placeholder of 48 bytes that is repeated becomes
    /// 32 KiB each time. Cure: what comes of it is counted before it is made.
    #[test]
    fn a_placeholder_that_is_repeated_fills_no_memory() {
        let repeated = |count: usize| "windlass_secret_long".repeat(count);
        let put = |count, most| secrets().put(repeated(count).as_bytes(), &grants("*"), most);
        assert_eq!(put(32, MAX_INPUT).unwrap().len(), MAX_INPUT);
        let refused = put(33, MAX_INPUT).unwrap_err();
        assert_eq!(refused.code, "too-large");
        assert!(refused.message.contains("1081344 bytes, where 1048576"), "{refused}");
        assert_eq!(put(1_000_000, MAX_INPUT).unwrap_err().code, "too-large");
    }

    #[test]
    fn values_that_were_replaced_are_masked_and_put_nowhere() {
        assert_eq!(secrets().mask().text("hunter1 hunter2"), "<key> <key>");
        assert_eq!(secrets().put(b"windlass_secret_key", &grants("*"), 100).unwrap(), b"hunter2");
    }

    #[test]
    fn commands_of_one_build_share_what_finds_their_secrets() {
        let mut known = Known::default();
        let mut take = |list| known.take(list).unwrap();
        let one = take(list()).unwrap();
        assert!(Arc::ptr_eq(&one, &take(list()).unwrap()));
        let mut other = list();
        other[0].placeholder.push('x');
        assert!(!Arc::ptr_eq(&one, &take(other).unwrap()));
        drop(one);
        assert!(take(Vec::new()).is_none());
        take(list());
        assert_eq!(known.0.len(), 1, "those of commands that have ended are forgotten");
    }

    #[test]
    fn the_environment_and_the_input_are_the_only_places() {
        let secrets = secrets();
        let refused = |options: &SpawnOptions| secrets.refuse_misplaced(options).unwrap_err().message;
        assert_eq!(secrets.refuse_misplaced(&options(&["make"])), Ok(()));
        assert_eq!(
            refused(&options(&["sh", "-c", "echo windlass_secret_key"])),
            "the secret `key` stands in an argument of `sh`, where others could read it"
        );
        let at = |change: fn(&mut SpawnOptions)| {
            let mut options = options(&["make"]);
            change(&mut options);
            refused(&options)
        };
        assert!(at(|options| options.workdir = "a/windlass_secret_key".into()).contains("a path"));
        assert!(at(|options| options.tee_to_log = Some("windlass_secret_key".into())).contains("a log"));
        assert!(at(|options| options.env.push(("windlass_secret_key".into(), None))).contains("a variable"));
        assert!(secrets.refuse_content(b"x windlass_secret_key").is_err());
    }

    #[test]
    fn answers_are_masked_in_all_their_parts() {
        let secrets = secrets();
        let pair = |name: &str, value| Pair { name: name.into(), value };
        let values = vec![
            pair("a hunter2", Value::Text("hunter2".into())),
            pair("n", Value::Integer(2)),
            pair("j", Value::Json("[\"hunter2\"]".into())),
        ];
        let expected = vec![
            pair("a <key>", Value::Text("<key>".into())),
            pair("n", Value::Integer(2)),
            pair("j", Value::Json("[\"<key>\"]".into())),
        ];
        assert_eq!(secrets.mask_values(values), expected);
        let mut failure = Failure::new("spawn-failed", "no windlass_secret_key in hunter2");
        failure.detail = Some("hunter2".into());
        let masked = secrets.mask_end(Err(failure)).unwrap_err();
        assert_eq!((masked.message.as_str(), masked.detail.as_deref()), ("no <key> in <key>", Some("<key>")));
        assert!(!format!("{secrets:?}").contains("hunter2"), "{secrets:?}");
    }

    #[test]
    fn a_command_without_secrets_pays_nothing() {
        assert!(Secrets::new(Vec::new()).unwrap().is_none());
    }

    /// Symptom: a command's secrets were neither masked nor refused. Cause: one of them came without a placeholder,
    /// and the command then counted as one without secrets. Cure: it does not run.
    #[test]
    fn a_secret_without_a_placeholder_is_refused_and_others_with_it() {
        let mut list = list();
        list[1].placeholder.clear();
        let refused = Secrets::new(list).unwrap_err();
        assert_eq!(refused.message, "the master sent the secret `long` without a placeholder");
    }
}
