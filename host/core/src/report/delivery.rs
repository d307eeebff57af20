//! What came of telling a reporter, and when one that failed is tried again.

use crate::policy::{Fault, FaultKind};

/// The first pause after a failure, in milliseconds; each further one is twice as long.
pub const FIRST_PAUSE_MS: u64 = 1_000;
/// The longest pause, in milliseconds.
pub const LONGEST_PAUSE_MS: u64 = 300_000;

/// What came of telling a reporter: it has the event; it never will, and why; or it is told again, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done with.
    Done,
    /// Trying again would not help.
    Lost(String),
    /// It is tried again.
    Again(String),
}

/// Judges an answer. Only a failure that the component itself says is not worth another try loses the event: one that
/// traps or does not come back is mended by a reconfig.
#[must_use]
pub fn judge(answer: &Result<(), Fault>) -> Verdict {
    match answer {
        Ok(()) => Verdict::Done,
        Err(fault) => match &fault.kind {
            FaultKind::Failed(failure) => {
                let detail = failure.detail.as_ref().map(|detail| format!("; {detail}")).unwrap_or_default();
                let why = fault.brief() + &detail;
                if failure.retryable { Verdict::Again(why) } else { Verdict::Lost(why) }
            }
            FaultKind::Trap(_)
            | FaultKind::Cpu(_)
            | FaultKind::Wall(_)
            | FaultKind::Memory(_)
            | FaultKind::BadAnswer(_) => Verdict::Again(fault.brief()),
        },
    }
}

/// How long after so many failures in a row the next try comes, in milliseconds.
#[must_use]
pub fn pause_ms(failures: u32) -> u64 {
    FIRST_PAUSE_MS.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(LONGEST_PAUSE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::value::Failure;

    #[test]
    fn only_what_the_component_says_is_hopeless_is_lost() {
        let fault = |kind| {
            let call = "reporter.report".to_owned();
            judge(&Err(Fault { plugin: "p".to_owned(), digest: Digest::of(b"p"), call, kind }))
        };
        assert_eq!(judge(&Ok(())), Verdict::Done);
        let failed = |failure| fault(FaultKind::Failed(failure));
        assert!(
            matches!(failed(Failure::new("refused", "no")), Verdict::Lost(why) if why.contains("no (refused)"))
        );
        assert!(matches!(failed(Failure::retryable("io", "down")), Verdict::Again(_)));
        for kind in
            [FaultKind::Trap("x".to_owned()), FaultKind::Cpu(1), FaultKind::Wall(1), FaultKind::Memory(1)]
        {
            assert!(matches!(fault(kind), Verdict::Again(_)));
        }
    }

    #[test]
    fn pauses_grow_up_to_five_minutes() {
        let pauses: Vec<u64> = [0, 1, 2, 3, 8, 9, 10, u32::MAX].map(pause_ms).to_vec();
        assert_eq!(pauses, [1_000, 1_000, 2_000, 4_000, 128_000, 256_000, 300_000, 300_000]);
    }
}
