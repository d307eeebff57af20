//! `WINDLASS_FAULT`: the master kills itself at a commit that was named, for tests of crashes.
//!
//! `commit:17` is right before the 17th commit of the process, when the bytes of its logs are durable and the rows
//! that name them are not; `commit:17:after` is right after it, when nobody has been told. `journal:5` counts only those
//! commits that hold entries of journals. Read once, at the start; without it nothing is called.

use anyhow::Context as _;
use rustix::process::{Signal, getpid, kill_process};
use windlass_master::{Moment, OnCommit, Side};

use crate::exit::{Exit, Failed};

const NAME: &str = "WINDLASS_FAULT";

/// What the environment asks for.
pub fn asked() -> Result<Option<OnCommit>, Failed> {
    let Some(text) = std::env::var_os(NAME).filter(|text| !text.is_empty()) else { return Ok(None) };
    let text = text.to_string_lossy();
    let fault = Fault::parse(&text)
        .with_context(|| {
            format!("{NAME} is `{text}`; it may be `commit:N` or `journal:N`, with `:after`, N from 1")
        })
        .map_err(|error| Failed { exit: Exit::Outside, error })?;
    tracing::warn!("{NAME}={text}: this process kills itself there");
    Ok(Some(OnCommit::new(move |moment| {
        if fault.is(moment) {
            tracing::warn!(?moment, "{NAME}: killed");
            // Nothing of it runs after this: the signal comes before the call returns.
            kill_process(getpid(), Signal::KILL).ok();
        }
    })))
}

/// Where the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault {
    /// Only commits with entries of journals count.
    journals: bool,
    number: u64,
    side: Side,
}

impl Fault {
    fn parse(text: &str) -> Option<Fault> {
        let (what, place) = text.split_once(':')?;
        let journals = match what {
            "commit" => false,
            "journal" => true,
            _ => return None,
        };
        let (number, side) = match place.strip_suffix(":after") {
            Some(number) => (number, Side::After),
            None => (place, Side::Before),
        };
        let number = number.parse().ok().filter(|number| *number > 0)?;
        Some(Fault { journals, number, side })
    }

    fn is(self, moment: Moment) -> bool {
        let number = if self.journals { moment.journal } else { Some(moment.commit) };
        number == Some(self.number) && moment.side == self.side
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_a_commit_and_a_side_of_it() {
        let (before, after) = (Side::Before, Side::After);
        for (text, journals, number, side) in [
            ("commit:17", false, 17, before),
            ("commit:1:after", false, 1, after),
            ("journal:2", true, 2, before),
        ] {
            assert_eq!(Fault::parse(text), Some(Fault { journals, number, side }), "{text}");
        }
        for wrong in
            ["", "commit", "commit:", "commit:0", "commit:x", "commit:1:before", "commit:1:after:", "sync:1"]
        {
            assert_eq!(Fault::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn it_is_met_at_that_commit_on_that_side_and_nowhere_else() {
        let moment = |side, commit, journal| Moment { side, commit, journal };
        let met = |text: &str, moment| Fault::parse(text).is_some_and(|fault| fault.is(moment));
        assert!(met("commit:3", moment(Side::Before, 3, None)));
        assert!(!met("commit:3", moment(Side::After, 3, None)));
        assert!(!met("commit:3", moment(Side::Before, 4, Some(3))));
        assert!(met("journal:3:after", moment(Side::After, 4, Some(3))));
        assert!(!met("journal:3:after", moment(Side::After, 3, None)));
    }
}
