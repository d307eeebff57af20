//! Tokens of workers that a command made: a master keeps their hashes, and the worker's side the tokens.
//!
//! A worker may have several at once, so that one takes the place of another without a pause.

use crate::digest::Digest;
use crate::id::TokenId;
use crate::time::Timestamp;

/// So many a worker may have at once: more than any change of tokens needs.
pub const MAX_TOKENS: usize = 16;

/// The last use of a token is kept as exactly as this, in milliseconds: a worker that comes and goes all the time shall not
/// write all the time.
pub const USE_STEP_MS: u64 = 60_000;

/// A token that a command made.
#[derive(Clone, PartialEq, Eq)]
pub struct WorkerToken {
    /// Its number, which no other one ever gets.
    pub number: TokenId,
    /// The worker that may connect with it.
    pub worker: String,
    /// BLAKE3 of the token. It is shown to nobody.
    pub hash: Digest,
    /// When it was made.
    pub made: Timestamp,
    /// When it was used last, to the minute; none: never.
    pub used: Option<Timestamp>,
}

/// Without the hash.
impl std::fmt::Debug for WorkerToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let WorkerToken { number, worker, hash: _, made, used } = self;
        f.debug_struct("WorkerToken")
            .field("number", number)
            .field("worker", worker)
            .field("made", made)
            .field("used", used)
            .finish_non_exhaustive()
    }
}

impl WorkerToken {
    /// Notes that a worker came by it; whether that is news enough to be kept.
    pub fn came(&mut self, at: Timestamp) -> bool {
        let news = self.used.is_none_or(|before| at.ms_since(before) >= USE_STEP_MS);
        if news {
            self.used = Some(at);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_news_once_a_minute() {
        let hash = Digest::of(b"secret");
        let mut token =
            WorkerToken { number: TokenId(1), worker: "w1".into(), hash, made: Timestamp(5), used: None };
        let news: Vec<bool> = [10, 11, 60_009, 60_010, 50].map(|at| token.came(Timestamp(at))).into();
        assert_eq!(news, [true, false, false, true, false]);
        assert_eq!(token.used, Some(Timestamp(60_010)));
    }
}
