//! Schedulers: which changes become which buildsets, and when. The intake's task owns them.
//!
//! Everything here decides on values. What is decided becomes durable in one commit with what caused
//! it; only then is it [applied](Schedulers::apply), so that a commit that fails leaves no trace.

use windlass_config::config;
use windlass_core::change::Change;
use windlass_core::id::{BuildsetId, ChangeId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::request::Buildset;
use windlass_core::scheduler_state::{Key, OWNER};
use windlass_core::time::Timestamp;
use windlass_core::tree_timer::{self, TreeTimers};
use windlass_core::value::Value;
use windlass_store::{Ids, ReadError, Store};

use crate::dependents;
use crate::submission::{Order, Submission};
use crate::view;

/// The configured schedulers with what waits in them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schedulers {
    list: Vec<Scheduler>,
}

#[derive(Clone, Debug)]
struct Scheduler {
    config: config::Scheduler,
    timers: TreeTimers,
}

/// What follows from changes or from the time.
#[derive(Debug, Default)]
#[must_use = "a decision is to be committed, then applied"]
pub(crate) struct Decided {
    /// What has to be durable first.
    pub persist: Vec<Persist>,
    /// Buildsets, all in `persist` too.
    pub submissions: Vec<Submission>,
    waits: Vec<(usize, Change, Timestamp)>,
    done: Vec<(usize, Vec<ChangeId>)>,
}

impl Schedulers {
    /// Takes over these schedulers. Those that were there keep what waits in them, by name and type; new ones
    /// get what waited in them before a restart. What it returns removes the durable state of those
    /// that are gone, before a restart, too: changes that waited in them are theirs no longer, nor what depends on them.
    /// One of another type is another scheduler, and takes nothing over.
    pub fn configure(
        &mut self,
        configs: &[config::Scheduler],
        store: &Store,
    ) -> Result<Vec<Persist>, ReadError> {
        let (mut list, mut forget) = (Vec::with_capacity(configs.len()), Vec::new());
        for config in configs {
            let is_same = |s: &&Scheduler| {
                s.config.name == config.name && s.config.kind.as_str() == config.kind.as_str()
            };
            let timers = match self.list.iter().find(is_same) {
                Some(scheduler) => scheduler.timers.clone(),
                None => waiting(config, store, &mut forget)?,
            };
            list.push(Scheduler { config: config.clone(), timers });
        }
        for owner in store.state_owners(OWNER)? {
            let name = owner.strip_prefix(OWNER).unwrap_or_default();
            let kind = configs.iter().find(|config| config.name == name).map(|config| &config.kind);
            let gone = store.states(&owner)?.into_iter().filter(|(key, _)| !has(kind, key));
            forget.extend(gone.map(|(key, _)| Persist::PutState { owner: owner.clone(), key, value: None }));
        }
        self.list = list;
        Ok(forget)
    }

    /// What `changes`, numbered already, lead to.
    pub fn on_changes(&self, changes: &[Change], ids: &Ids, now: Timestamp) -> Decided {
        let mut decided = Decided::default();
        for (place, Scheduler { config, .. }) in self.list.iter().enumerate() {
            let (filter, stable_ms) = match &config.kind {
                config::SchedulerKind::SingleBranch { filter, tree_stable_ms } => (filter, *tree_stable_ms),
                config::SchedulerKind::Force
                | config::SchedulerKind::Triggerable
                | config::SchedulerKind::Dependent { .. } => continue,
            };
            for change in changes.iter().filter(|change| filter.matches(change)) {
                if stable_ms == 0 {
                    decided.submit(order(config, std::slice::from_ref(change)), self.configs(), ids, now);
                } else {
                    let fires = now.plus_ms(stable_ms);
                    decided.persist.push(put(&config.name, change.id, Some(fires)));
                    decided.waits.push((place, change.clone(), fires));
                }
            }
        }
        decided
    }

    /// What the time leads to: buildsets of changes that have waited long enough.
    pub fn on_time(&self, store: &Store, now: Timestamp) -> Result<Decided, ReadError> {
        let mut decided = Decided::default();
        for (place, Scheduler { config, timers }) in self.list.iter().enumerate() {
            for waited in timers.due(now) {
                let mut changes = Vec::new();
                for id in &waited {
                    changes.extend(unless_damaged(&config.name, store.change(*id))?);
                }
                decided.persist.extend(waited.iter().map(|id| put(&config.name, *id, None)));
                if !changes.is_empty() {
                    decided.submit(order(config, &changes), self.configs(), store.ids(), now);
                }
                decided.done.push((place, waited));
            }
        }
        Ok(decided)
    }

    /// What the end of a buildset leads to: those that depend on its scheduler build its source further.
    pub fn on_end(
        &self,
        id: BuildsetId,
        outcome: Outcome,
        store: &Store,
        now: Timestamp,
    ) -> Result<Decided, ReadError> {
        let mut decided = Decided::default();
        if !self.configs().any(|config| dependents::upstream(config).is_some()) {
            return Ok(decided);
        }
        let Some(buildset) = store.buildset(id)? else { return Ok(decided) };
        for config in self.configs() {
            if dependents::upstream(config) == Some(&buildset.submitter)
                && store.state(&dependents::owner(config), &dependents::key(id))?.is_some()
            {
                self.follow(config, &buildset, outcome, store.ids(), now, &mut decided);
            }
        }
        Ok(decided)
    }

    /// What followed from ends that nobody told: while the master was down, or too many at once.
    pub fn on_missed_ends(&self, store: &Store, now: Timestamp) -> Result<Decided, ReadError> {
        let mut decided = Decided::default();
        for config in self.configs() {
            let Some(upstream) = dependents::upstream(config) else { continue };
            for id in dependents::noted(store, config)? {
                match unless_damaged(&config.name, store.buildset(id))? {
                    Some(buildset) if buildset.submitter == upstream => {
                        if let Some(end) = buildset.complete {
                            self.follow(config, &buildset, end.outcome, store.ids(), now, &mut decided);
                        }
                    }
                    // It depended on another one once; or nobody can tell any more what was built.
                    Some(_) | None => decided.persist.push(dependents::note(config, id, false)),
                }
            }
        }
        Ok(decided)
    }

    fn follow(
        &self,
        config: &config::Scheduler,
        upstream: &Buildset,
        outcome: Outcome,
        ids: &Ids,
        now: Timestamp,
        decided: &mut Decided,
    ) {
        decided.persist.push(dependents::note(config, upstream.id, false));
        if let Some(order) = dependents::order(config, upstream, outcome) {
            decided.submit(order, self.configs(), ids, now);
        }
    }

    fn configs(&self) -> impl Iterator<Item = &config::Scheduler> {
        self.list.iter().map(|scheduler| &scheduler.config)
    }

    /// What was decided is durable now.
    pub fn apply(&mut self, waits: Applied) {
        for (place, change, fires) in waits.waits {
            self.list[place].timers.wait(&change, fires);
        }
        for (place, changes) in waits.done {
            self.list[place].timers.done(&changes);
        }
    }

    /// When the time leads to something next.
    pub fn next(&self) -> Option<Timestamp> {
        self.list.iter().filter_map(|s| s.timers.next()).min()
    }

    /// For people.
    pub fn status(&self) -> Vec<view::SchedulerStatus> {
        let one = |Scheduler { config, timers }: &Scheduler| view::SchedulerStatus {
            name: config.name.clone(),
            kind: config.kind.as_str().to_owned(),
            builders: config.builders.clone(),
            changes: timers.len(),
            fires: timers.next(),
        };
        self.list.iter().map(one).collect()
    }
}

/// The part of a decision that is left to apply once it is durable.
#[derive(Debug)]
pub(crate) struct Applied {
    waits: Vec<(usize, Change, Timestamp)>,
    done: Vec<(usize, Vec<ChangeId>)>,
}

impl Decided {
    fn submit<'a>(
        &mut self,
        order: Order,
        schedulers: impl Iterator<Item = &'a config::Scheduler>,
        ids: &Ids,
        now: Timestamp,
    ) {
        let submission = order.number(ids, now);
        self.persist.extend(submission.persist(schedulers));
        self.submissions.push(submission);
    }

    /// Whether nothing follows.
    pub fn is_empty(&self) -> bool {
        self.persist.is_empty()
    }

    /// Parts it: what to commit, what to announce after, what to apply after.
    pub fn split(self) -> (Vec<Persist>, Vec<Submission>, Applied) {
        (self.persist, self.submissions, Applied { waits: self.waits, done: self.done })
    }
}

fn order(config: &config::Scheduler, changes: &[Change]) -> Order {
    let mut properties = tree_timer::properties(changes);
    properties.extend(&config.properties);
    properties.set("scheduler", Value::Text(config.name.clone()), "Scheduler");
    let count = match changes.len() {
        1 => "1 change".to_owned(),
        n => format!("{n} changes"),
    };
    Order {
        builders: config.builders.clone(),
        submitter: config.name.clone(),
        reason: format!("scheduler {}: {count}", config.name),
        priority: config.priority,
        stamps: tree_timer::stamps(changes),
        properties,
        parent: None,
        waited_for: false,
    }
}

/// In whose name the state of a scheduler is kept.
pub(crate) fn owner(scheduler: &str) -> String {
    format!("{OWNER}{scheduler}")
}

fn put(scheduler: &str, change: ChangeId, fires: Option<Timestamp>) -> Persist {
    Persist::PutState {
        owner: owner(scheduler),
        key: Key::Waits(change).to_string(),
        value: fires.map(|t| t.0.to_string().into_bytes()),
    }
}

/// Whether a scheduler of this kind may have this key; none: there is no scheduler of the name any more. Keys that no
/// kind of this version knows are left alone. It goes by the key and not by who was there before, since the note of a
/// buildset that came a moment ago is the new one's.
fn has(kind: Option<&config::SchedulerKind>, key: &str) -> bool {
    use config::SchedulerKind::{Dependent, Force, SingleBranch, Triggerable};
    match (kind, Key::parse(key)) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(SingleBranch { .. }), Some(key)) => matches!(key, Key::Waits(_)),
        (Some(Dependent { .. }), Some(key)) => matches!(key, Key::Upstream(_)),
        (Some(Force | Triggerable), Some(_)) => false,
    }
}

/// What was read; none where the row is damaged, which costs one scheduler this one thing, and is said.
fn unless_damaged<T>(scheduler: &str, read: Result<Option<T>, ReadError>) -> Result<Option<T>, ReadError> {
    match read {
        Err(error) if error.is_damage() => {
            let error = windlass_core::text::chain(&error);
            tracing::error!(
                scheduler,
                error,
                "what it waited for cannot be read, and nothing follows from it"
            );
            Ok(None)
        }
        read => read,
    }
}

/// The changes that wait in a scheduler, by its state; `forget` gets what of it leads to nothing any more.
fn waiting(
    config: &config::Scheduler,
    store: &Store,
    forget: &mut Vec<Persist>,
) -> Result<TreeTimers, ReadError> {
    let (mut timers, scheduler) = (TreeTimers::default(), config.name.as_str());
    for (key, value) in store.states(&owner(scheduler))? {
        let id = match Key::parse(&key) {
            Some(Key::Waits(id)) if has(Some(&config.kind), &key) => Some(id),
            Some(Key::Waits(_) | Key::Upstream(_)) => continue,
            None => None,
        };
        let fires = std::str::from_utf8(&value).ok().and_then(|t| t.parse().ok()).map(Timestamp);
        let (Some(id), Some(fires)) = (id, fires) else {
            tracing::warn!(
                scheduler,
                key,
                "state of a scheduler that this version does not know; left alone"
            );
            continue;
        };
        match unless_damaged(scheduler, store.change(id))? {
            Some(change) => timers.wait(&change, fires),
            None => {
                tracing::warn!(scheduler, %id, "a change that waited is not in the store any more");
                forget.push(put(scheduler, id, None));
            }
        }
    }
    Ok(timers)
}
