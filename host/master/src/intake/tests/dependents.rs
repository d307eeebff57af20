//! Dependent schedulers: each end upstream is followed once, whatever happened in between.

use windlass_core::id::{BuildsetId, MasterId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::time::Timestamp;

use super::{Flow, Place, scheduler};

const DOWNSTREAM: &str =
    "[[schedulers]]\nname = 'd'\ntype = 'dependent'\nupstream = 's'\nbuilders = ['b2']\npriority = 3\n";

impl Flow {
    /// Brings all requests that wait to their end, and waits until the intake has thought about it.
    pub(super) async fn complete(&self, outcome: Outcome) {
        let requests: Vec<_> = self.store.pending_requests().unwrap().iter().map(|r| r.id).collect();
        let (fence, at) = (self.store.ids().next_fence(), Timestamp(5));
        let claim = Persist::Claim { requests: requests.clone(), master: MasterId(1), fence, at };
        self.store.commit(vec![claim, Persist::Complete { requests, fence, outcome, at }]).await.unwrap();
    }

    fn notes(&self) -> usize {
        self.store.states("scheduler/d").unwrap().len()
    }

    /// Waits until the intake has followed every end.
    pub(super) async fn followed(&self) {
        let began = std::time::Instant::now();
        while self.notes() > 0 {
            assert!(began.elapsed().as_secs() < 10, "an end is not followed");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn whose_upstream_ends_well_builds_its_source_further() {
    let place = Place::new();
    let repository = place.repository();
    repository.commit("one");
    let config = repository.poller("") + &scheduler("s", "'b1'", "") + DOWNSTREAM;
    let flow = place.start(&place.world(&config));
    flow.poll().await;
    for (outcome, follows) in [
        (Outcome::Success, true),
        (Outcome::Failure, false),
        (Outcome::Warnings, true),
        (Outcome::Exception, false),
        (Outcome::Cancelled, false),
    ] {
        repository.commit(&format!("to be a {outcome}"));
        flow.poll().await;
        assert_eq!(flow.told(), [format!("to be a {outcome}: b1: 1")]);
        flow.complete(outcome).await;
        flow.followed().await;
        // It is told what is durable, a little later.
        let pending = flow.store.pending_requests().unwrap();
        assert_eq!(pending.iter().map(|r| (r.builder.as_str(), r.priority)).collect::<Vec<_>>(), {
            if follows { vec![("b2", 3)] } else { Vec::new() }
        });
        flow.intake.wake().await;
        assert_eq!(flow.told().len(), usize::from(follows), "{outcome}");
        flow.complete(Outcome::Success).await;
    }
    let buildset = flow.store.buildset(BuildsetId(2)).unwrap().unwrap();
    assert_eq!(
        (buildset.submitter.as_str(), buildset.reason.as_str()),
        ("d", "scheduler d: s ended as success")
    );
    assert_eq!(buildset.stamps, flow.store.buildset(BuildsetId(1)).unwrap().unwrap().stamps);
    flow.stop().await;
}

#[tokio::test]
async fn what_ended_upstream_while_the_master_was_down_is_followed_once() {
    let place = Place::new();
    let schedulers = scheduler("s", "'b1'", "") + DOWNSTREAM;
    let (repository, world, flow) = place.seen(&schedulers, &["two", "three"]).await;
    flow.intake.shutdown().await;
    assert_eq!((flow.notes(), flow.told().len()), (2, 2));
    flow.complete(Outcome::Success).await;
    flow.stop().await;
    for told in [2, 0] {
        let flow = place.start(&world);
        flow.followed().await;
        flow.intake.wake().await;
        assert_eq!(flow.told().len(), told);
        flow.stop().await;
    }
    // Who depends on somebody else now has nothing to do with it.
    let flow = place.start(&world);
    repository.commit("four");
    flow.poll().await;
    let other = world.config.schedulers.len();
    assert_eq!((flow.notes(), other), (1, 2));
    let config = repository.poller("")
        + &scheduler("s", "'b1'", "")
        + &scheduler("t", "'b1'", "")
        + &DOWNSTREAM.replace("'s'", "'t'");
    flow.intake.configure(place.world(&config));
    flow.followed().await;
    flow.stop().await;
}

/// Symptom: a scheduler that was taken out of the configuration while the master was down, and put in again months
/// later, built what had waited for it. Cause: only a reconfig made state go. Cure: a start looks whose state there is.
#[tokio::test]
async fn a_scheduler_that_was_taken_out_while_the_master_was_down_forgets_too() {
    let place = Place::new();
    let repository = place.repository();
    repository.commit("one");
    let upstream = repository.poller("") + &scheduler("s", "'b1'", "");
    let waits = scheduler("w", "'b2'", "tree_stable_timer = 10");
    let all = place.world(&(upstream.clone() + DOWNSTREAM + &waits));
    let flow = place.start(&all);
    flow.poll().await;
    repository.commit("two");
    flow.poll().await;
    assert_eq!((flow.notes(), flow.store.states("scheduler/w").unwrap().len()), (1, 1));
    flow.stop().await;
    place.start(&place.world(&upstream)).stop().await;
    let flow = place.start(&all);
    flow.complete(Outcome::Success).await;
    flow.pass(10_000).await;
    flow.intake.wake().await;
    assert_eq!((flow.notes(), flow.told()), (0, Vec::new()));
    assert_eq!(flow.store.pending_requests().unwrap(), []);
    flow.stop().await;
}

/// The note of a buildset that comes between the swap and the moment in which the intake hears of it is the new
/// scheduler's, not the old one's.
#[tokio::test]
async fn a_dependent_scheduler_in_the_place_of_another_keeps_the_notes_that_it_has_already() {
    let place = Place::new();
    let up = "[[schedulers]]\nname = 'up'\ntype = 'force'\nbuilders = ['b1']\n";
    let flow =
        place.start(&place.world(&(up.to_owned() + &scheduler("s", "'b2'", "tree_stable_timer = 10"))));
    let put = |key: &str| Persist::PutState {
        owner: "scheduler/s".to_owned(),
        key: key.to_owned(),
        value: Some(Vec::new()),
    };
    flow.store.commit(vec![put("upstream/7"), put("waits/1")]).await.unwrap();
    let dependent = "[[schedulers]]\nname = 's'\ntype = 'dependent'\nupstream = 'up'\nbuilders = ['b2']\n";
    let world = place.world(&(up.to_owned() + dependent));
    // Buildset 7 is not there, so that its note goes as soon as somebody looks; the note shall be looked at.
    let mut schedulers = crate::scheduler::Schedulers::default();
    let forget = schedulers.configure(&world.config.schedulers, &flow.store).unwrap();
    let keys: Vec<_> = forget
        .iter()
        .map(|effect| match effect {
            Persist::PutState { key, value: None, .. } => key.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(keys, ["waits/1"]);
    flow.stop().await;
}
