//! Damaged rows: each costs its scheduler one thing, and nobody else anything.

use redb::TableDefinition;
use windlass_core::outcome::Outcome;

use super::{Place, scheduler};

/// Makes a row of the store unreadable, while nobody has it open.
fn spoil(place: &Place, table: &'static str, key: u64) {
    let database = redb::Database::open(place.folder.path().join("state/store.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = TableDefinition::<u64, &[u8]>::new(table);
    assert!(
        transaction.open_table(table).unwrap().insert(key, b"?".as_slice()).unwrap().is_some(),
        "no row {key}"
    );
    transaction.commit().unwrap();
}

/// Symptom: no scheduler followed any buildset that had ended while the master was down. Cause: the row of one such
/// buildset was damaged, and the look at all of them ended there. Cure: its note goes, and the others are followed.
#[tokio::test]
async fn a_buildset_that_cannot_be_read_holds_up_no_other() {
    let place = Place::new();
    let downstream = "[[schedulers]]\nname = 'd'\ntype = 'dependent'\nupstream = 's'\nbuilders = ['b2']\n";
    let schedulers = scheduler("s", "'b1'", "") + downstream;
    let (_, world, flow) = place.seen(&schedulers, &["two", "three"]).await;
    flow.intake.shutdown().await;
    flow.complete(Outcome::Success).await;
    flow.stop().await;
    spoil(&place, "buildsets", 1);
    let flow = place.start(&world);
    flow.followed().await;
    flow.intake.wake().await;
    assert_eq!(flow.told(), ["three: b2: 1"]);
    flow.stop().await;
}

/// Symptom: a change that could not be read kept its place in the state of a scheduler for ever, was an error at each
/// start, and was never too old to go.
#[tokio::test]
async fn a_change_that_cannot_be_read_waits_no_longer_and_the_others_do() {
    let place = Place::new();
    let schedulers = scheduler("s", "'b1'", "tree_stable_timer = 10");
    let (_, world, flow) = place.seen(&schedulers, &["two", "three"]).await;
    flow.stop().await;
    spoil(&place, "changes", 1);
    let flow = place.start(&world);
    flow.pass(10_000).await;
    assert_eq!(flow.told(), ["three: b1: 1"]);
    assert_eq!(flow.store.states("scheduler/s").unwrap(), []);
    flow.stop().await;
}
