//! Claims, fences and expiry in random order, by several masters and over restarts: the real store goes
//! where a plain model in memory goes, write by write, and refuses every straggler.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use windlass_core::id::{BuildId, Fence, MasterId, RequestId};
use windlass_core::master::{Master, Overdue};
use windlass_core::outcome::Outcome;
use windlass_core::persist::{Committed, Persist, Refusal};
use windlass_core::time::Timestamp;

use crate::test_disk::{Backend, open};
use crate::test_rows::*;
use crate::{CommitError, Store};

/// Requests 1 to 5 exist, number 6 does not. Masters 1 and 2 exist, number 3 does not.
const REQUESTS: u64 = 5;

/// What somebody does. Fences are given by how far below the newest they are; builds by their place.
#[derive(Clone, Debug)]
enum Op {
    /// With a build, under a new fence.
    Claim {
        master: u64,
        requests: Vec<u64>,
    },
    /// Under a fence that was minted before.
    ClaimLate {
        master: u64,
        requests: Vec<u64>,
        back: u64,
    },
    Renew {
        requests: Vec<u64>,
        back: u64,
    },
    Release {
        requests: Vec<u64>,
        back: u64,
    },
    Complete {
        requests: Vec<u64>,
        back: u64,
    },
    /// A write of a build, by the actor that began it.
    Write {
        build: usize,
        what: What,
    },
    Prioritize {
        requests: Vec<u64>,
        priority: i32,
    },
    Heartbeat {
        master: u64,
    },
    ExpireMaster {
        master: u64,
        silent: u64,
    },
    ExpireClaims {
        age: u64,
    },
    Reopen,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Step,
    Log,
    Append,
    Added,
    Stop,
    Row,
    End,
}

fn op() -> impl Strategy<Value = Op> {
    let list = || prop::collection::vec(1..=REQUESTS + 1, 1..4);
    let back = || 0..4u64;
    let all = [What::Step, What::Log, What::Append, What::Added, What::Stop, What::Row, What::End].to_vec();
    let what = prop::sample::select(all);
    prop_oneof![
        6 => (1..=2u64, list()).prop_map(|(master, requests)| Op::Claim { master, requests }),
        1 => (1..=2u64, list(), back()).prop_map(|(master, requests, back)| Op::ClaimLate { master, requests, back }),
        2 => (list(), back()).prop_map(|(requests, back)| Op::Renew { requests, back }),
        2 => (list(), back()).prop_map(|(requests, back)| Op::Release { requests, back }),
        2 => (list(), back()).prop_map(|(requests, back)| Op::Complete { requests, back }),
        5 => (0..6usize, what).prop_map(|(build, what)| Op::Write { build, what }),
        1 => (list(), -2..3i32).prop_map(|(requests, priority)| Op::Prioritize { requests, priority }),
        1 => (1..=3u64).prop_map(|master| Op::Heartbeat { master }),
        1 => (1..=3u64, 0..12u64).prop_map(|(master, silent)| Op::ExpireMaster { master, silent }),
        1 => (0..12u64).prop_map(|age| Op::ExpireClaims { age }),
        1 => Just(Op::Reopen),
    ]
}

/// Why a write is refused, by the most literal reading of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum No {
    Taken,
    OldFence,
    NotHeld,
    Stale,
    NotOpen,
    UnknownMaster,
    Alive,
}

fn kind(refusal: &Refusal) -> No {
    match refusal {
        Refusal::AlreadyClaimed(_) => No::Taken,
        Refusal::OldFence { .. } => No::OldFence,
        Refusal::NotClaimed { .. } => No::NotHeld,
        Refusal::StaleFence { .. } => No::Stale,
        Refusal::NotOpen(_) => No::NotOpen,
        Refusal::UnknownMaster(_) => No::UnknownMaster,
        Refusal::MasterAlive { .. } => No::Alive,
        other => panic!("the model knows no {other:?}"),
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Plain {
    /// Master, fence, since when.
    held: Option<(u64, u64, u64)>,
    complete: bool,
    newest: u64,
    priority: i32,
    version: u32,
}

/// A build under the fence that is its number.
#[derive(Clone, Debug, PartialEq)]
struct PlainBuild {
    fence: u64,
    requests: Vec<u64>,
    ended: Option<Outcome>,
    log: u64,
}

#[derive(Clone, Debug, Default)]
struct Model {
    now: u64,
    minted: u64,
    requests: BTreeMap<u64, Plain>,
    builds: Vec<PlainBuild>,
    masters: BTreeMap<u64, u64>,
}

/// What a write settles: requests that were freed, builds that were cut off.
type Settled = Result<(Vec<u64>, Vec<u64>), No>;

impl Model {
    fn new() -> Model {
        let request = Plain { version: 1, ..Plain::default() };
        // Fence 1 was minted before the story begins, so that a late claim always has one to come with.
        Model {
            minted: 1,
            requests: (1..=REQUESTS).map(|id| (id, request.clone())).collect(),
            masters: [(1, 0), (2, 0)].into(),
            ..Model::default()
        }
    }

    fn holds(&self, id: u64, fence: u64) -> bool {
        self.requests
            .get(&id)
            .is_some_and(|row| !row.complete && row.held.is_some_and(|held| held.1 == fence))
    }

    fn claim(&mut self, master: u64, list: &[u64], fence: u64) -> Result<(), No> {
        for (i, id) in list.iter().enumerate() {
            let free = self.requests.get(id).is_some_and(|row| row.held.is_none() && !row.complete);
            if !free || list[..i].contains(id) {
                return Err(No::Taken);
            }
            if self.requests[id].newest >= fence {
                return Err(No::OldFence);
            }
        }
        for id in list {
            let row = self.requests.get_mut(id).unwrap();
            (row.held, row.newest) = (Some((master, fence, self.now)), fence);
        }
        Ok(())
    }

    fn write(&mut self, build: usize, what: What) -> Result<(), No> {
        let row = &self.builds[build];
        if row.requests.iter().any(|id| self.requests[id].newest != row.fence) {
            return Err(No::Stale);
        }
        match what {
            What::Append => self.builds[build].log += 1,
            What::End => self.builds[build].ended = Some(Outcome::Failure),
            What::Row => self.builds[build].ended = None,
            What::Step | What::Log | What::Added | What::Stop => {}
        }
        Ok(())
    }

    fn expire(&mut self, overdue: impl Fn(u64, u64) -> bool, fence: u64) -> Settled {
        let rows = self.requests.values().filter(|row| !row.complete).filter_map(|row| row.held);
        let claims: Vec<_> =
            rows.filter(|held| overdue(held.0, held.2)).map(|held| (held.0, held.1)).collect();
        let (mut freed, mut cut_off) = (Vec::new(), Vec::new());
        for (id, row) in &mut self.requests {
            if let Some((master, under, _)) = row.held
                && !row.complete
                && claims.contains(&(master, under))
            {
                (row.held, row.newest) = (None, fence);
                freed.push(*id);
                let ran = |build: &&mut PlainBuild| {
                    build.fence == under && build.ended.is_none() && build.requests.contains(id)
                };
                if let Some(build) = self.builds.iter_mut().find(ran) {
                    build.ended = Some(Outcome::Retry);
                    cut_off.push(build.fence);
                }
            }
        }
        cut_off.sort_unstable();
        Ok((freed, cut_off))
    }

    /// Does it, and says how it is written to the store.
    fn play(&mut self, op: &Op) -> Option<(Vec<Persist>, Settled)> {
        self.now += 1;
        let (now, at) = (self.now, Timestamp(self.now));
        let under = |minted: u64, back: u64| minted.saturating_sub(back).max(1);
        let nothing = |done: Result<(), No>| done.map(|()| (Vec::new(), Vec::new()));
        Some(match op {
            Op::Claim { master, requests } => {
                self.minted += 1;
                let (fence, master_id) = (self.minted, MasterId(*master));
                let claim =
                    Persist::Claim { requests: ids(requests), master: master_id, fence: Fence(fence), at };
                let done = self.claim(*master, requests, fence);
                if done.is_ok() {
                    let requests = requests.clone();
                    self.builds.push(PlainBuild { fence, requests, ended: None, log: 0 });
                }
                (vec![claim, build(fence, requests, fence)], nothing(done))
            }
            Op::ClaimLate { master, requests, back } => {
                let (fence, master_id) = (under(self.minted, *back), MasterId(*master));
                let claim =
                    Persist::Claim { requests: ids(requests), master: master_id, fence: Fence(fence), at };
                (vec![claim], nothing(self.claim(*master, requests, fence)))
            }
            Op::Renew { requests, back } => {
                let fence = under(self.minted, *back);
                let held = requests.iter().all(|id| self.holds(*id, fence));
                if held {
                    for id in requests {
                        let row = self.requests.get_mut(id).unwrap();
                        row.held = row.held.map(|held| (held.0, fence, now));
                    }
                }
                let renew = Persist::Renew { requests: ids(requests), fence: Fence(fence), at };
                (vec![renew], nothing(held.then_some(()).ok_or(No::NotHeld)))
            }
            Op::Release { requests, back } => {
                let fence = under(self.minted, *back);
                for id in requests {
                    if self.holds(*id, fence) {
                        self.requests.get_mut(id).unwrap().held = None;
                    }
                }
                (vec![Persist::Unclaim { requests: ids(requests), fence: Fence(fence) }], nothing(Ok(())))
            }
            Op::Complete { requests, back } => {
                let fence = under(self.minted, *back);
                let mut once = requests.clone();
                once.sort_unstable();
                once.dedup();
                let held = once.len() == requests.len() && requests.iter().all(|id| self.holds(*id, fence));
                if held {
                    requests.iter().for_each(|id| self.requests.get_mut(id).unwrap().complete = true);
                }
                (
                    vec![complete(requests, fence, Outcome::Success)],
                    nothing(held.then_some(()).ok_or(No::NotHeld)),
                )
            }
            Op::Write { build: place, what } => {
                let PlainBuild { fence, requests, log: length, .. } = self.builds.get(*place)?.clone();
                let batch = match what {
                    What::Step => vec![step(fence, fence, 0, fence)],
                    What::Log => vec![log(fence, fence, false, fence)],
                    What::Append => vec![append(fence, fence, fence, length, "x")],
                    What::Added => vec![step(fence, fence, 0, fence), added(fence, fence, fence)],
                    What::Stop => vec![stop(fence, true, None, "by ana", fence)],
                    What::Row => vec![build(fence, &requests, fence)],
                    What::End => vec![ended(fence, &requests, fence, Outcome::Failure)],
                };
                (batch, nothing(self.write(*place, *what)))
            }
            Op::Prioritize { requests, priority } => {
                let open = requests.iter().all(|id| self.requests.get(id).is_some_and(|row| !row.complete));
                for id in requests.iter().filter(|_| open) {
                    let row = self.requests.get_mut(id).unwrap();
                    row.version += u32::from(row.priority != *priority);
                    row.priority = *priority;
                }
                let set = Persist::SetPriority { requests: ids(requests), priority: *priority };
                (vec![set], nothing(open.then_some(()).ok_or(No::NotOpen)))
            }
            Op::Heartbeat { master } => {
                let heard = self.masters.get_mut(master).map(|heard| *heard = now).ok_or(No::UnknownMaster);
                (vec![Persist::Heartbeat { master: MasterId(*master), at }], nothing(heard))
            }
            Op::ExpireMaster { master, silent } => {
                self.minted += 1;
                let since = now.saturating_sub(*silent);
                let settled = match self.masters.get(master) {
                    None => Err(No::UnknownMaster),
                    Some(heard) if *heard > since => Err(No::Alive),
                    Some(_) => self.expire(|of, _| of == *master, self.minted),
                };
                let overdue = Overdue::Master { master: MasterId(*master), silent_since: Timestamp(since) };
                (vec![Persist::Expire { overdue, fence: Fence(self.minted), at }], settled)
            }
            Op::ExpireClaims { age } => {
                self.minted += 1;
                let before = now.saturating_sub(*age);
                let settled = self.expire(|_, since| since < before, self.minted);
                let overdue = Overdue::Claims { before: Timestamp(before) };
                (vec![Persist::Expire { overdue, fence: Fence(self.minted), at }], settled)
            }
            Op::Reopen => return None,
        })
    }

    fn pending(&self) -> Vec<u64> {
        let waits = self.requests.iter().filter(|(_, row)| row.held.is_none() && !row.complete);
        let mut turns: Vec<_> = waits.map(|(id, row)| (std::cmp::Reverse(row.priority), *id)).collect();
        turns.sort_unstable();
        turns.into_iter().map(|(_, id)| id).collect()
    }
}

fn seen(store: &Store) -> BTreeMap<u64, Plain> {
    let row = |id: u64| {
        let row = store.request(RequestId(id)).unwrap().unwrap();
        let held = row.claim.map(|claim| (claim.master.0, claim.fence.0, claim.at.0));
        let (complete, newest) = (row.complete.is_some(), row.last_fence.0);
        (id, Plain { held, complete, newest, priority: row.priority, version: row.version })
    };
    (1..=REQUESTS).map(row).collect()
}

fn settled(answer: Result<Committed, CommitError>) -> Settled {
    match answer {
        Ok(committed) => {
            let mut freed: Vec<u64> = committed.freed.iter().map(|id| id.0).collect();
            freed.sort_unstable();
            Ok((freed, committed.cut_off.iter().map(|id| id.0).collect()))
        }
        Err(CommitError::Refused(refusal)) => Err(kind(&refusal)),
        Err(other) => panic!("{other:?}"),
    }
}

fn begin(backend: &Backend, folder: &Path, runtime: &tokio::runtime::Runtime) -> Store {
    let store = open(backend.clone(), folder);
    let master = |id: u64| {
        let (id, name) = (MasterId(id), format!("m{id}"));
        Persist::PutMaster(Master { id, name, active: true, last_active: Timestamp(0) })
    };
    let first = vec![master(1), master(2), buildset(1, &(1..=REQUESTS).collect::<Vec<_>>())];
    runtime.block_on(store.commit(first)).unwrap();
    store
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn the_store_goes_where_a_plain_model_goes_and_refuses_every_straggler(
        ops in prop::collection::vec(op(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::default());
        let mut store = begin(&backend, folder.path(), &runtime);
        let mut model = Model::new();
        // Until the store is opened anew all is handed over without a wait, so that groups form.
        for stretch in ops.split_inclusive(|op| matches!(op, Op::Reopen)) {
            let mut answers = Vec::new();
            for op in stretch {
                if let Some((batch, meant)) = model.play(op) {
                    answers.push((op, meant, store.commit(batch)));
                }
            }
            for (op, meant, answer) in answers {
                prop_assert_eq!(settled(runtime.block_on(answer)), meant, "{:?}", op);
            }
            drop(store);
            store = open(backend.clone(), folder.path());
            prop_assert_eq!(&seen(&store), &model.requests);
            let pending = store.pending_after("check", None, usize::MAX).unwrap().rows;
            let pending: Vec<u64> = pending.iter().map(|(request, _)| request.id.0).collect();
            prop_assert_eq!(pending, model.pending());
            for build in &model.builds {
                let row = store.build(BuildId(build.fence)).unwrap().unwrap();
                prop_assert_eq!(row.complete.map(|complete| complete.outcome), build.ended);
            }
            prop_assert_eq!(store.verify().unwrap(), [""; 0]);
        }
    }
}
