//! Passwords of people: the configuration holds a slow hash of one, Argon2id in the usual form.
//!
//! A password is short, and whoever reads the configuration may guess at it: each guess is to cost something.

use argon2::Config;

/// The most memory that a hash may ask for, in KiB: a configuration shall not be able to stop its master.
const MAX_MEMORY: u32 = 256 << 10;

/// The most passes over it, and the most lanes.
const MAX_PASSES: u32 = 16;

/// Returns `$argon2id$v=19$...` of a password, with OWASP's parameters. The salt is random.
///
/// # Panics
/// Never: the parameters are within what Argon2 allows.
#[must_use]
pub fn hash_password(password: &str, salt: &[u8; 16]) -> String {
    argon2::hash_encoded(password.as_bytes(), salt, &Config::owasp2())
        .expect("parameters of the library itself")
}

/// Whether `password` is the one that `hash` was made of. Takes tens of milliseconds and some memory, whatever comes.
#[must_use]
pub fn verify_password(password: &str, hash: &str) -> bool {
    check(hash).is_ok() && argon2::verify_encoded(hash, password.as_bytes()).unwrap_or(false)
}

/// Whether this is such a hash, and not one that costs too much. The error goes on after a name.
pub(crate) fn check(hash: &str) -> Result<(), String> {
    let not_one = || "is not the hash of a password".to_owned();
    let parts: Vec<&str> = hash.split('$').collect();
    let ["", "argon2id", "v=19", parameters, salt, digest] = parts.as_slice() else { return Err(not_one()) };
    let mut costs = [0; 3];
    let mut given = parameters.split(',');
    for (cost, name) in costs.iter_mut().zip(["m=", "t=", "p="]) {
        let number = given.next().and_then(|part| part.strip_prefix(name)?.parse().ok());
        *cost = number.filter(|number: &u32| *number > 0).ok_or_else(not_one)?;
    }
    let is_base64 = |text: &str, least: usize| {
        let known = |c: char| c.is_ascii_alphanumeric() || "+/".contains(c);
        (least..=200).contains(&text.len()) && text.len() % 4 != 1 && text.chars().all(known)
    };
    if given.next().is_some() || !is_base64(salt, 11) || !is_base64(digest, 22) {
        return Err(not_one());
    }
    let [memory, passes, lanes] = costs;
    if memory > MAX_MEMORY || passes > MAX_PASSES || lanes > MAX_PASSES {
        return Err(format!(
            "asks for more than {} MiB, {MAX_PASSES} passes or {MAX_PASSES} lanes",
            MAX_MEMORY >> 10
        ));
    }
    // Argon2's own rule: no password would match.
    if memory < 8 * lanes {
        return Err(format!("asks for {memory} KiB, and {lanes} lanes need at least {}", 8 * lanes));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_matches_its_own_hash_only() {
        let hash = hash_password("correct horse", &[7; 16]);
        assert_eq!(check(&hash), Ok(()));
        assert!(verify_password("correct horse", &hash));
        assert!(!verify_password("correct horse ", &hash));
        assert_ne!(hash, hash_password("correct horse", &[8; 16]));
    }

    #[test]
    fn what_is_no_hash_or_costs_too_much_is_refused_and_fits_nothing() {
        let good = hash_password("x", &[7; 16]);
        for (from, to, why) in [
            ("$argon2id", "$argon2i", "is not the hash"),
            ("v=19", "v=16", "is not the hash"),
            ("m=19456", "m=0", "is not the hash"),
            ("m=19456", "m=4000000000", "asks for more"),
            ("t=2", "t=1000", "asks for more"),
            ("p=1", "p=1,x=1", "is not the hash"),
            ("p=1$", "p=1$#", "is not the hash"),
            (good.as_str(), "", "is not the hash"),
            (good.as_str(), "$2b$12$abc", "is not the hash"),
        ] {
            let bad = good.replace(from, to);
            assert!(check(&bad).unwrap_err().starts_with(why), "{bad}");
            assert!(!verify_password("x", &bad));
        }
    }
}
