//! After a restart: builds whose master was killed go on where they stood. Those that cannot are closed, and their
//! requests wait again.
//!
//! What each left is read first; [`decide`] says what becomes of it; then all is committed, each build by itself, before
//! any goes on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use windlass_core::build::{Build, Durable, ResumeError, Stands};
use windlass_core::builder::{Builder, StepSpec};
use windlass_core::claim::holder;
use windlass_core::digest::Digest;
use windlass_core::id::{Fence, MasterId, RequestId, StepId};
use windlass_core::persist::{Committed, Persist};
use windlass_core::record::{BuildRow, CutOff, LogRow, StepRow, StopRow};
use windlass_core::request::{Buildset, Request};
use windlass_core::schedule::TakenUp;
use windlass_core::text::chain;
use windlass_core::time::Timestamp;
use windlass_runtime::Runtime;
use windlass_runtime::registry::{Generation, revive};
use windlass_store::{CommitError, ReadError, Remains, Store};

use crate::start::blocking;
use crate::step_port::{Resumed, read_resumed};

/// What a build that was cut off says, before the reason.
const SUMMARY: &str = "the master restarted while this ran; it is built again";

/// Why what a former run left could not be put in order.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// It cannot be read.
    #[error("failed to read what the last run left")]
    Read(#[from] ReadError),
    /// It cannot be written.
    #[error("failed to put {what} of the last run in order")]
    Commit {
        /// A build, or requests.
        what: String,
        /// Why.
        #[source]
        source: CommitError,
    },
}

/// What became of what the last run left.
pub(crate) struct Recovered {
    /// Builds that go on.
    pub(crate) taken_up: Vec<TakeUp>,
    /// How many builds were closed.
    pub(crate) closed: usize,
    /// How many requests wait again.
    pub(crate) freed: usize,
}

/// A build that goes on.
pub(crate) struct TakeUp {
    pub(crate) build: Build,
    pub(crate) stands: Stands,
    /// Its plan.
    pub(crate) builder: Arc<Builder>,
    pub(crate) generation: Arc<Generation>,
    /// The order to stop it, or a step of it.
    pub(crate) stop: Option<StopRow>,
    /// What its running step did so far.
    pub(crate) resumed: Option<Resumed>,
    /// Those of its row, each with its buildset, in that order.
    pub(crate) requests: Vec<(Request, Buildset)>,
    /// Those of them that were taken out of it.
    pub(crate) detached: BTreeSet<RequestId>,
}

impl TakeUp {
    /// What it has of workers and locks.
    pub(crate) fn on_board(&self) -> TakenUp {
        let began = self.resumed.as_ref().is_some_and(Resumed::has_begun);
        let step = match &self.stands {
            Stands::Running(spec) if began && !spec.locks.is_empty() => {
                Some((spec.name.clone(), spec.locks.clone()))
            }
            Stands::New | Stands::Between | Stands::Running(_) => None,
        };
        let row = self.build.row();
        let served = self.requests.iter().filter(|(request, _)| !self.detached.contains(&request.id));
        let requests = served.cloned().map(|(request, set)| (request, Arc::new(set)));
        TakenUp {
            build: row.id,
            builder: Arc::clone(&self.builder),
            worker: row.worker.clone(),
            requests: requests.collect(),
            step,
        }
    }
}

/// Puts in order what `master` left: builds that can go on are handed out, others are closed and their requests given
/// back. `present` are the plugins of now.
pub(crate) async fn recover(
    store: &Store,
    runtime: &Runtime,
    present: &Arc<Generation>,
    master: MasterId,
    now: Timestamp,
) -> Result<Recovered, RecoveryError> {
    let found = {
        let (store, runtime, present) = (store.clone(), runtime.clone(), Arc::clone(present));
        blocking(move || find(&store, &runtime, &present, master)).await?
    };
    let Found { left, claimed } = found;
    let fences: Vec<_> = left.iter().map(|left| left.row.fence).collect();
    let (mut taken_up, mut commits) = (Vec::new(), Vec::new());
    for left in left {
        let (row, steps, logs) = (left.row.clone(), left.steps.clone(), left.logs.clone());
        match decide(left) {
            Ok(mut build) => {
                let (row, step) = (build.build.row(), build.build.step().map(|step| step.id));
                tracing::info!(build = %row.id, builder = row.builder, "takes up a build of the last run");
                // Counted before it goes on: one that ends the master each time is given up.
                let count =
                    build.resumed.as_mut().zip(step).map(|(resumed, step)| resumed.counted(row, step));
                if let Some(count) = count {
                    commits.push((row.id.to_string(), Done::default(), store.commit(vec![count])));
                }
                taken_up.push(build);
            }
            Err(why) => {
                let why = format!("{SUMMARY}: {}", chain(&why));
                tracing::warn!(build = %row.id, builder = row.builder, why, "closes a build of the last run");
                let held = held(&row, &claimed);
                let done = Done { closed: 1, freed: held.len() };
                let commit = store.commit(close(&row, steps, logs, &held, now, &why));
                commits.push((row.id.to_string(), done, commit));
            }
        }
    }
    let orphans: Vec<_> = orphans(&claimed, &fences).collect();
    if !orphans.is_empty() {
        let done = Done { closed: 0, freed: orphans.len() };
        commits.push(("requests without a build".to_owned(), done, store.commit(orphans)));
    }
    commits.push(("plans".to_owned(), Done::default(), store.commit(vec![Persist::TrimPlans])));
    let Done { closed, freed } = all_done(commits).await?;
    Ok(Recovered { taken_up, closed, freed })
}

/// What a commit does: so many builds are closed, and so many requests wait again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Done {
    closed: usize,
    freed: usize,
}

/// What was done once all of these commits are; each has its name.
async fn all_done<C>(commits: Vec<(String, Done, C)>) -> Result<Done, RecoveryError>
where
    C: Future<Output = Result<Committed, CommitError>>,
{
    let mut all = Done::default();
    for (what, Done { closed, freed }, commit) in commits {
        match commit.await {
            Ok(_) => all = Done { closed: all.closed + closed, freed: all.freed + freed },
            // Its requests are another's by now: its row is what the other makes of it.
            Err(CommitError::Refused(refusal)) => tracing::error!(what, %refusal, "left as it is"),
            Err(CommitError::Storage(error)) if error.is_damage() => {
                tracing::error!(what, %error, "left as it is");
            }
            Err(source) => return Err(RecoveryError::Commit { what, source }),
        }
    }
    Ok(all)
}

/// What the last run left.
struct Found {
    left: Vec<Left>,
    /// Requests that it held.
    claimed: Vec<Request>,
}

/// What it left of one build.
struct Left {
    row: BuildRow,
    steps: Vec<StepRow>,
    logs: Vec<LogRow>,
    /// What of it cannot be read.
    damage: Damage,
    added: BTreeMap<StepId, Vec<StepSpec>>,
    stop: Option<StopRow>,
    plan: Option<Builder>,
    /// Its requests, as far as they are held under its fence or were taken out of it, each with its buildset.
    requests: Vec<(Request, Buildset)>,
    /// Its plugins; or why they cannot be had.
    generation: Result<Arc<Generation>, String>,
    /// What its running step did, if one runs; or why that cannot be gone on with.
    resumed: Result<Option<Resumed>, String>,
}

/// What of a build cannot be read: it ends for that, and no other one does.
#[derive(Default)]
struct Damage(Vec<ReadError>);

impl Damage {
    /// What was read; nothing where it is damaged.
    fn read<T: Default>(&mut self, read: Result<T, ReadError>) -> Result<T, ReadError> {
        match read {
            Err(error) if error.is_damage() => {
                self.0.push(error);
                Ok(T::default())
            }
            read => read,
        }
    }
}

/// Why a build cannot go on.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("{0}")]
    Damaged(String),
    #[error("the version that began it kept no plan of it")]
    NoPlan,
    #[error("its plan is gone")]
    PlanGone,
    #[error("it does not hold its requests any more")]
    ClaimLost,
    #[error("{0}")]
    Plugins(String),
    #[error("{0}")]
    Step(String),
    #[error(transparent)]
    Rows(#[from] ResumeError),
}

/// Reads what `master` left. Blocks.
fn find(
    store: &Store,
    runtime: &Runtime,
    present: &Arc<Generation>,
    master: MasterId,
) -> Result<Found, ReadError> {
    let claimed = store.claimed_requests(master)?;
    let by_id = claimed.iter().map(|request| (request.id, request)).collect();
    let mut plugins = Plugins { store, runtime, present, known: BTreeMap::new() };
    let mut left = Vec::new();
    for mut remains in store.remains(&claimed)? {
        let mut requests = Vec::new();
        for id in std::mem::take(&mut remains.row.requests) {
            match store.request(id) {
                // It stays as it is; the build can be ended without it.
                Err(error) if error.is_damage() => remains.damage.push(error),
                request => {
                    remains.row.requests.push(id);
                    requests.extend(request?);
                }
            }
        }
        if is_ours(&requests, &remains.row, master) {
            left.push(look(store, remains, &by_id, &mut plugins)?);
        }
    }
    Ok(Found { left, claimed })
}

fn look(
    store: &Store,
    remains: Remains,
    claimed: &HashMap<RequestId, &Request>,
    plugins: &mut Plugins<'_>,
) -> Result<Left, ReadError> {
    let Remains { mut row, mut steps, logs, damage } = remains;
    let mut damage = Damage(damage);
    let plan = match &row.plan {
        Some(plan) => damage.read(store.plan(plan))?,
        None => None,
    };
    let mut requests = Vec::new();
    for id in &row.requests {
        let held = claimed.get(id).filter(|request| is_under(request, &row)).map(|held| (*held).clone());
        let request = match held {
            Some(held) => Some(held),
            None => store.request(*id)?.filter(|request| was_taken_out(request, &row)),
        };
        if let Some(request) = request
            && let Some(buildset) = damage.read(store.buildset(request.buildset))?
        {
            requests.push((request, buildset));
        }
    }
    // Without a plan nothing goes on, and nothing has to be loaded for it.
    let generation = match plan {
        Some(_) => plugins.of(&row),
        None => Err(String::new()),
    };
    let resumed = match steps.iter_mut().find(|step| step.complete.is_none()) {
        Some(step) => read_resumed(store, &mut row, step, &logs).map(Some).map_err(|error| chain(&error)),
        None => Ok(None),
    };
    let added = damage.read(store.added_steps(row.id))?;
    let stop = damage.read(store.stop_order(row.id))?;
    Ok(Left { row, steps, logs, damage, added, stop, plan, requests, generation, resumed })
}

/// What becomes of a build.
fn decide(left: Left) -> Result<TakeUp, Why> {
    let Left { row, steps, logs: _, damage, added, stop, plan, requests, generation, resumed } = left;
    if !damage.0.is_empty() {
        let said: Vec<_> = damage.0.iter().map(|error| chain(error)).collect();
        return Err(Why::Damaged(said.join("; ")));
    }
    let plan = plan.ok_or(if row.plan.is_some() { Why::PlanGone } else { Why::NoPlan })?;
    if requests.len() != row.requests.len() {
        return Err(Why::ClaimLost);
    }
    let generation = generation.map_err(Why::Plugins)?;
    let resumed = resumed.map_err(Why::Step)?;
    let durable = Durable { row, steps, added, stop: stop.clone() };
    let (build, stands) = Build::resume(durable, &plan.steps)?;
    let ended = requests.iter().map(|(request, _)| request).filter(|request| request.complete.is_some());
    let detached = ended.map(|request| request.id).collect();
    Ok(TakeUp { build, stands, builder: Arc::new(plan), generation, stop, resumed, requests, detached })
}

/// The generations of builds, each made once.
struct Plugins<'a> {
    store: &'a Store,
    runtime: &'a Runtime,
    present: &'a Arc<Generation>,
    known: BTreeMap<BTreeMap<String, Digest>, Result<Arc<Generation>, String>>,
}

impl Plugins<'_> {
    fn of(&mut self, row: &BuildRow) -> Result<Arc<Generation>, String> {
        if let Some(known) = self.known.get(&row.plugins) {
            return known.clone();
        }
        let made = if row.plugins == self.present.digests() {
            Ok(Arc::clone(self.present))
        } else {
            let bytes = |digest: &Digest| self.store.cas().get(digest);
            revive(self.runtime, self.present, row.generation, &row.plugins, bytes)
                .map(Arc::new)
                .map_err(|error| chain(&error))
        };
        self.known.insert(row.plugins.clone(), made.clone());
        made
    }
}

/// Whether no other master holds a request of this build under its fence.
fn is_ours(requests: &[Request], row: &BuildRow, master: MasterId) -> bool {
    let mut holders = requests.iter().filter_map(holder);
    holders.all(|claim| claim.master == master || claim.fence != row.fence)
}

fn is_under(request: &Request, row: &BuildRow) -> bool {
    request.claim.is_some_and(|claim| claim.fence == row.fence)
}

/// Whether a request of this running build was taken out of it: it ended by itself, under the build's fence.
fn was_taken_out(request: &Request, row: &BuildRow) -> bool {
    request.complete.is_some() && request.last_fence == row.fence
}

/// The requests that a build holds.
fn held(row: &BuildRow, claimed: &[Request]) -> Vec<RequestId> {
    claimed.iter().filter(|request| is_under(request, row)).map(|request| request.id).collect()
}

/// The commit that closes a build: itself, which says whose all else is, its logs and its running steps; then its requests
/// are given back, as far as they are still held under its fence.
fn close(
    row: &BuildRow,
    steps: Vec<StepRow>,
    logs: Vec<LogRow>,
    held: &[RequestId],
    now: Timestamp,
    why: &str,
) -> Vec<Persist> {
    let fence = row.fence;
    let CutOff { build, steps, logs } = CutOff::new(row.clone(), steps, logs, now, why);
    let logs = logs.into_iter().map(|log| Persist::PutLog { fence, log });
    let steps = steps.into_iter().map(|step| Persist::PutStep { fence, step });
    let free = Persist::Unclaim { requests: held.to_vec(), fence };
    [Persist::PutBuild(build)].into_iter().chain(logs).chain(steps).chain([free]).collect()
}

/// Gives back requests that are held under a fence that no running build has.
fn orphans<'a>(claimed: &'a [Request], fences: &'a [Fence]) -> impl Iterator<Item = Persist> + 'a {
    let lone = claimed.iter().filter_map(|request| Some((request.id, request.claim?.fence)));
    let lone = lone.filter(|(_, fence)| !fences.contains(fence));
    lone.map(|(id, fence)| Persist::Unclaim { requests: vec![id], fence })
}

#[cfg(test)]
mod tests {
    use windlass_core::id::{BuildId, BuildsetId};
    use windlass_core::outcome::Outcome;
    use windlass_core::persist::Refusal;
    use windlass_core::request::{Claim, Completed};

    use super::*;
    use crate::build_driver::tests::row;

    /// A build of two steps, of which the first has ended.
    fn left() -> Left {
        let steps = ["first", "second"].map(|name| StepSpec::new(name, "windlass:shell-command"));
        let plan = Builder { steps: steps.to_vec(), ..Builder::bare("unit", &["w1"]) };
        let row = BuildRow { plan: Some(plan.digest()), ..row() };
        let hook = "windlass:shell-command".to_owned();
        let done = StepRow {
            complete: Some(Completed { outcome: Outcome::Success, at: Timestamp(2) }),
            ..StepRow::begun(
                StepId(1),
                BuildId(1),
                0,
                "first".to_owned(),
                hook,
                Digest::of(b""),
                Timestamp(1),
            )
        };
        let claim = Claim { master: MasterId(1), fence: Fence(1), at: Timestamp(1) };
        let request = Request::new(RequestId(1), BuildsetId(1), "unit".to_owned(), Timestamp(0));
        let buildset = Buildset {
            id: BuildsetId(1),
            reason: String::new(),
            submitter: String::new(),
            stamps: Vec::new(),
            properties: windlass_core::properties::Properties::default(),
            submitted: Timestamp(0),
            requests: vec![RequestId(1)],
            complete: None,
            parent: None,
        };
        Left {
            row,
            steps: vec![done],
            logs: Vec::new(),
            damage: Damage::default(),
            added: BTreeMap::new(),
            stop: None,
            plan: Some(plan),
            requests: vec![(Request { claim: Some(claim), ..request }, buildset)],
            generation: Ok(Arc::new(Generation::new(1, Vec::new()))),
            resumed: Ok(None),
        }
    }

    /// Symptom: more builds were said to be closed, and more requests to wait again, than were. Cause: they were counted before
    /// the commits, some of which are refused. Cure: what was committed counts.
    #[tokio::test]
    async fn what_is_left_as_it_is_does_not_count_as_done() {
        let refused = CommitError::Refused(Refusal::UnknownBuild(BuildId(2)));
        let (key, why) = ("3".to_owned(), "it is empty".to_owned());
        let damaged = CommitError::Storage(ReadError::Row { table: "held", key, why });
        let commits = |ends: [Result<Committed, CommitError>; 3]| {
            let one = |end| ("a build".to_owned(), Done { closed: 1, freed: 2 }, std::future::ready(end));
            ends.map(one).into()
        };
        let done = || Ok(Committed::default());
        let all = all_done(commits([done(), Err(refused), done()])).await.unwrap();
        assert_eq!(all, Done { closed: 2, freed: 4 });
        let all = all_done(commits([Err(damaged.clone()), done(), Err(damaged)])).await.unwrap();
        assert_eq!(all, Done { closed: 1, freed: 2 });
        assert!(all_done(commits([done(), Err(CommitError::Closed), done()])).await.is_err());
    }

    #[test]
    fn a_build_goes_on_only_with_its_plan_its_requests_its_plugins_and_its_step() {
        let why = |change: fn(&mut Left)| {
            let mut left = left();
            change(&mut left);
            decide(left).map(|taken| taken.stands).map_err(|why| why.to_string())
        };
        let refused = |text: &str| Err(text.to_owned());
        type Case = (fn(&mut Left), Result<Stands, String>);
        let cases: [Case; 10] = [
            (|_| {}, Ok(Stands::Between)),
            (|left| left.steps.clear(), Ok(Stands::New)),
            (
                |left| left.steps[0].complete = None,
                Ok(Stands::Running(StepSpec::new("first", "windlass:shell-command"))),
            ),
            (
                |left| (left.plan, left.row.plan) = (None, None),
                refused("the version that began it kept no plan of it"),
            ),
            (|left| left.plan = None, refused("its plan is gone")),
            (
                |left| {
                    let (key, why) = ("1".to_owned(), "it is empty".to_owned());
                    let damage = ReadError::Row { table: "stops", key, why };
                    assert_eq!(left.damage.read(Err::<u64, _>(damage)).ok(), Some(0));
                },
                refused("the row 1 of table `stops` is damaged: it is empty"),
            ),
            (|left| left.requests.clear(), refused("it does not hold its requests any more")),
            (|left| left.generation = Err("`p` is gone".to_owned()), refused("`p` is gone")),
            (|left| left.resumed = Err("it reached out".to_owned()), refused("it reached out")),
            (
                |left| left.steps[0].name = "third".to_owned(),
                refused("its plan has no step `third` at that place"),
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(why(change), expected);
        }
    }
}
