//! May these two talk at all? Versions are compared before anything else, and both are named in the
//! refusal: the person who reads it has to know which side to renew.

use crate::message::{Hello, PROTOCOL};

/// The oldest version of the protocol that this program still speaks.
pub const OLDEST_PROTOCOL: u32 = 2;

/// The newest `windlass:worker` contract of this program.
pub const CONTRACT: &str = "0.1.0";

/// What both sides may have beyond the version of the protocol.
pub const FEATURES: &[&str] = &[crate::transfer::FEATURE];

/// Why a hello is refused: the fields of `ToWorker::Refused`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Refusal {
    /// One of the documented constants.
    pub code: &'static str,
    /// One sentence for people, with what to do.
    pub message: String,
    /// Whether to try again later.
    pub retry: bool,
}

impl Refusal {
    /// A refusal that ends the worker.
    #[must_use]
    pub fn for_good(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), retry: false }
    }
}

/// The master's look at the versions of a hello: the features that both sides have.
pub fn check(hello: &Hello) -> Result<Vec<String>, Refusal> {
    check_protocol(hello.protocol, "worker", "master").map_err(|(code, message)| Refusal {
        code,
        message,
        // A worker is renewed where it runs; it starts anew then.
        retry: false,
    })?;
    match (series(&hello.contract), series(CONTRACT)) {
        (Some(theirs), Some(ours)) if theirs == ours => {}
        (Some(theirs), Some(ours)) => {
            let (code, renew) = if theirs < ours { ("too-old", "worker") } else { ("too-new", "master") };
            let contract = &hello.contract;
            return Err(Refusal::for_good(
                code,
                format!(
                    "the worker runs commands of contract windlass:worker@{contract}, this master needs \
                     {CONTRACT}; renew the {renew}"
                ),
            ));
        }
        (None, _) | (_, None) => {
            return Err(Refusal::for_good(
                "too-new",
                format!("the worker names the contract `{}`, which is no version number", hello.contract),
            ));
        }
    }
    Ok(hello.features.iter().filter(|f| FEATURES.contains(&f.as_str())).cloned().collect())
}

/// The worker's look at the version in a welcome.
pub fn check_welcome(protocol: u32) -> Result<(), Refusal> {
    check_protocol(protocol, "master", "worker").map_err(|(code, message)| Refusal::for_good(code, message))
}

fn check_protocol(theirs: u32, they: &str, we: &str) -> Result<(), (&'static str, String)> {
    if theirs < OLDEST_PROTOCOL {
        let message = format!(
            "the {they} speaks protocol {theirs}, this {we} needs at least {OLDEST_PROTOCOL}; renew the {they}"
        );
        return Err(("too-old", message));
    }
    if theirs > PROTOCOL {
        let message =
            format!("the {they} speaks protocol {theirs}, this {we} at most {PROTOCOL}; renew the {we}");
        return Err(("too-new", message));
    }
    Ok(())
}

/// The numbers of a version within which nothing breaks: `0.1` of `0.1.7`, `2` of `2.3.4`.
fn series(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.');
    let (major, minor) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(if major == 0 { (0, minor) } else { (major, 0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_versions(protocol: u32, contract: &str) -> Result<Vec<String>, Refusal> {
        check(&Hello {
            protocol,
            contract: contract.into(),
            features: vec!["of-tomorrow".into()],
            name: "w".into(),
            token: String::new(),
            instance: "i".into(),
            epoch: 1,
            lost: None,
            lane: "control".into(),
            version: "0.1.0".into(),
            facts: vec![],
            commands: vec![],
        })
    }

    #[test]
    fn equal_versions_talk_without_features_that_only_one_has() {
        assert_eq!(check_versions(PROTOCOL, CONTRACT), Ok(vec![]));
        assert_eq!(check_versions(PROTOCOL, "0.1.9"), Ok(vec![]));
    }

    #[test]
    fn a_refusal_names_both_versions_and_whom_to_renew() {
        let refused = |protocol, contract: &str| {
            let refusal = check_versions(protocol, contract).unwrap_err();
            (refusal.code, refusal.message)
        };
        let (code, message) = refused(0, CONTRACT);
        assert_eq!(code, "too-old");
        assert_eq!(message, "the worker speaks protocol 0, this master needs at least 2; renew the worker");
        let (code, message) = refused(PROTOCOL + 1, CONTRACT);
        assert_eq!(code, "too-new");
        assert_eq!(message, "the worker speaks protocol 3, this master at most 2; renew the master");
        let (code, message) = refused(PROTOCOL, "0.2.0");
        assert_eq!(code, "too-new");
        assert!(message.contains("0.2.0") && message.contains(CONTRACT), "{message}");
        assert_eq!(refused(PROTOCOL, "0.0.9").0, "too-old");
        assert_eq!(refused(PROTOCOL, "tomorrow").0, "too-new");
        assert_eq!(check_welcome(PROTOCOL + 1).unwrap_err().code, "too-new");
    }
}
