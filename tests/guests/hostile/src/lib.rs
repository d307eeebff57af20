//! What the hostile components share: a hook in a few lines. Each component is an example of this package
//! and tries one thing; `docs/sandbox.md` says what, and what stops it.

#![allow(missing_docs)]

/// A `next-slave` policy.
#[macro_export]
macro_rules! next_slave {
    ($name:literal, |$slaves:ident| $body:expr) => {
        struct Hostile;
        $crate::hook!(Hostile, $name, &[]);
        #[allow(unreachable_code, reason = "some never come back")]
        impl windlass_sdk::NextSlave for Hostile {
            fn choose(
                _: windlass_sdk::NoArgs,
                _: windlass_sdk::model::BuilderInfo,
                $slaves: Vec<windlass_sdk::model::SlaveInfo>,
                _: windlass_sdk::model::BuildRequest,
            ) -> Result<Option<String>, windlass_sdk::Failure> {
                $body
            }
        }
        windlass_sdk::export!(next_slave: Hostile);
    };
}

/// A `codebase-generator`.
#[macro_export]
macro_rules! codebase {
    ($name:literal, |$change:ident| $body:expr) => {
        struct Hostile;
        $crate::hook!(Hostile, $name, &[]);
        #[allow(unreachable_code, reason = "some never come back")]
        impl windlass_sdk::CodebaseGenerator for Hostile {
            fn codebase(
                _: windlass_sdk::NoArgs,
                $change: windlass_sdk::model::Change,
            ) -> Result<String, windlass_sdk::Failure> {
                $body
            }
        }
        windlass_sdk::export!(codebase_generator: Hostile);
    };
}

/// A build step. The body answers what it saw, which becomes the summary.
#[macro_export]
macro_rules! step {
    ($name:literal, $body:expr) => {
        struct Hostile;
        $crate::hook!(Hostile, $name, &[]);
        #[allow(unreachable_code, reason = "some never come back")]
        impl windlass_sdk::BuildStep for Hostile {
            fn run(_: windlass_sdk::NoArgs) -> Result<windlass_sdk::step::StepResult, windlass_sdk::Failure> {
                let said: String = $body;
                Ok(windlass_sdk::step::StepResult::new(windlass_sdk::Outcome::Success, said))
            }
        }
        windlass_sdk::export!(build_step: Hostile);
    };
}

/// A slave-command that asks for capabilities, and the step that starts it. What the body answers goes to
/// the log `seen`.
#[macro_export]
macro_rules! command {
    ($name:literal, $capabilities:expr, $body:expr) => {
        struct Hostile;
        $crate::hook!(Hostile, $name, $capabilities);
        #[allow(unreachable_code, reason = "some never come back")]
        impl windlass_sdk::SlaveCommand for Hostile {
            fn run(_: windlass_sdk::NoArgs) -> Result<windlass_sdk::Completion, windlass_sdk::Failure> {
                let said: String = $body;
                windlass_sdk::command::log_text("seen", windlass_sdk::Origin::Stdout, &said)?;
                Ok(windlass_sdk::Completion::rc(0))
            }
        }
        windlass_sdk::export!(slave_command: Hostile);
    };
}

#[macro_export]
macro_rules! hook {
    ($type:ident, $name:literal, $capabilities:expr) => {
        impl windlass_sdk::Hook for $type {
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = "hostile";
            const CAPABILITIES: &'static [windlass_sdk::Capability] = $capabilities;
            type Args = windlass_sdk::NoArgs;
        }
    };
}

/// `files`, as commands ask for it.
pub const FILES: &[windlass_sdk::Capability] =
    &[windlass_sdk::Capability { capability: "files", scope: &[], reason: "to get out" }];

/// `exec` of these programs, and `files`.
#[macro_export]
macro_rules! exec {
    ($($program:literal),+) => {
        &[
            windlass_sdk::Capability { capability: "exec", scope: &[$($program),+], reason: "to get out" },
            windlass_sdk::Capability { capability: "files", scope: &[], reason: "to get out" },
        ]
    };
}

/// What an attempt came to, in a word: `ok`, or the code and the message of the failure.
pub fn told<T>(attempt: Result<T, windlass_sdk::Failure>) -> String {
    match attempt {
        Ok(_) => "ok".to_owned(),
        Err(failure) => format!("{}: {}", failure.code, failure.message),
    }
}

/// The first failure of an attempt that is made again and again, and after how many successes.
pub fn until_refused<T>(
    most: u32,
    mut attempt: impl FnMut(u32) -> Result<T, windlass_sdk::Failure>,
) -> String {
    for n in 0..most {
        if let Err(failure) = attempt(n) {
            return format!("after {n}: {}: {}", failure.code, failure.message);
        }
    }
    format!("{most} and no end")
}

/// A command that nothing ends but a person says in its log `waits` that it has begun; a step does in its summary.
pub fn waits() -> Result<(), windlass_sdk::Failure> {
    windlass_sdk::command::log_text("waits", windlass_sdk::Origin::Stdout, "waits\n")
}

/// Computes for ever.
pub fn spin() -> ! {
    let mut rounds = 0_u64;
    loop {
        rounds = std::hint::black_box(rounds.wrapping_add(1));
    }
}

/// Recurses for ever.
#[expect(unconditional_recursion, reason = "on purpose")]
pub fn recurse(depth: u64) -> u64 {
    std::hint::black_box(recurse(std::hint::black_box(depth + 1))) + 1
}

/// Takes all the memory there is, and touches it.
pub fn hoard() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

pub use windlass_sdk::bindings::plugin::exports::windlass::base::plugin::{Description, Hook, Request};

/// A component with a well-behaved `next-slave` policy that says of itself whatever it likes.
#[macro_export]
macro_rules! describes {
    ($description:expr) => {
        struct Hostile;
        #[allow(unreachable_code, reason = "some never come back")]
        impl windlass_sdk::bindings::plugin::exports::windlass::base::plugin::Guest for Hostile {
            fn describe() -> $crate::Description {
                $description
            }
        }
        windlass_sdk::bindings::plugin::export!(Hostile with_types_in windlass_sdk::bindings::plugin);
        impl windlass_sdk::bindings::next_slave::exports::windlass::master::next_slave::Guest for Hostile {
            fn choose(
                _: String,
                _: String,
                _: windlass_sdk::model::BuilderInfo,
                slaves: Vec<windlass_sdk::model::SlaveInfo>,
                _: windlass_sdk::model::BuildRequest,
            ) -> Result<Option<String>, windlass_sdk::Failure> {
                Ok(slaves.into_iter().next().map(|slave| slave.name))
            }
        }
        windlass_sdk::bindings::next_slave::export!(Hostile with_types_in windlass_sdk::bindings::next_slave);
    };
}

/// The description of a `next-slave` policy of this name.
pub fn described(name: &str) -> Description {
    let hook = Hook {
        kind: "next-slave".to_owned(),
        name: name.to_owned(),
        summary: "hostile".to_owned(),
        args_schema: None,
        options: Vec::new(),
    };
    Description { hooks: vec![hook], capabilities: Vec::new() }
}

/// The same with a schema of its arguments.
pub fn with_schema(name: &str, schema: impl Into<String>) -> Description {
    let mut description = described(name);
    description.hooks[0].args_schema = Some(schema.into());
    description
}
