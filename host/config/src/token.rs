//! Tokens of workers: the master's configuration holds their hashes only.
//!
//! A token is random and long (`windlass init` makes 32 bytes), so one fast hash suffices; there is
//! nothing to guess that a slow one would protect.

use windlass_core::digest::Digest;

const PREFIX: &str = "blake3:";

/// Returns `blake3:<64 hex digits>` of a token; white space around it does not count.
#[must_use]
pub fn hash_token(token: &str) -> String {
    format!("{PREFIX}{}", blake3::hash(token.trim().as_bytes()).to_hex())
}

/// The 32 bytes of a hash that [`hash_token`] made; none: this is no such text.
#[must_use]
pub fn token_digest(hash: &str) -> Option<Digest> {
    parse_hash(hash).map(|hash| Digest::from_bytes(*hash.as_bytes()))
}

/// As [`verify_token`], with the 32 bytes of the hash.
#[must_use]
pub fn is_token_of(token: &str, hash: &Digest) -> bool {
    blake3::Hash::from_bytes(*hash.as_bytes()) == blake3::hash(token.trim().as_bytes())
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
        let digest = token_digest(&hash).unwrap();
        assert!(is_token_of(" s3cret", &digest) && !is_token_of("s3cres", &digest));
        assert_eq!(token_digest("blake3:abc"), None);
        assert!(!verify_token("s3cret", "blake3:abc"));
        assert!(!verify_token("s3cret", hash.trim_start_matches(PREFIX)));
    }
}
