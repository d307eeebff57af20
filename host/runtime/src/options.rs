//! What a [`crate::Runtime`] is made with: where it keeps its cache, and how much a guest may use.

use std::path::PathBuf;

use crate::compiler::Compiler;

/// What a runtime is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Compiled components. Whoever can write here can run native code as us: the directory is made
    /// with mode 0700, and one with a wider mode is refused.
    pub cache_dir: PathBuf,
    /// Threads that run steps and commands and nothing else; policies have as many of their own.
    pub guest_threads: usize,
    /// What one call may use.
    pub limits: Limits,
    /// Where components are compiled.
    pub compiler: Compiler,
}

impl Options {
    /// Default limits, components compiled in this process, and as many guest threads as the machine has processors (at least two: one
    /// guest that computes must not hold back another).
    #[must_use]
    pub fn new(cache_dir: impl Into<PathBuf>) -> Options {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Options {
            cache_dir: cache_dir.into(),
            guest_threads: processors.max(2),
            limits: Limits::default(),
            compiler: Compiler::InProcess,
        }
    }
}

/// What one call may use. Memory is the sum over all linear memories and tables of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes, for a policy.
    pub policy_memory: u64,
    /// Bytes, for a build step.
    pub step_memory: u64,
    /// Bytes, for a slave-command.
    pub command_memory: u64,
    /// Milliseconds of CPU after which a policy is stopped.
    pub policy_cpu_ms: u64,
    /// Milliseconds after which a policy is stopped, whatever it does.
    pub policy_wall_ms: u64,
    /// Milliseconds of CPU after which a configurator is stopped.
    pub configurator_cpu_ms: u64,
    /// Milliseconds of CPU that a step or command may use at a time: each second that it waits gives one
    /// back, and so does each megabyte of events that it takes and of logs that it writes.
    pub step_cpu_ms: u64,
    /// Bytes, for a reporter.
    pub service_memory: u64,
    /// Milliseconds of CPU after which a call of a reporter is stopped.
    pub service_cpu_ms: u64,
    /// Milliseconds after which it is stopped, whatever it does.
    pub service_wall_ms: u64,
    /// The largest file that is taken for a component.
    pub component_bytes: u64,
}

/// The largest file that is taken for a component, unless something else is said.
pub(crate) const MAX_COMPONENT: u64 = 64 * 1024 * 1024;

impl Default for Limits {
    /// Room for an interpreter in each: Python needs about 40 MB of file and of memory.
    fn default() -> Limits {
        const MIB: u64 = 1024 * 1024;
        Limits {
            policy_memory: 256 * MIB,
            step_memory: 256 * MIB,
            command_memory: 512 * MIB,
            policy_cpu_ms: 20,
            policy_wall_ms: 250,
            configurator_cpu_ms: 1_000,
            step_cpu_ms: 10_000,
            service_memory: 256 * MIB,
            service_cpu_ms: 2_000,
            service_wall_ms: 90_000,
            component_bytes: MAX_COMPONENT,
        }
    }
}
