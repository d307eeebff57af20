//! The secrets of one command: put into a process at its start, taken out of whatever comes back.
//!
//! A value goes into values of environment variables and into standard input, where no other process
//! finds it by looking at a command line. A placeholder anywhere else is refused: what came of it would be
//! a surprise for whoever wrote it.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use windlass_core::value::{Completion, Failure, Pair, Value};
use windlass_protocol::message::Secret;
use windlass_runtime::port::SpawnOptions;

use crate::child::Plan;
use crate::grant::Grants;
use crate::mask::Mask;

/// The secrets of one command that has some.
#[derive(Debug)]
pub struct Secrets {
    list: Vec<Secret>,
    /// Finds their placeholders, in the order of the list.
    search: AhoCorasick,
    mask: Arc<Mask>,
}

impl Secrets {
    /// What came with the command; none: it came without.
    pub fn new(list: Vec<Secret>) -> Option<Arc<Secrets>> {
        if list.is_empty() || list.iter().any(|secret| secret.placeholder.is_empty()) {
            return None;
        }
        let value = |secret: &Secret| secret.value.as_ref().map(|value| value.0.clone());
        let values: Vec<_> = list.iter().filter_map(|s| Some((s.name.as_str(), value(s)?))).collect();
        // Placeholders differ from build to build; a log shall not.
        let texts = list.iter().map(|secret| (secret.name.as_str(), secret.placeholder.as_str()));
        let mask = Mask::new(values.iter().map(|(name, value)| (*name, value.as_ref())), texts);
        let placeholders = list.iter().map(|secret| &secret.placeholder);
        let search = AhoCorasick::new(placeholders).expect("placeholders are few and short");
        Some(Arc::new(Secrets { mask: Arc::new(mask), search, list }))
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
        for (name, value) in &mut plan.variables {
            if self.named_in(value.as_bytes()).is_none() {
                continue;
            }
            let put = self.put(value.as_bytes(), grants)?;
            if put.contains(&0) {
                let message = format!("a secret in the variable `{}` contains a NUL", name.display());
                return Err(Failure::new("bad-argument", message));
            }
            *value = std::ffi::OsString::from_vec(put);
        }
        if let Some(input) = &mut plan.input {
            *input = self.put(input, grants)?;
        }
        Ok(())
    }

    /// A text with the values of its placeholders.
    pub fn put(&self, text: &[u8], grants: &Grants) -> Result<Vec<u8>, Failure> {
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        for found in self.search.find_iter(text) {
            let secret = &self.list[found.pattern().as_usize()];
            grants.secret(&secret.name)?;
            let value = secret.value.as_ref().ok_or_else(|| {
                let message = format!("the master did not send the value of the secret `{}`", secret.name);
                Failure::new("denied", message)
            })?;
            out.extend_from_slice(&text[at..found.start()]);
            out.extend_from_slice(&value.0);
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
            Err(Failure { code, message, detail, retryable }) => Err(Failure {
                code: self.mask.text(&code),
                message: self.mask.text(&message),
                detail: detail.map(|detail| self.mask.text(&detail)),
                retryable,
            }),
        }
    }
}
