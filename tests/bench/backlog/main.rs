//! What a long backlog costs, without the rest of a master: `tests/bench/backlog.py` and `tests/bench/decisions.py`
//! run this; `tests/bench/master.py` has it fill a store for a whole one.
//!
//! ```text
//! backlog fill FOLDER PENDING                   submits until so many requests of 500 builders wait in the store
//! backlog events FOLDER [GROUPS]                ends of builds, submissions, loads, workers that go and come
//! backlog starts FOLDER requests|workers N [KIND]
//!                                               starts at full speed, decided by a policy over N candidates
//! ```

mod driver;
mod events;
mod fill;
mod policies;
mod starts;

use std::time::Duration;

use windlass_core::policy::HookKind;

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // As the master has it: the dispatcher is a task among others.
    threads.block_on(async {
        match arguments[..] {
            ["fill", folder, pending] => fill::fill(folder.as_ref(), pending.parse()?).await,
            ["events", folder] => events::run(folder.as_ref(), 10).await,
            ["events", folder, groups] => events::run(folder.as_ref(), groups.parse()?).await,
            ["starts", folder, from, candidates, ref kind @ ..] if kind.len() < 2 => {
                let kind = kind.first().map(|kind| {
                    let known = HookKind::ALL.into_iter().find(|known| known.as_str() == *kind);
                    known.ok_or(format!("there are no policies `{kind}`"))
                });
                starts::run(folder.as_ref(), kind.transpose()?, from == "workers", candidates.parse()?).await
            }
            _ => Err("usage: backlog fill|events|starts FOLDER ...; see tests/bench/backlog/main.rs".into()),
        }
    })
}

/// In microseconds.
#[derive(Default)]
struct Spread {
    p50: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl Spread {
    /// Sorts them.
    fn of(times: &mut [Duration]) -> Spread {
        times.sort_unstable();
        let at = |thousandths: usize| {
            let rank = (times.len() * thousandths / 1_000).min(times.len().saturating_sub(1));
            times.get(rank).map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
        };
        Spread { p50: at(500), p99: at(990), p999: at(999), max: at(1_000) }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Resident memory in MiB.
fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / 1_024
}

/// CPU of this process in milliseconds.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) * 10.0
}
