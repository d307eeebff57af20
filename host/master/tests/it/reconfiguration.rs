//! Buildbot's own description of its reconfiguration, sentence by sentence: what of it holds here, and where ours is
//! better. What needs workers or signals stands in `tests/it/reconfiguration.rs`; the order of the parts in
//! `services.rs`; what a plan says of each kind of thing in the tests of `windlass-config`.

use std::process::Command;

use windlass_config::plan::{How, Why};
use windlass_master::{Handle, ReconfigError, view};

use crate::place::{Place, builder, config, force};

/// A repository in a place, with commits.
fn commit(place: &Place, repository: &str, subject: &str) -> String {
    let folder = place.path(repository);
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(&folder).args(["-c", "user.name=Ana", "-c", "user.email=ana@example.org"]);
        let output = command.args(["-c", "commit.gpgSign=false"]).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    if !folder.exists() {
        std::fs::create_dir(&folder).unwrap();
        git(&["init", "--quiet", "--initial-branch=main"]);
    }
    git(&["commit", "--quiet", "--allow-empty", "--message", subject]);
    folder.to_str().unwrap().to_owned()
}

fn poller(repository: &str, more: &str) -> String {
    format!("[[git_pollers]]\nname = 'p'\nrepository = '{repository}'\npoll_interval = '1h'\n{more}\n")
}

fn scheduler(kind: &str, more: &str) -> String {
    format!("[[schedulers]]\nname = 's'\ntype = '{kind}'\nbuilders = ['b1']\n{more}\n")
}

fn changes(master: &Handle) -> Vec<String> {
    master.changes(100).unwrap().into_iter().rev().map(|change| change.comments).collect()
}

/// The one thing of a plan, as how and why.
fn only(plan: &windlass_config::Plan) -> (How, &[Why]) {
    let [change] = &plan.changes[..] else { panic!("{plan:?}") };
    (change.how, &change.why)
}

/// "At most one reconfiguration at any time." Here a second one waits, since it may have been asked for what the first
/// did not see any more; a third is told that the second will see what it wants. None is lost, none piles up.
#[tokio::test]
async fn at_most_one_reconfiguration_takes_place_at_any_time() {
    let place = Place::new(&config(""));
    let master = place.start().await;
    place.write(&config(&builder("b2", "")));
    let asked: Vec<_> = (0..8)
        .map(|_| {
            let master = master.clone();
            tokio::spawn(async move { master.reconfig(false).await })
        })
        .collect();
    let (mut changed, mut same, mut busy) = (0, 0, 0);
    for answer in asked {
        match answer.await.unwrap() {
            Ok(done) if done.changed => changed += 1,
            Ok(_) => same += 1,
            Err(ReconfigError::Busy) => busy += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    // It is changed once; whoever came behind found nothing to do, or somebody who waits already.
    assert_eq!((changed, same + busy), (1, 7));
    assert_eq!((master.status().generation, master.status().builders.len()), (2, 2));
    master.shutdown().await;
}

/// "A reconfiguration is performed immediately at start-up", so that there is one way. Here a start, a reconfig and
/// `windlass check` read by the same lines, and refuse the same with the same words.
#[tokio::test]
async fn a_start_and_a_reconfig_find_the_same_faults() {
    let place = Place::new(&config(""));
    let master = place.start().await;
    std::fs::write(place.path("plugins/broken.wasm"), b"no").unwrap();
    let wrong = builder("b2", "nex_slave = 'x'") + &builder("b1", "steps = [{ use = 'shell-command' }]");
    place.write(&config(&wrong));
    let refused = master.reconfig(false).await.unwrap_err();
    let plan = master.reconfig(true).await.unwrap_err();
    master.shutdown().await;
    let start = place.try_start().await.unwrap_err();
    assert_eq!(refused.details(), start.details());
    assert_eq!(plan.details(), start.details());
    assert!(refused.details().len() == 2, "{:?}", refused.details());
}

/// "It is generally too late to roll back … errors may leave the master in an inconsistent state." Here there is no such
/// moment: with one thing wrong among many good ones none of them is done, whichever part they belong to.
#[tokio::test]
async fn nothing_is_ever_applied_in_part() {
    let place = Place::new(&config(&scheduler("force", "")));
    let master = place.start().await;
    let before = master.status();
    let repository = commit(&place, "r", "one");
    let good = "[[workers]]\nname = 'w2'\ntoken_hash = 'blake3:".to_owned()
        + &"1".repeat(64)
        + "'\n[locks.db]\nmax = 3\n"
        + &builder("b2", "")
        + &poller(&repository, "build_existing = true")
        + &scheduler("single-branch", "");
    // A slip that shows at the very end of all checks.
    place.write(&("title = 'Other'\n".to_owned() + &config(&good) + "[grants]\n'windlass:shell' = 3\n"));
    master.reconfig(false).await.unwrap_err();
    let after = master.status();
    let shown = |status: &view::Status| {
        let workers: Vec<_> = status.workers.iter().map(|w| w.name.clone()).collect();
        let builders: Vec<_> = status.builders.iter().map(|b| b.name.clone()).collect();
        let title = status.title.clone();
        (title, status.generation, workers, builders, status.locks.clone(), status.schedulers.clone())
    };
    assert_eq!(shown(&before), shown(&after));
    assert_eq!((after.pollers, changes(&master)), (Vec::new(), Vec::new()));
    master.force(force("b1")).await.unwrap();
    master.shutdown().await;
}

/// "Child services are reconfigured in order of decreasing priority." What comes of it: a change source, a scheduler, a
/// builder and its worker that come with one reconfig find each other, at the source's very first look.
#[tokio::test]
async fn what_comes_together_finds_each_other_at_once() {
    let place = Place::new(&config(""));
    let master = place.start().await;
    let repository = commit(&place, "r", "one");
    let new = builder("b2", "")
        + &poller(&repository, "build_existing = true")
        + &scheduler("single-branch", "").replace("['b1']", "['b1', 'b2']");
    place.write(&config(&new));
    master.reconfig(false).await.unwrap();
    // Its own first look may have been the one that took it in.
    master.poll_now("p").await.unwrap();
    let status = master.status_now().await;
    let pending: Vec<_> = status.builders.iter().map(|b| (b.name.as_str(), b.pending)).collect();
    assert_eq!(pending, [("b1", 1), ("b2", 1)]);
    master.shutdown().await;
}

/// Change sources: "compares the lists using equality, stops existing sources that are not in the new list, starts new
/// ones." So it is here. Buildbot's new one begins where its own memory says; ours goes on where the old one was, since
/// that is kept by name and repository, and a commit that comes meanwhile is neither lost nor taken twice.
#[tokio::test]
async fn change_sources_are_told_apart_by_equality() {
    let place = Place::new(&config(""));
    let repository = commit(&place, "r", "one");
    place.write(&config(&poller(&repository, "")));
    let master = place.start().await;
    master.poll_now("p").await.unwrap();
    let looked = master.status().pollers[0].last_poll;

    // Equal, though written otherwise: the same one, which does not even look.
    place.write(&config(&poller(&repository, "branches = []\nproject = ''")));
    assert!(!master.reconfig(false).await.unwrap().changed);
    assert_eq!(master.status().pollers[0].last_poll, looked);

    commit(&place, "r", "two");
    place.write(&config(&poller(&repository, "project = 'x'")));
    let done = master.reconfig(false).await.unwrap();
    assert_eq!(only(&done.plan), (How::Restarted, &[Why::Unequal][..]));
    master.poll_now("p").await.unwrap();
    assert_eq!(changes(&master), ["two"]);

    let other = commit(&place, "other", "first of another");
    place.write(&config(&poller(&other, "")));
    let done = master.reconfig(false).await.unwrap();
    assert!(done.plan.changes[0].effect.contains("its repository is another"), "{:?}", done.plan);
    master.poll_now("p").await.unwrap();
    commit(&place, "other", "second of another");
    master.poll_now("p").await.unwrap();
    assert_eq!(changes(&master), ["two", "second of another"]);

    place.write(&config(""));
    let done = master.reconfig(false).await.unwrap();
    assert_eq!(only(&done.plan), (How::Removed, &[Why::Gone][..]));
    assert_eq!(master.status().pollers, []);
    master.shutdown().await;
}

/// Change sources that "refer to global values" have to be told of them there. Here what is global stands in one place
/// that all look at: a policy for codebases that comes with a reconfig holds for the next change of a source that stays.
#[tokio::test]
async fn global_values_reach_sources_that_stay() {
    let place = Place::new(&config(""));
    let repository = commit(&place, "r", "one");
    place.write(&config(&poller(&repository, "")));
    let master = place.start().await;
    master.poll_now("p").await.unwrap();
    let policy = format!(
        "[policies]\ncodebase_generator = {{ use = 'by-repository', args = {{ repositories = {{ '{repository}' = 'app' }} }} }}\n"
    );
    place.write(&config(&(poller(&repository, "") + &policy)));
    let done = master.reconfig(false).await.unwrap_or_else(|e| panic!("{}", e.details().concat()));
    assert_eq!(only(&done.plan), (How::Added, &[Why::New][..]));
    commit(&place, "r", "two");
    master.poll_now("p").await.unwrap();
    assert_eq!(master.changes(1).unwrap()[0].codebase, "app");
    master.shutdown().await;
}

/// Schedulers "have names, so that it is known whether one has been added, removed, or changed". One that changed keeps
/// what waits in it and its timer, which in Buildbot begins anew.
#[tokio::test]
async fn schedulers_are_known_by_their_names() {
    let place = Place::new(&config(""));
    let repository = commit(&place, "r", "one");
    let waits = scheduler("single-branch", "tree_stable_timer = '1h'");
    place.write(&config(&(poller(&repository, "") + &waits)));
    let master = place.start().await;
    master.poll_now("p").await.unwrap();
    commit(&place, "r", "two");
    master.poll_now("p").await.unwrap();
    let (waiting, fires) = (master.status().schedulers[0].changes, master.status().schedulers[0].fires);
    assert_eq!((waiting, fires.is_some()), (1, true));

    let changed = waits.replace("'1h'", "'2h'").replace("['b1']", "['b1', 'b2']");
    let second = scheduler("force", "").replace("'s'", "'s2'");
    place.write(&config(&(builder("b2", "") + &poller(&repository, "") + &changed + &second)));
    let done = master.reconfig(false).await.unwrap();
    let hows: Vec<_> = done.plan.changes.iter().map(|c| (c.how, c.name.as_str())).collect();
    assert_eq!(hows, [(How::Added, "b2"), (How::Changed, "s"), (How::Added, "s2")]);
    // The intake hears of it in its turn.
    master.wake().await;
    let s = &master.status().schedulers[0];
    assert_eq!((s.changes, s.fires, s.builders.len()), (1, fires, 2));

    place.write(&config(&(poller(&repository, ""))));
    let done = master.reconfig(false).await.unwrap();
    let hows: Vec<_> = done.plan.changes.iter().map(|c| (c.how, c.name.as_str())).collect();
    assert_eq!(hows, [(How::Removed, "b2"), (How::Removed, "s"), (How::Removed, "s2")]);
    master.wake().await;
    assert_eq!(master.status().schedulers, []);
    master.shutdown().await;
}

/// "If … class names differ, then the old class will be stopped and the new class started", as from a nightly scheduler to
/// a periodic one of the same name. Nothing of the old one's is taken for the new one's.
#[tokio::test]
async fn a_scheduler_of_another_type_is_another_scheduler() {
    let place = Place::new(&config(""));
    let repository = commit(&place, "r", "one");
    let waits = poller(&repository, "") + &scheduler("single-branch", "tree_stable_timer = '1h'");
    place.write(&config(&waits));
    let master = place.start().await;
    master.poll_now("p").await.unwrap();
    commit(&place, "r", "two");
    master.poll_now("p").await.unwrap();
    assert_eq!(master.status().schedulers[0].changes, 1);

    place.write(&config(&(poller(&repository, "") + &scheduler("triggerable", ""))));
    let done = master.reconfig(false).await.unwrap();
    assert_eq!(only(&done.plan), (How::Restarted, &[Why::Type][..]));
    master.wake().await;
    let s = master.status().schedulers.remove(0);
    assert_eq!((s.kind.as_str(), s.changes, s.fires), ("triggerable", 0, None));

    // Nor is it there when the first one comes back.
    place.write(&config(&waits));
    master.reconfig(false).await.unwrap();
    master.wake().await;
    assert_eq!(master.status().schedulers[0].changes, 0);
    master.shutdown().await;
}

/// Custom subclasses: "implementation changes … will not be activated with a reconfig", the workaround being another name.
/// Here code is what it is by its bytes: it is activated under the same name, and each thing that uses it says so. And
/// what did not change is the same, while there each reading of the file makes new classes that differ from the old.
#[tokio::test]
async fn changed_code_under_an_unchanged_name_is_activated() {
    let place = Place::new(&config(&(builder("b2", "next_slave = 'mine'") + &builder("b3", ""))));
    place.drop_plugin("mine", "least-loaded");
    let uses = builder("b2", "next_slave = 'mine:least-loaded'") + &builder("b3", "");
    place.write(&config(&uses));
    let master = place.start().await;
    let policy = |master: &Handle| master.status().policies[0].digest.unwrap();
    let before = policy(&master);
    let same = master.reconfig(false).await.unwrap();
    assert!(!same.changed && same.plan.is_empty(), "{same:?}");

    // The same hook from other bytes.
    let path = place.path("plugins/mine.wasm");
    let mut bytes = std::fs::read(&path).unwrap();
    // A custom section without content, called `x`.
    bytes.extend([0, 2, 1, b'x']);
    std::fs::write(&path, bytes).unwrap();
    let plan = master.reconfig(true).await.unwrap().plan;
    let done = master.reconfig(false).await.unwrap();
    assert_eq!(plan, done.plan);
    let after = policy(&master);
    assert_ne!(before, after);
    let (how, why) = only(&done.plan);
    assert_eq!((how, done.plan.changes[0].name.as_str()), (How::Changed, "b2"));
    assert!(
        matches!(why, [Why::Component { hook, old, new, .. }] if hook == "mine:least-loaded" && (*old, *new) == (before, after)),
        "{why:?}"
    );
    master.shutdown().await;
}

/// Workers "are specified by name, so new and old configurations are compared by name". The links themselves are looked
/// at in `tests/it/reconfiguration.rs`.
#[tokio::test]
async fn workers_are_known_by_their_names() {
    let place = Place::new(&config(""));
    let master = place.start().await;
    let second = format!("[[workers]]\nname = 'w2'\ntoken_hash = 'blake3:{}'\n", "1".repeat(64));
    place.write(&config(&second));
    let done = master.reconfig(false).await.unwrap();
    assert_eq!(only(&done.plan), (How::Added, &[Why::New][..]));
    place.write(&config(&(second.clone() + "max_builds = 3\n")));
    let done = master.reconfig(false).await.unwrap();
    assert_eq!(only(&done.plan), (How::Changed, &[Why::Settings][..]));
    assert_eq!(master.status().workers[1].max_builds, Some(3));
    place.write(&config(&(second.replace(&"1".repeat(64), &"2".repeat(64)) + "max_builds = 3\n")));
    let done = master.reconfig(false).await.unwrap();
    assert_eq!(only(&done.plan), (How::Restarted, &[Why::Token][..]));
    place.write(&config(""));
    let done = master.reconfig(false).await.unwrap();
    assert_eq!(only(&done.plan), (How::Removed, &[Why::Gone][..]));
    master.shutdown().await;
}
