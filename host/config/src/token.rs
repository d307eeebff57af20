//! Tokens of workers: the master's configuration holds their hashes only.
//!
//! A token is random and long (`windlass init` makes 32 bytes), so one fast hash suffices; there is
//! nothing to guess that a slow one would protect.

const PREFIX: &str = "blake3:";

/// Returns `blake3:<64 hex digits>` of a token; white space around it does not count.
#[must_use]
pub fn hash_token(token: &str) -> String {
    format!("{PREFIX}{}", blake3::hash(token.trim().as_bytes()).to_hex())
}

/// Whether `token` is the one that `hash` was made of. Takes the same time wherever they differ.
#[must_use]
pub fn verify_token(token: &str, hash: &str) -> bool {
    // The comparison of `blake3::Hash` is the constant-time one.
    parse_hash(hash).is_some_and(|hash| hash == blake3::hash(token.trim().as_bytes()))
}

/// The hash in `blake3:<64 hex digits>`.
pub(crate) fn parse_hash(text: &str) -> Option<blake3::Hash> {
    blake3::Hash::from_hex(text.strip_prefix(PREFIX)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_its_own_hash_only() {
        let hash = hash_token("s3cret\n");
        assert!(verify_token("s3cret", &hash));
        assert!(!verify_token("s3cres", &hash));
        assert!(!verify_token("s3cret", "blake3:abc"));
        assert!(!verify_token("s3cret", hash.trim_start_matches(PREFIX)));
    }
}
