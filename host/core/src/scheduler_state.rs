//! What the state of a scheduler says, by its keys: which changes wait in it, and which buildsets it waits for. So what
//! removes old changes knows which are needed still.

use crate::id::{BuildsetId, ChangeId};

/// In whose name the state of a scheduler is kept begins so, and ends with its name.
pub const OWNER: &str = "scheduler/";

/// What a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A change waits; the value is the moment until which, in text.
    Waits(ChangeId),
    /// The end of this buildset is waited for; there is no value.
    Upstream(BuildsetId),
}

impl Key {
    /// What `text` says; none: nothing that this version knows.
    #[must_use]
    pub fn parse(text: &str) -> Option<Key> {
        let (word, number) = text.split_once('/')?;
        let number = number.parse().ok()?;
        match word {
            "waits" => Some(Key::Waits(ChangeId(number))),
            "upstream" => Some(Key::Upstream(BuildsetId(number))),
            _ => None,
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Key::Waits(change) => write!(f, "waits/{}", change.0),
            Key::Upstream(buildset) => write!(f, "upstream/{}", buildset.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_others_are_none() {
        for key in [Key::Waits(ChangeId(7)), Key::Upstream(BuildsetId(8))] {
            assert_eq!(Key::parse(&key.to_string()), Some(key));
        }
        for text in ["", "waits", "waits/", "waits/x", "of-old/3"] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }
}
