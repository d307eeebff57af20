//! Records of decisions on their way into the store. The dispatcher never waits for them: they go along with the
//! next claim, which most of them led to, or after a moment by themselves.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::decision::Decision;
use windlass_core::id::{BuildId, DecisionId};
use windlass_core::persist::{Committed, Persist};
use windlass_store::{CommitError, Store};

/// Records that no claim takes along wait so long for others, so that a burst of them is one commit.
const PATIENCE: Duration = Duration::from_secs(1);

/// As many do not wait.
const MANY: usize = 256;

/// So many that have nothing to do with a claim go along with it: a build waits for its claim.
const COMPANY: usize = 16;

/// A commit that is in line.
pub(super) type Commit = Pin<Box<dyn Future<Output = Result<Committed, CommitError>> + Send>>;

/// Records that are not in the store's line yet, oldest first.
#[derive(Default)]
pub(super) struct Records {
    waiting: Vec<Arc<Decision>>,
    since: Option<Instant>,
}

impl Records {
    pub(super) fn add(&mut self, decision: Decision) {
        self.since.get_or_insert_with(Instant::now);
        self.waiting.push(Arc::new(decision));
    }

    /// Hands out those that a claim names, to go into its commit, and the oldest few of the others. Those that it
    /// names led to `build`.
    pub(super) fn go_along(&mut self, named: &[DecisionId], build: BuildId) -> Vec<Arc<Decision>> {
        let (mut company, mut along, mut stay) = (COMPANY, Vec::new(), Vec::new());
        for mut record in std::mem::take(&mut self.waiting) {
            if named.contains(&record.id) {
                Arc::make_mut(&mut record).build = Some(build);
                along.push(record);
            } else if company > 0 {
                company -= 1;
                along.push(record);
            } else {
                stay.push(record);
            }
        }
        self.since = self.since.filter(|_| !stay.is_empty());
        self.waiting = stay;
        along
    }

    /// The claim that took these along was refused: there is no such build, and they wait again.
    pub(super) fn come_back(&mut self, records: Vec<Arc<Decision>>, build: BuildId) {
        if records.is_empty() {
            return;
        }
        self.since.get_or_insert_with(Instant::now);
        self.waiting.extend(records.into_iter().map(|mut record| {
            if record.build == Some(build) {
                Arc::make_mut(&mut record).build = None;
            }
            record
        }));
    }

    /// When they have waited long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        let now = (self.waiting.len() >= MANY).then(Instant::now);
        now.or_else(|| Some(self.since? + PATIENCE))
    }

    /// Puts all that wait into the store's line. It is written even if nobody waits for it.
    pub(super) fn go(&mut self, store: &Store) -> Commit {
        Box::pin(store.commit(persist(&self.take())))
    }

    fn take(&mut self) -> Vec<Arc<Decision>> {
        self.since = None;
        std::mem::take(&mut self.waiting)
    }
}

/// What puts these into the store.
pub(super) fn persist(records: &[Arc<Decision>]) -> Vec<Persist> {
    records.iter().map(|record| Persist::AddDecision(Arc::clone(record))).collect()
}

#[cfg(test)]
mod tests {
    use windlass_core::decision::Done;
    use windlass_core::digest::Digest;
    use windlass_core::policy::Usage;
    use windlass_core::record::Component;
    use windlass_core::time::Timestamp;

    use super::*;

    fn decision(id: u64) -> Decision {
        let policy = Component { kind: "next-slave".into(), hook: "p:h".into(), digest: Digest::of(b"p") };
        Decision {
            id: DecisionId(id),
            at: Timestamp(id),
            asked: Timestamp(id),
            policy,
            args: String::new(),
            builder: None,
            requests: Vec::new(),
            workers: Vec::new(),
            builders: Vec::new(),
            lookups: Vec::new(),
            answer: None,
            done: Done::Stale,
            ignored: Vec::new(),
            fallback: None,
            usage: Usage::default(),
            build: None,
        }
    }

    #[tokio::test]
    async fn a_claim_takes_its_own_records_along_and_a_few_others() {
        let mut records = Records::default();
        (1..=200).for_each(|id| records.add(decision(id)));
        let due = records.due();
        let along = records.go_along(&[DecisionId(150), DecisionId(200)], BuildId(7));
        let ids: Vec<u64> = along.iter().map(|record| record.id.0).collect();
        assert_eq!(ids, (1..=COMPANY as u64).chain([150, 200]).collect::<Vec<_>>());
        let led: Vec<u64> = along.iter().filter(|r| r.build.is_some()).map(|r| r.id.0).collect();
        assert_eq!(led, [150, 200]);
        assert_eq!(
            (records.waiting.len(), records.due()),
            (200 - 18, due),
            "the others wait as long as before"
        );
    }
}
