//! A running build of which something cannot be read: it ends, and the master starts.

use std::path::Path;
use std::time::Duration;

use redb::TableDefinition;
use windlass_core::digest::Digest;
use windlass_core::id::{BuildId, Fence, LogId, MasterId, RequestId, StepId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::record::{LogRow, StepRow, StopRow};
use windlass_core::time::Timestamp;

use crate::place::{PATIENCE, Place, config, force, open, stop};
use crate::restart::build_row;

const FENCE: Fence = Fence(1_000);
const RUBBISH: &[u8] = b"?";

type ById = TableDefinition<'static, u64, &'static [u8]>;
type ByPair = TableDefinition<'static, (u64, u64), &'static [u8]>;

/// A build that runs, with a step, a log and an order to stop, as a killed master leaves it; returns its buildset.
async fn left(place: &Place) -> u64 {
    let master = place.start().await;
    let forced = master.force(force("b1")).await.unwrap();
    let request = RequestId(forced.requests[0]);
    assert_eq!(request, RequestId(1));
    let state = master.state_dir().to_owned();
    stop(master).await;
    let store = open(&state).await;
    let (build, step) = (BuildId(1), StepId(1));
    let hook = "windlass:shell-command".to_owned();
    let running = StepRow::begun(step, build, 0, "true".to_owned(), hook, Digest::of(b""), Timestamp(1));
    let order = StopRow { build, whole: true, step: None, reason: "enough".to_owned() };
    let batch = vec![
        Persist::Claim { requests: vec![request], master: MasterId(1), fence: FENCE, at: Timestamp(1) },
        Persist::PutBuild(build_row(request, FENCE)),
        Persist::PutStep { fence: FENCE, step: running },
        Persist::PutLog { fence: FENCE, log: LogRow::begun(LogId(1), build, step, "stdio".to_owned()) },
        Persist::PutStop { fence: FENCE, stop: order },
    ];
    store.commit(batch).await.unwrap();
    store.close();
    forced.buildset
}

fn spoil(database: &Path, table: &str) {
    let name: &'static str = match table {
        "builds" => "builds",
        "live" => "live",
        "steps" => "steps",
        "logs" => "logs",
        "stops" => "stops",
        "held" => "held",
        other => panic!("{other}"),
    };
    // Once nobody holds a copy of its lock, either.
    let began = std::time::Instant::now();
    let database = loop {
        match redb::Database::open(database) {
            Err(redb::DatabaseError::DatabaseAlreadyOpen) if began.elapsed() < PATIENCE => {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            opened => break opened.unwrap(),
        }
    };
    let transaction = database.begin_write().unwrap();
    if name == "steps" {
        transaction.open_table(ByPair::new(name)).unwrap().insert((1, 1), RUBBISH).unwrap();
    } else {
        // What lies there already is put over: of each there is one.
        transaction.open_table(ById::new(name)).unwrap().insert(1, RUBBISH).unwrap();
    }
    transaction.commit().unwrap();
}

/// Symptom: a master did not start any more, with all that it had, for one damaged row of a build that ran when it was killed.
/// Cause: what the last run left was read whole or not at all. Cure: that build ends as *retry*, and says what is damaged.
#[tokio::test]
async fn a_build_with_a_damaged_row_ends_as_retry_and_the_master_starts() {
    for table in ["builds", "live", "steps", "logs", "stops", "held"] {
        let place = Place::new(&config(""));
        let buildset = left(&place).await;
        spoil(&place.path("state/store.redb"), table);
        let master = place.start().await;
        let build = master.build(1);
        let status = master.status();
        assert!(status.running.is_empty(), "{table}");
        if table == "steps" || table == "logs" {
            // What is damaged stays so, and is told to whoever asks for it.
            let error = build.unwrap_err();
            assert!(windlass_core::text::chain(&error).contains("is damaged"), "{table}: {error}");
        } else {
            let detail = build.unwrap().unwrap();
            assert_eq!(detail.build.outcome, Some(Outcome::Retry), "{table}");
            let said = &detail.build.summary;
            assert!(said.contains(&format!("of table `{table}` is damaged")), "{table}: {said}");
            assert_eq!((detail.build.builder.as_str(), detail.build.number), ("b1", 1), "{table}");
            assert_eq!(detail.build.worker, "w1", "{table}");
            assert_eq!(detail.steps[0].outcome, Some(Outcome::Retry), "{table}");
            assert!(detail.steps[0].logs[0].finished, "{table}");
        }
        // Who is well goes on: its request waits again, unless that is what is damaged.
        if table != "held" {
            let request = &master.buildset(buildset).unwrap().unwrap().requests[0];
            assert!(!request.claimed && request.outcome.is_none(), "{table}: {request:?}");
        }
        let again = master.force(force("b1")).await.unwrap();
        assert_eq!(again.requests.len(), 1, "{table}");
        stop(master).await;
        // And the next start has nothing to do with it any more.
        stop(place.start().await).await;
    }
}
