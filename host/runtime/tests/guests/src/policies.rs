//! Policies of kind `next-slave`.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use windlass_sdk::model::{BuildRequest, BuilderInfo, SlaveInfo};
use windlass_sdk::{Failure, Hook, NextSlave, NoArgs, clock, decision, log, step};

macro_rules! policy {
    ($type:ident, $name:literal, |$slaves:ident, $request:ident| $body:expr) => {
        pub struct $type;

        impl Hook for $type {
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = "for tests";
            type Args = NoArgs;
        }

        impl NextSlave for $type {
            fn choose(
                _: NoArgs,
                _: BuilderInfo,
                $slaves: Vec<SlaveInfo>,
                $request: BuildRequest,
            ) -> Result<Option<String>, Failure> {
                let _ = (&$slaves, &$request);
                $body
            }
        }
    };
}

policy!(First, "first", |slaves, request| Ok(slaves.into_iter().next().map(|slave| slave.name)));

policy!(Spin, "spin", |slaves, request| loop {
    black_box(());
});

policy!(Trap, "trap", |slaves, request| panic!("on purpose"));

policy!(Hog, "hog", |slaves, request| {
    let mut held = Vec::new();
    loop {
        held.push(vec![1_u8; 16 << 20]);
        black_box(&held);
    }
});

policy!(Deep, "deep", |slaves, request| Ok(Some(deep(1_000_000).to_string())));

fn deep(n: u64) -> u64 {
    if black_box(n) == 0 { 0 } else { 1 + black_box(deep(black_box(n - 1))) }
}

policy!(Refuse, "refuse", |slaves, request| Err(Failure::retryable("no-mood", "not today")));

policy!(Clock, "clock", |slaves, request| Ok(Some(clock::now().to_string())));

policy!(Step, "step", |slaves, request| {
    step::summary("a policy is no step");
    Ok(None)
});

policy!(Flood, "flood", |slaves, request| Ok(Some("x".repeat(1 << 20))));

policy!(Property, "property", |slaves, request| {
    log::write(log::Level::Info, "looking it up");
    let branch = decision::request_property(request.id, "branch");
    let os = decision::slave_property("w1", "os");
    let none = decision::slave_property("w2", "os");
    Ok(Some(format!("{} {branch:?} {os:?} {none:?}", decision::now())))
});

static CALLS: AtomicU32 = AtomicU32::new(0);

policy!(Remember, "remember", |slaves, request| {
    Ok(Some(CALLS.fetch_add(1, Ordering::Relaxed).to_string()))
});
