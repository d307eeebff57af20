//! Placeholders: what stands for a secret wherever a plugin, a row or a log could see it.
//!
//! A template's `%(secret:NAME)s` renders to a placeholder; the value travels apart and is put in by
//! the worker's host, at the spawn of a process. A placeholder is derived from a key that only the
//! master has, from the build or reporter and from the name: no guest can guess another's, one build's is worth
//! nothing in the next, and a step that is run again after a restart finds its own.

use std::collections::BTreeMap;
use std::fmt;

use crate::id::BuildId;

/// The fewest bytes of a value: a shorter one would be masked all over a log, and be guessed by that.
pub const MIN_VALUE: usize = 4;

/// The most bytes of a value: an environment variable holds so many with ease.
pub const MAX_VALUE: usize = 32 * 1024;

/// The key from which a master derives placeholders.
#[derive(Clone, PartialEq, Eq)]
pub struct Seal([u8; 32]);

impl Seal {
    /// A seal of random bytes.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Seal {
        Seal(random)
    }

    /// What tells this master's store from others: eight letters that say nothing of the key.
    #[must_use]
    pub fn store(&self) -> String {
        blake3::Hasher::new_keyed(&self.0).update(b"the name of the store").finalize().to_hex()[..8]
            .to_owned()
    }

    fn of_build(&self, build: BuildId, name: &str) -> String {
        self.placeholder(&build.0.to_le_bytes(), name)
    }

    /// Never that of a build: its name has another length.
    fn of_reporter(&self, reporter: &str, name: &str) -> String {
        let of = blake3::hash(reporter.as_bytes());
        self.placeholder(of.as_bytes(), name)
    }

    fn placeholder(&self, of: &[u8], name: &str) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(of).update(name.as_bytes());
        // 128 bits. Letters, digits and `_` only: neither JSON nor a shell nor a URL rewrites it.
        format!("{PREFIX}{}", &hasher.finalize().to_hex()[..32])
    }
}

const PREFIX: &str = "windlass_secret_";

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}

/// The secrets that one build or reporter may use: a placeholder for each name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placeholders(BTreeMap<String, String>);

/// What a build has that may use no secrets.
pub static NONE: Placeholders = Placeholders(BTreeMap::new());

impl Placeholders {
    /// Those of a build that may use these secrets.
    #[must_use]
    pub fn new(seal: &Seal, build: BuildId, names: &[String]) -> Placeholders {
        Placeholders(names.iter().map(|name| (name.clone(), seal.of_build(build, name))).collect())
    }

    /// Those of a reporter that may use these secrets.
    #[must_use]
    pub fn of_reporter(seal: &Seal, reporter: &str, names: &[String]) -> Placeholders {
        Placeholders(names.iter().map(|name| (name.clone(), seal.of_reporter(reporter, name))).collect())
    }

    /// What stands for a secret; none: the build may not use it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Those whose names pass.
    #[must_use]
    pub fn only(&self, passes: impl Fn(&str) -> bool) -> Placeholders {
        let kept = self.0.iter().filter(|(name, _)| passes(name));
        Placeholders(kept.map(|(name, placeholder)| (name.clone(), placeholder.clone())).collect())
    }

    /// The names and what stands for them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, placeholder)| (name.as_str(), placeholder.as_str()))
    }
}

/// Whether a secret may be called so: letters, digits, `_`, `-` and `.`, 64 at most.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placeholders(build: u64) -> Placeholders {
        Placeholders::new(&Seal::new([7; 32]), BuildId(build), &["a".to_owned(), "b".to_owned()])
    }

    #[test]
    fn a_placeholder_belongs_to_one_name_of_one_build_and_has_one_length() {
        let (one, two) = (placeholders(1), placeholders(2));
        let all = [one.get("a"), one.get("b"), two.get("a"), two.get("b")].map(Option::unwrap);
        for (n, placeholder) in all.iter().enumerate() {
            assert_eq!(placeholder.len(), all[0].len());
            assert!(!all[..n].contains(placeholder), "{all:?}");
        }
        assert_eq!(one, placeholders(1), "a step that is run again finds its own");
        assert_eq!(one.get("c"), None);
        let other = Placeholders::new(&Seal::new([8; 32]), BuildId(1), &["a".to_owned()]);
        assert_ne!(other.get("a"), one.get("a"), "without the key it cannot be derived");
        let of_reporter =
            |name: &str| Placeholders::of_reporter(&Seal::new([7; 32]), name, &["a".to_owned()]);
        assert_ne!(of_reporter("chat"), of_reporter("mail"));
        assert!(!all.contains(&of_reporter("chat").get("a").unwrap()));
    }

    #[test]
    fn a_seal_shows_nothing_of_itself() {
        assert_eq!(format!("{:?}", Seal::new([7; 32])), "Seal(…)");
    }

    #[test]
    fn names_are_plain() {
        assert!(is_name("deploy-key.2_x") && !is_name("") && !is_name("a b") && !is_name("a:b"));
    }
}
