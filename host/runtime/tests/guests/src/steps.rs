//! Build steps.

use std::hint::black_box;

use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{
    BuildStep, Failure, Hook, NoArgs, Origin, Outcome, Value, clock, fetch, interruption, log,
    master_process, transfer,
};

macro_rules! step {
    ($type:ident, $name:literal, $body:expr) => {
        pub struct $type;

        impl Hook for $type {
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = "for tests";
            type Args = NoArgs;
        }

        impl BuildStep for $type {
            fn run(_: NoArgs) -> Result<StepResult, Failure> {
                $body
            }
        }
    };
}

step!(Script, "script", script());
step!(Bounds, "bounds", bounds());
step!(Later, "later", later());
step!(
    Spin,
    "spin-step",
    loop {
        black_box(interruption_free());
    }
);

fn interruption_free() -> u64 {
    black_box(1)
}

step!(
    Watch,
    "watch",
    loop {
        black_box(clock::now());
    }
);
step!(
    Chatter,
    "chatter",
    loop {
        log::write(log::Level::Info, "still here");
    }
);

step!(
    CallsHome,
    "calls-home",
    loop {
        black_box(fetch::send(&large_request()).is_err());
    }
);
step!(ReadsPatch, "reads-patch", reads_patch());

/// Refused by the host, since nobody granted it.
fn large_request() -> fetch::Request {
    fetch::Request {
        method: "POST".to_owned(),
        url: "http://127.0.0.1:1/".to_owned(),
        headers: Vec::new(),
        body: vec![0; 1_000_000],
        timeout_ms: None,
        max_response: 0,
    }
}

/// All of a patch, byte by byte.
fn reads_patch() -> Result<StepResult, Failure> {
    let size = step::patch("")?.map_or(0, |patch| patch.size);
    let parts: Result<Vec<Vec<u8>>, Failure> = (0..size).map(|at| step::read_patch("", at, 1)).collect();
    let text = String::from_utf8_lossy(&parts?.concat()).into_owned();
    Ok(StepResult::new(Outcome::Success, text))
}

/// Two commands, their events in the order in which the host says them, and a log.
fn script() -> Result<StepResult, Failure> {
    let first = step::start_command("shell", "{}", &["stdio".to_owned()])?;
    let second = step::start_command("shell", "{\"n\":2}", &[])?;
    let mut seen = Vec::new();
    let mut ended = 0;
    while ended < 2 {
        let event = step::next_event(Some(1_000));
        if let step::Event::Done(_) = event {
            ended += 1;
        }
        seen.push(format!("{event:?}"));
    }
    step::set_property("got_revision", &Value::Text("abc".to_owned()))?;
    step::log_text("stdio", Origin::Header, &seen.join("\n"))?;
    step::summary("about to end");
    assert_eq!((first, second), (0, 1));
    assert_eq!(interruption::interrupted(), None);
    Ok(StepResult::new(Outcome::Warnings, "done"))
}

/// The codes that out-of-bounds arguments get, in order.
fn bounds() -> Result<StepResult, Failure> {
    let code = |result: Result<(), Failure>| result.err().map_or("ok".to_owned(), |failure| failure.code);
    let codes = [
        code(step::set_property("", &Value::Null)),
        code(step::set_property("n", &Value::Integer(1 << 53))),
        code(step::set_property("n", &Value::Integer((1 << 53) - 1))),
        code(step::set_property("n", &Value::Number(f64::NAN))),
        code(step::set_property("n", &Value::Json("{".to_owned()))),
        code(step::log_chunk("stdio", Origin::Stdout, &vec![0; 65_537])),
        code(step::start_command("shell", "no json", &[]).map(drop)),
        code(step::add_steps(&vec![String::new(); 5_000])),
    ];
    Ok(StepResult::new(Outcome::Success, codes.join(" ")))
}

/// What the contract has and the host has not.
fn later() -> Result<StepResult, Failure> {
    let codes = [
        transfer::accept("log.gz", 1).err().map(|failure| failure.code),
        master_process::start(&[], &[], None, "stdio").err().map(|failure| failure.code),
        step::set_timer(1).err().map(|failure| failure.code),
    ];
    Ok(StepResult::new(Outcome::Success, codes.map(Option::unwrap_or_default).join(" ")))
}
