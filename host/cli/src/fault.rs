//! `WINDLASS_FAULT`: what goes wrong with a master, most of it at commits that are named, for tests. Several are divided by commas.
//!
//! - `commit:17`: it kills itself right before the 17th commit of the process, when the bytes of its logs are durable and
//!   the rows that name them are not; `commit:17:after`: right after it, when nobody has been told.
//! - `journal:5`, `journal:5:after`: the same, and only commits count that hold entries of journals.
//! - `enospc:17:9`: nine times that it looks for room on the disk before the 17th commit, it finds none.
//! - `clock:+86400:17`, `clock:-86400:17`: somebody sets the machine's clock by so many seconds at the 17th commit; at 0
//!   it was set before the start.
//! - `configure:5`: configurators have no more than 5 ms of CPU, as on a machine that is far too slow.
//! - `policies:60000`: policies have 60,000 ms, of CPU and in all, as if the machine were never busy.
//!
//! Read once, at the start; without it nothing is called.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use anyhow::Context as _;
use rustix::process::{Signal, getpid, kill_process};
use windlass_master::clock::{SystemClock, wall};
use windlass_master::{DiskRoom, Moment, OnCommit, Options, Side, disk};

use crate::exit::{Exit, Failed};

const NAME: &str = "WINDLASS_FAULT";

/// Has a master meet what the environment asks for.
pub fn meet(options: &mut Options) -> Result<(), Failed> {
    let Some(text) = std::env::var_os(NAME).filter(|text| !text.is_empty()) else { return Ok(()) };
    let text = text.to_string_lossy();
    let faults = parse(&text)
        .with_context(|| {
            format!(
                "{NAME} is `{text}`; it may be `commit:N` or `journal:N`, with `:after`, `enospc:N:TIMES`, \
                 `clock:+SECONDS:N`, `configure:MS` or `policies:MS`, N from 1"
            )
        })
        .map_err(|error| Failed { exit: Exit::Outside, error })?;
    tracing::warn!("{NAME}={text}: this process does that to itself");
    apply(faults, options);
    Ok(())
}

fn apply(faults: Vec<Fault>, options: &mut Options) {
    let set_by = Arc::new(AtomicI64::new(0));
    for fault in &faults {
        match *fault {
            Fault::Full { commit, times } => {
                let left = AtomicU64::new(times);
                options.room = DiskRoom::new(move |folder, number| {
                    let less = |left: u64| left.checked_sub(1);
                    let full = number >= commit
                        && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok();
                    if full { Ok(0) } else { disk(folder) }
                });
            }
            Fault::Set { seconds, commit: 0 } => set_by.store(seconds * 1_000, Ordering::SeqCst),
            Fault::Slow { cpu_ms } => options.limits.configurator_cpu_ms = cpu_ms,
            Fault::Patient { ms } => {
                (options.limits.policy_cpu_ms, options.limits.policy_wall_ms) = (ms, ms);
            }
            Fault::Set { .. } | Fault::Killed(_) => {}
        }
    }
    if faults.iter().any(|fault| matches!(fault, Fault::Set { .. })) {
        let set_by = Arc::clone(&set_by);
        let wall = move || {
            let now = wall();
            windlass_core::time::Timestamp(now.0.saturating_add_signed(set_by.load(Ordering::SeqCst)))
        };
        options.clock = Arc::new(SystemClock::over(Arc::new(wall)));
    }
    options.on_commit = Some(OnCommit::new(move |moment| {
        for fault in &faults {
            match *fault {
                Fault::Killed(at) if at.is(moment) => {
                    tracing::warn!(?moment, "{NAME}: killed");
                    // Nothing of it runs after this: the signal comes before the call returns.
                    kill_process(getpid(), Signal::KILL).ok();
                }
                Fault::Set { seconds, commit } if commit == moment.commit && moment.side == Side::After => {
                    set_by.store(seconds * 1_000, Ordering::SeqCst);
                }
                Fault::Killed(_)
                | Fault::Set { .. }
                | Fault::Full { .. }
                | Fault::Slow { .. }
                | Fault::Patient { .. } => {}
            }
        }
    }));
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The process ends.
    Killed(Place),
    /// From this commit on, the disk is found full so often.
    Full { commit: u64, times: u64 },
    /// The machine's clock is off by so much from this commit on.
    Set { seconds: i64, commit: u64 },
    /// A configurator may use so much.
    Slow { cpu_ms: u64 },
    /// A policy has so much.
    Patient { ms: u64 },
}

/// Where a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Only commits with entries of journals count.
    journals: bool,
    number: u64,
    side: Side,
}

fn parse(text: &str) -> Option<Vec<Fault>> {
    text.split(',').map(Fault::parse).collect()
}

impl Fault {
    fn parse(text: &str) -> Option<Fault> {
        let (what, place) = text.split_once(':')?;
        match what {
            "commit" | "journal" => {
                let (number, side) = match place.strip_suffix(":after") {
                    Some(number) => (number, Side::After),
                    None => (place, Side::Before),
                };
                let number = counted(number)?;
                Some(Fault::Killed(Place { journals: what == "journal", number, side }))
            }
            "enospc" => {
                let (commit, times) = place.split_once(':')?;
                Some(Fault::Full { commit: counted(commit)?, times: counted(times)? })
            }
            "clock" => {
                let (seconds, commit) = place.split_once(':')?;
                Some(Fault::Set { seconds: i64::from_str(seconds).ok()?, commit: commit.parse().ok()? })
            }
            "configure" => Some(Fault::Slow { cpu_ms: counted(place)? }),
            "policies" => Some(Fault::Patient { ms: counted(place)? }),
            _ => None,
        }
    }
}

/// A number from 1.
fn counted(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number > 0)
}

impl Place {
    fn is(self, moment: Moment) -> bool {
        let number = if self.journals { moment.journal } else { Some(moment.commit) };
        number == Some(self.number) && moment.side == self.side
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_its_kind_and_its_commit() {
        let killed = |journals, number, side| Fault::Killed(Place { journals, number, side });
        let (before, after) = (Side::Before, Side::After);
        for (text, fault) in [
            ("commit:17", killed(false, 17, before)),
            ("commit:1:after", killed(false, 1, after)),
            ("journal:2", killed(true, 2, before)),
            ("enospc:3:9", Fault::Full { commit: 3, times: 9 }),
            ("clock:+60:0", Fault::Set { seconds: 60, commit: 0 }),
            ("configure:5", Fault::Slow { cpu_ms: 5 }),
            ("policies:60000", Fault::Patient { ms: 60_000 }),
            ("clock:-86400:5", Fault::Set { seconds: -86_400, commit: 5 }),
        ] {
            assert_eq!(parse(text), Some(vec![fault]), "{text}");
        }
        let both = vec![Fault::Set { seconds: 60, commit: 0 }, killed(false, 2, before)];
        assert_eq!(parse("clock:+60:0,commit:2"), Some(both));
        for wrong in [
            "",
            "commit",
            "commit:",
            "commit:0",
            "commit:x",
            "commit:1:before",
            "commit:1:after:",
            "sync:1",
            "enospc:1",
            "enospc:0:1",
            "clock:60",
            "configure:0",
            "commit:1,",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn it_is_met_at_that_commit_on_that_side_and_nowhere_else() {
        let moment = |side, commit, journal| Moment { side, commit, journal };
        let met = |text: &str, moment| match Fault::parse(text) {
            Some(Fault::Killed(place)) => place.is(moment),
            other => panic!("{other:?}"),
        };
        assert!(met("commit:3", moment(Side::Before, 3, None)));
        assert!(!met("commit:3", moment(Side::After, 3, None)));
        assert!(!met("commit:3", moment(Side::Before, 4, Some(3))));
        assert!(met("journal:3:after", moment(Side::After, 4, Some(3))));
        assert!(!met("journal:3:after", moment(Side::After, 3, None)));
    }
}
