//! From commits in a real repository to requests in a real store, by a clock that is set by hand.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use windlass_config::{Catalog, HookFacts};
use windlass_core::change::Change;
use windlass_core::id::ChangeId;
use windlass_core::persist::Persist;
use windlass_core::policy::HookKind;
use windlass_core::properties::Properties;
use windlass_core::request::{Buildset, Request};
use windlass_core::time::Timestamp;
use windlass_runtime::Runtime;
use windlass_runtime::registry::Generation;
use windlass_store::Store;

use super::{Batch, Intake, Parts};
use crate::PollError;
use crate::clock::ManualClock;
use crate::events::Events;
use crate::fatal::Fatal;
use crate::git_poller::{self, Pollers};
use crate::submission::Submit;
use crate::world::World;

mod damage;
mod dependents;

/// A change of which nothing matters but its number and who made it.
pub(crate) fn change(id: u64, author: &str) -> Change {
    Change {
        id: ChangeId(id),
        author: author.to_owned(),
        committer: None,
        comments: String::new(),
        codebase: String::new(),
        project: String::new(),
        repository: "r".to_owned(),
        branch: None,
        revision: None,
        category: None,
        revlink: None,
        files: Vec::new(),
        when: Timestamp(id),
        properties: Properties::default(),
    }
}

/// What the dispatcher would be told.
#[derive(Default)]
struct Told(Mutex<Vec<(Buildset, Vec<Request>)>>);

impl Submit for Told {
    fn submitted(&self, buildset: Buildset, requests: Vec<Request>) {
        self.0.lock().unwrap().push((buildset, requests));
    }
}

struct NoHooks;

impl Catalog for NoHooks {
    fn hook(&self, kind: HookKind, name: &str) -> Result<HookFacts, String> {
        Err(format!("no plugin offers a {kind} called `{name}`"))
    }
}

/// A master's intake over a directory that outlives it.
struct Flow {
    store: Store,
    intake: Intake,
    pollers: Pollers,
    clock: Arc<ManualClock>,
    told: Arc<Told>,
}

struct Place {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Place {
        Place {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::new(Timestamp(1_000_000))),
        }
    }

    fn repository(&self) -> Repository {
        let folder = self.folder.path().join("source");
        std::fs::create_dir_all(&folder).unwrap();
        let repository = Repository(folder);
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    fn world(&self, pollers_and_schedulers: &str) -> Arc<World> {
        let text = format!(
            "[[builders]]\nname = 'b1'\nworkers = 'w1'\n[[builders]]\nname = 'b2'\nworkers = 'w1'\n[[workers]]\nname = 'w1'\ntoken_hash = 'blake3:{}'\n{pollers_and_schedulers}",
            "0".repeat(64)
        );
        let config = windlass_config::load_master(Path::new("master.toml"), &text, &NoHooks);
        let config = config.unwrap_or_else(|errors| panic!("{}", errors.render()));
        Arc::new(World { config: Arc::new(config), generation: Arc::new(Generation::new(1, Vec::new())) })
    }

    fn start(&self, world: &Arc<World>) -> Flow {
        let store = open(&self.folder.path().join("state"));
        let cache = self.folder.path().join("cache");
        let told = Arc::new(Told::default());
        let intake = Intake::spawn(Parts {
            store: store.clone(),
            runtime: Runtime::new(windlass_runtime::Options::new(cache)).unwrap(),
            submit: Arc::clone(&told) as Arc<dyn Submit>,
            clock: Arc::clone(&self.clock) as Arc<dyn crate::clock::Clock>,
            events: Events::default(),
            fatal: Fatal::default(),
            world: Arc::clone(world),
        })
        .unwrap();
        let pollers = Pollers::new(git_poller::Parts {
            store: store.clone(),
            intake: intake.clone(),
            clock: Arc::clone(&self.clock) as Arc<dyn crate::clock::Clock>,
            folder: self.folder.path().join("pollers"),
        });
        pollers.configure(&world.config.git_pollers);
        Flow { store, intake, pollers, clock: Arc::clone(&self.clock), told }
    }

    /// A master with these schedulers that has seen these commits of a repository, one at a time.
    async fn seen(&self, schedulers: &str, commits: &[&str]) -> (Repository, Arc<World>, Flow) {
        let repository = self.repository();
        repository.commit("one");
        let world = self.world(&(repository.poller("") + schedulers));
        let flow = self.start(&world);
        flow.poll().await;
        for subject in commits {
            repository.commit(subject);
            flow.poll().await;
        }
        (repository, world, flow)
    }
}

/// Opens the store, once whoever had it has let go: a child that is just being started holds a copy of its lock for
/// a moment. Seen once on a busy machine, as `InUse` right after a stop.
fn open(folder: &Path) -> Store {
    let began = std::time::Instant::now();
    loop {
        match Store::open(folder, windlass_store::Options::default()) {
            Err(windlass_store::OpenError::InUse { .. }) if began.elapsed().as_secs() < 60 => {
                std::thread::park_timeout(std::time::Duration::from_millis(10));
            }
            opened => return opened.unwrap(),
        }
    }
}

impl Flow {
    async fn poll(&self) -> usize {
        self.pollers.poll_now("p").await.unwrap()
    }

    async fn pass(&self, ms: u64) {
        self.clock.advance_ms(ms);
        self.intake.wake().await;
    }

    async fn stop(self) {
        self.pollers.shutdown().await;
        self.intake.shutdown().await;
        self.store.close();
        // Tasks that were cancelled let go of the store at their next turn.
        drop(self);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// Each buildset as `revision's subject of the newest change: builders: how many changes`.
    fn told(&self) -> Vec<String> {
        let one = |(buildset, requests): (Buildset, Vec<Request>)| {
            let stamp = &buildset.stamps[0];
            let newest = self.store.change(*stamp.changes.last().unwrap()).unwrap().unwrap();
            assert_eq!(newest.revision, stamp.revision);
            let builders: Vec<_> = requests.iter().map(|r| r.builder.as_str()).collect();
            format!("{}: {}: {}", newest.comments, builders.join(","), stamp.changes.len())
        };
        std::mem::take(&mut *self.told.0.lock().unwrap()).into_iter().map(one).collect()
    }

    fn changes(&self) -> Vec<String> {
        let one = |c: Change| format!("{} {}", c.branch.unwrap(), c.comments);
        self.store.changes(100).unwrap().into_iter().rev().map(one).collect()
    }
}

struct Repository(PathBuf);

impl Repository {
    fn git(&self, args: &[&str]) {
        let mut command = Command::new("git");
        command.current_dir(&self.0).args(["-c", "user.name=Ana", "-c", "user.email=ana@example.org"]);
        let output = command.args(["-c", "commit.gpgSign=false"]).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(&self, subject: &str) {
        std::fs::write(self.0.join(subject.replace(' ', "-")), subject).unwrap();
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message", subject]);
    }

    fn poller(&self, more: &str) -> String {
        format!(
            "[[git_pollers]]\nname = 'p'\nrepository = '{}'\npoll_interval = '1h'\n{more}\n",
            self.0.display()
        )
    }
}

fn scheduler(name: &str, builders: &str, more: &str) -> String {
    format!("[[schedulers]]\nname = '{name}'\ntype = 'single-branch'\nbuilders = [{builders}]\n{more}\n")
}

#[tokio::test]
async fn commits_become_one_buildset_once_the_tree_is_stable() {
    let place = Place::new();
    let repository = place.repository();
    repository.commit("one");
    let config = repository.poller("") + &scheduler("s", "'b1', 'b2'", "tree_stable_timer = 10");
    let flow = place.start(&place.world(&config));
    assert_eq!(flow.poll().await, 0, "what is there at the first look is not new");
    repository.commit("two");
    repository.commit("three");
    assert_eq!(flow.poll().await, 2);
    assert_eq!(flow.changes(), ["main two", "main three"]);
    flow.pass(9_999).await;
    assert_eq!(flow.told(), [""; 0]);
    repository.commit("four");
    assert_eq!(flow.poll().await, 1, "a change puts the timer off");
    flow.pass(9_999).await;
    assert_eq!(flow.told(), [""; 0]);
    flow.pass(1).await;
    assert_eq!(flow.told(), ["four: b1,b2: 3"]);
    assert_eq!(flow.store.pending_requests().unwrap().len(), 2);
    flow.pass(60_000).await;
    assert_eq!(flow.told(), [""; 0]);
    flow.stop().await;
}

#[tokio::test]
async fn a_change_has_its_author_its_files_and_where_it_came_from() {
    let place = Place::new();
    let repository = place.repository();
    repository.commit("one");
    let flow =
        place.start(&place.world(&repository.poller("build_existing = true\nproject = 'x'\ncategory = 'c'")));
    // The poller's own first look may have been the one that took it in.
    flow.poll().await;
    let change = flow.store.changes(1).unwrap().remove(0);
    assert_eq!(change.author, "Ana <ana@example.org>");
    assert_eq!((change.comments.as_str(), change.files.as_slice()), ("one", &["one".to_owned()][..]));
    assert_eq!((change.project.as_str(), change.category.as_deref()), ("x", Some("c")));
    assert_eq!(change.repository, repository.0.display().to_string());
    assert_eq!(change.revision.unwrap().len(), 40);
    assert!(change.when.0 > 1_600_000_000_000);
    flow.stop().await;
}

#[tokio::test]
async fn what_waits_for_the_timer_survives_a_restart_and_fires_once() {
    let place = Place::new();
    let repository = place.repository();
    repository.commit("one");
    let world = place.world(&(repository.poller("") + &scheduler("s", "'b1'", "tree_stable_timer = 10")));
    let flow = place.start(&world);
    flow.poll().await;
    repository.commit("two");
    flow.poll().await;
    flow.stop().await;

    let flow = place.start(&world);
    repository.commit("three");
    assert_eq!(flow.poll().await, 1, "the place of the poller survived too");
    assert_eq!(flow.intake.schedulers()[0].changes, 2);
    flow.pass(10_000).await;
    assert_eq!(flow.told(), ["three: b1: 2"]);
    flow.stop().await;

    let flow = place.start(&world);
    flow.pass(60_000).await;
    assert_eq!(flow.told(), [""; 0]);
    assert_eq!(flow.store.pending_requests().unwrap().len(), 1);
    assert_eq!(flow.changes(), ["main two", "main three"]);
    flow.stop().await;
}

#[tokio::test]
async fn without_a_timer_each_change_that_passes_the_filter_makes_its_own_buildset() {
    let place = Place::new();
    let repository = place.repository();
    repository.commit("one");
    repository.git(&["branch", "dev"]);
    let config = repository.poller("branches = ['main', 'dev']")
        + &scheduler("s", "'b1'", "change_filter = { branch = 'main' }")
        + &scheduler("d", "'b2'", "change_filter = { branch = 'dev' }");
    let flow = place.start(&place.world(&config));
    flow.poll().await;
    repository.commit("two");
    repository.commit("three");
    repository.git(&["checkout", "--quiet", "dev"]);
    repository.commit("four");
    assert_eq!(flow.poll().await, 3);
    let mut told = flow.told();
    told.sort();
    assert_eq!(told, ["four: b2: 1", "three: b1: 1", "two: b1: 1"]);
    repository.git(&["checkout", "--quiet", "main"]);
    repository.git(&["merge", "--quiet", "--no-ff", "--message", "merge", "dev"]);
    assert_eq!(flow.poll().await, 1, "a merge is one change of the branch that it is on");
    assert_eq!(flow.told(), ["merge: b1: 1"]);
    flow.stop().await;
}

#[tokio::test]
async fn a_branch_that_was_set_back_and_one_that_is_new_are_news() {
    let place = Place::new();
    let repository = place.repository();
    repository.commit("one");
    repository.commit("two");
    let world = place.world(&repository.poller(""));
    let flow = place.start(&world);
    flow.poll().await;
    repository.git(&["reset", "--quiet", "--hard", "HEAD~"]);
    assert_eq!(flow.poll().await, 1);
    repository.commit("three");
    assert_eq!(flow.poll().await, 1);
    assert_eq!(flow.changes(), ["main one", "main three"]);

    repository.git(&["branch", "dev/x"]);
    let both = place.world(&repository.poller("branches = ['main', 'dev/x']"));
    flow.pollers.configure(&both.config.git_pollers);
    flow.poll().await;
    assert_eq!(flow.changes(), ["main one", "main three", "dev/x three"]);
    flow.stop().await;
}

#[tokio::test]
async fn a_poller_that_fails_says_why_and_goes_on() {
    let place = Place::new();
    let repository = place.repository();
    let flow = place.start(&place.world(&repository.poller("branches = ['main', 'gone']")));
    let error = flow.pollers.poll_now("p").await.unwrap_err().to_string();
    assert!(error.contains("no branch `main`, `gone`"), "{error}");
    repository.commit("one");
    let error = flow.pollers.poll_now("p").await.unwrap_err().to_string();
    assert!(error.contains("no branch `gone`") && !error.contains("main"), "{error}");
    assert!(flow.pollers.status()[0].error.as_ref().unwrap().contains("gone"));
    repository.git(&["branch", "gone"]);
    flow.poll().await;
    assert_eq!(flow.pollers.status()[0].error, None);
    assert_eq!(flow.pollers.status()[0].heads.len(), 2);

    std::fs::rename(&repository.0, repository.0.with_extension("away")).unwrap();
    let error = flow.pollers.poll_now("p").await.unwrap_err().to_string();
    assert!(error.contains("failed to look at") && error.contains("source"), "{error}");
    assert!(matches!(flow.pollers.poll_now("q").await, Err(PollError::NoSuchPoller(_))));
    flow.stop().await;
}

#[tokio::test]
async fn changes_that_were_not_committed_leave_no_trace() {
    let place = Place::new();
    let repository = place.repository();
    repository.commit("one");
    let world = place.world(&(repository.poller("") + &scheduler("s", "'b1'", "tree_stable_timer = 10")));
    let flow = place.start(&world);
    flow.poll().await;
    repository.commit("two");
    flow.store.close();
    assert!(matches!(flow.pollers.poll_now("p").await, Err(PollError::Failed { .. })));
    assert_eq!(flow.intake.schedulers()[0].changes, 0);
    flow.stop().await;

    let flow = place.start(&world);
    flow.poll().await;
    assert_eq!(flow.changes(), ["main two"], "they come again");
    flow.stop().await;
}

#[tokio::test]
async fn a_scheduler_that_is_gone_forgets_and_one_that_stays_remembers() {
    let place = Place::new();
    let repository = place.repository();
    repository.commit("one");
    let stays = scheduler("stays", "'b1'", "tree_stable_timer = 10");
    let both = repository.poller("") + &stays + &scheduler("goes", "'b2'", "tree_stable_timer = 10");
    let flow = place.start(&place.world(&both));
    flow.poll().await;
    repository.commit("two");
    flow.poll().await;
    let changed = stays.replace("'b1'", "'b1', 'b2'");
    flow.intake.configure(place.world(&(repository.poller("") + &changed)));
    flow.intake.configure(place.world(&both));
    flow.pass(10_000).await;
    assert_eq!(flow.told(), ["two: b1: 1"], "by the configuration of that moment");
    assert_eq!(flow.store.states("scheduler/goes").unwrap(), []);
    flow.stop().await;
}

/// Another type under the same name is another scheduler: before, what waited in a scheduler by changes was built when
/// its time came, though a reconfig had made one of it that only people start.
#[tokio::test]
async fn a_scheduler_of_another_type_takes_nothing_over_from_the_one_of_its_name() {
    let place = Place::new();
    let repository = place.repository();
    repository.commit("one");
    let by_changes = repository.poller("") + &scheduler("s", "'b1'", "tree_stable_timer = 10");
    let by_people = repository.poller("") + "[[schedulers]]\nname = 's'\ntype = 'force'\nbuilders = ['b1']\n";
    let flow = place.start(&place.world(&by_changes));
    flow.poll().await;
    repository.commit("two");
    flow.poll().await;
    assert_eq!(flow.store.states("scheduler/s").unwrap().len(), 1);
    flow.intake.configure(place.world(&by_people));
    flow.pass(10_000).await;
    assert_eq!((flow.told(), flow.store.states("scheduler/s").unwrap()), (Vec::new(), Vec::new()));
    flow.intake.configure(place.world(&by_changes));
    flow.pass(10_000).await;
    assert_eq!(flow.told(), [""; 0], "it begins with nothing");
    repository.commit("three");
    flow.poll().await;
    flow.stop().await;

    // The same while the master was down. What is written behind that comes after it.
    let flow = place.start(&place.world(&by_people));
    flow.pass(10_000).await;
    flow.intake.submit(Batch::default()).await.unwrap();
    assert_eq!((flow.told(), flow.store.states("scheduler/s").unwrap()), (Vec::new(), Vec::new()));
    flow.stop().await;
}

/// Change sources are told apart by equality: one that differs stops, and the one that comes for it goes on from where
/// it was, with nothing twice and nothing lost.
#[tokio::test]
async fn a_change_source_that_differs_is_another_one_that_goes_on_where_the_old_one_was() {
    let place = Place::new();
    let repository = place.repository();
    repository.commit("one");
    let flow = place.start(&place.world(&repository.poller("")));
    flow.poll().await;
    for (round, project) in ["x", "y", "z", "x"].iter().enumerate() {
        repository.commit(&format!("round {round}"));
        // Asked in the moment in which it stops: another answers, and what it asks for is taken in once.
        let world = place.world(&repository.poller(&format!("project = '{project}'")));
        let asked = flow.pollers.poll_now("p");
        let (answer, ()) = tokio::join!(asked, async { flow.pollers.configure(&world.config.git_pollers) });
        answer.unwrap();
        flow.poll().await;
    }
    let expected: Vec<String> = (0..4).map(|round| format!("main round {round}")).collect();
    assert_eq!(flow.changes(), expected);
    // One that is equal is the same one: it does not even look.
    let before = flow.pollers.status();
    flow.pollers.configure(&place.world(&repository.poller("project = 'x'")).config.git_pollers);
    assert_eq!(flow.pollers.status(), before);
    // One that comes back finds its place.
    flow.pollers.configure(&[]);
    repository.commit("meanwhile");
    flow.pollers.configure(&place.world(&repository.poller("")).config.git_pollers);
    flow.poll().await;
    assert_eq!(flow.changes().last().unwrap(), "main meanwhile");
    flow.stop().await;
}

#[tokio::test]
async fn a_batch_without_changes_still_moves_its_source_on() {
    let place = Place::new();
    let flow = place.start(&place.world(""));
    let put = Persist::PutState {
        owner: "poller/x".to_owned(),
        key: "place".to_owned(),
        value: Some(b"here".to_vec()),
    };
    flow.intake.submit(Batch { changes: Vec::new(), place: vec![put] }).await.unwrap();
    assert_eq!(flow.store.state("poller/x", "place").unwrap().unwrap(), b"here");
    flow.stop().await;
}

#[tokio::test]
async fn a_codebase_generator_that_fails_is_counted_for_its_component() {
    let place = Place::new();
    let runtime = Runtime::new(windlass_runtime::Options::new(place.folder.path().join("policies"))).unwrap();
    let bundled = windlass_plugins::bundled().iter().find(|bundled| bundled.name == "by-repository").unwrap();
    let bytes = bytes::Bytes::from_static(bundled.bytes);
    let plugin = runtime.load("by-repository", windlass_runtime::plugin::Source::Bundled, bytes).unwrap();
    let digest = plugin.digest;
    let mut config = (*place.world("").config).clone();
    // Arguments that the check of a configuration would refuse.
    config.codebase_generator = Some(windlass_core::builder::PolicyUse {
        hook: "by-repository".to_owned(),
        args: "[]".to_owned(),
        on_error: windlass_core::builder::OnError::Default,
    });
    let generation = Arc::new(Generation::new(1, vec![plugin]));
    let flow = place.start(&Arc::new(World { config: Arc::new(config), generation }));
    flow.intake.submit(Batch { changes: vec![change(1, "ana")], place: Vec::new() }).await.unwrap();
    assert_eq!(flow.store.changes(1).unwrap()[0].codebase, "");
    assert_eq!(flow.intake.policy().unwrap().fallbacks, 1);
    assert_eq!(flow.intake.0.runtime.usage()[&digest].fallbacks, 1);
    flow.stop().await;
}
