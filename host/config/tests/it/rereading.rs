//! What was read before is as good as new only as long as everything that it depends on is the same.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use windlass_config::config::Secret;
use windlass_config::{
    Answer, Catalog, Diagnostics, HookFacts, Included, MasterText, Read, Unusable, check_master,
};
use windlass_core::policy::HookKind;

use crate::hooks::Hooks;

/// Asks for something of each kind.
const ASKS: &str = r#"
include = "more.toml"
max_retries = { from_env = "SLOTS" }
step_deadline = { from_env = "UNSET", default = "7s" }
user_managers = [{ path = "users.toml" }]
[secrets]
key = { file = "key" }
[[configurators]]
use = "make"
args = { of = ["made"] }
[[workers]]
name = "w1"
token_hash = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
[[builders]]
name = "own"
workers = "w1"
secrets = ["key"]
next_slave = "fastest"
steps = [{ use = "compile", args = { command = "make", env = { KEY = "%(secret:key)s" } } }]
"#;

const PATH: &str = "m.toml";

fn read() -> Read {
    let read = MasterText::parse(Path::new(PATH), ASKS).read(&Hooks);
    read.config.unwrap_or_else(|errors| panic!("{}", errors.render()))
}

/// The same catalog, but for its answer to the `n`th question.
struct Another {
    n: usize,
    asked: Cell<usize>,
}

impl Another {
    fn at(n: usize) -> Another {
        Another { n, asked: Cell::new(0) }
    }

    /// Whether this question is the one.
    fn is_now(&self) -> bool {
        let asked = self.asked.get();
        self.asked.set(asked + 1);
        asked == self.n
    }
}

impl Catalog for Another {
    fn hook(&self, kind: HookKind, name: &str) -> Result<HookFacts, String> {
        let mut facts = Hooks.hook(kind, name)?;
        if self.is_now() {
            facts.schema = Some(serde_json::json!({ "type": "object" }));
        }
        Ok(facts)
    }

    fn include(&self, pattern: &str, room: usize) -> Result<Vec<Included>, String> {
        let mut files = Hooks.include(pattern, room)?;
        if self.is_now() {
            files[0].text.push('\n');
        }
        Ok(files)
    }

    fn configure(&self, hook: &str, args: &str) -> Result<Answer, String> {
        let mut answer = Hooks.configure(hook, args)?;
        if self.is_now() {
            answer.fault = Some("it trapped".to_owned());
        }
        Ok(answer)
    }

    fn variable(&self, name: &str) -> Option<String> {
        let value = Hooks.variable(name);
        if self.is_now() { value.map_or(Some("9".to_owned()), |_| None) } else { value }
    }

    fn secret(&self, secret: Secret) -> Result<Secret, Unusable> {
        let found = Hooks.secret(secret);
        if self.is_now() { Hooks.secret(missing()) } else { found }
    }
}

fn missing() -> Secret {
    let file = windlass_config::config::SecretSource::File("missing".into());
    Secret { source: file, strip: true }
}

fn shown(found: Option<&Diagnostics>) -> Option<String> {
    found.map(Diagnostics::render)
}

#[test]
fn what_was_read_is_what_a_check_finds() {
    let read = read();
    let checked = check_master(Path::new(PATH), ASKS, &Hooks);
    assert_eq!(*read.config, checked.config.unwrap());
    assert_eq!(shown(read.warnings.as_ref()), shown(checked.warnings.as_ref()));
    assert!(read.warnings.is_some(), "nobody asks for the builders");
}

#[test]
fn with_the_same_answers_nothing_is_read_again() {
    let read = Arc::new(read());
    let same = Another::at(usize::MAX);
    let again = read.again(&same);
    assert!(Arc::ptr_eq(&read, &again.config.unwrap()));
    assert_eq!(shown(again.warnings.as_ref()), shown(read.warnings.as_ref()));
    assert!(same.asked.get() >= 8, "hooks, files, variables, a configurator and a secret");
}

/// It comes to what reading it afresh comes to, and asks nothing twice on the way.
#[test]
fn with_any_other_answer_it_is_read_again() {
    let read = Arc::new(read());
    let all = Another::at(usize::MAX);
    read.again(&all).config.unwrap();
    for n in 0..all.asked.get() {
        let (another, afresh) = (Another::at(n), Another::at(n));
        let again = read.again(&another);
        let expected = MasterText::parse(Path::new(PATH), ASKS).read(&afresh);
        assert_eq!(shown(again.warnings.as_ref()), shown(expected.warnings.as_ref()), "question {n}");
        match (again.config, expected.config) {
            (Ok(now), Ok(expected)) => {
                assert!(!Arc::ptr_eq(&read, &now), "question {n}");
                assert_eq!(now.config, expected.config, "question {n}");
                // What it depends on is what it was told this time.
                assert!(Arc::ptr_eq(&now, &now.again(&Another::at(n)).config.unwrap()), "question {n}");
            }
            (now, expected) => {
                let (now, expected) = (now.map(drop).unwrap_err(), expected.map(drop).unwrap_err());
                assert_eq!(now.render(), expected.render(), "question {n}");
            }
        }
        assert_eq!(another.asked.get(), afresh.asked.get(), "question {n}");
    }
}

#[test]
fn it_is_of_one_text_and_one_file() {
    let read = read();
    assert!(read.is_of(Path::new(PATH), ASKS));
    assert!(!read.is_of(Path::new(PATH), &format!("{ASKS} ")));
    assert!(!read.is_of(Path::new("other.toml"), ASKS));
}
