//! The parts of a master that go by its configuration, and the order in which they hear of another one.
//!
//! As in Buildbot, each has a priority and the higher one comes first. There, a service that fails leaves those
//! behind it with the old configuration; here nothing can fail any more when the first one hears of it, and none
//! waits for what another does with it: each is told, and goes by it from the next thing that it decides.

use std::sync::Arc;
use std::time::Duration;

use crate::running::Running;
use crate::world::World;

/// A part that goes by the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// What everybody else looks at: orders, the status, rights.
    World,
    /// How many records of decisions the store keeps.
    Records,
    /// The builds that begin from now on.
    Builds,
    /// Builders, locks, policies and slots: the dispatcher.
    Builders,
    /// The workers that may connect, and how long one is waited for.
    Workers,
    /// Schedulers, and the policy that names codebases: the intake.
    Schedulers,
    /// Pollers of repositories.
    ChangeSources,
    /// Who is told what becomes of builds.
    Reporters,
}

/// When a part hears of a configuration.
#[cfg_attr(not(test), expect(dead_code, reason = "that the order follows from the priorities is a test"))]
struct Service {
    part: Part,
    /// The higher one comes first. Buildbot's figure, where it has the same service.
    priority: u32,
    /// Why it comes where it comes.
    why: &'static str,
}

/// All parts, in their order.
const ORDER: [Service; 8] = [
    Service {
        part: Part::World,
        priority: 1_000,
        why: "who asks the master something is answered by the new configuration as soon as anything goes by it",
    },
    Service {
        part: Part::Records,
        priority: 900,
        why: "decisions by the new rules are kept by the new budget",
    },
    Service {
        part: Part::Builds,
        priority: 200,
        why: "whoever starts a build by the new configuration finds that its driver has it",
    },
    Service {
        part: Part::Builders,
        priority: 196,
        why: "a worker that comes and a request that is made find their builders",
    },
    Service {
        part: Part::Schedulers,
        priority: 128,
        why: "what they ask for has builders, and a change that comes finds all of them",
    },
    Service {
        part: Part::ChangeSources,
        priority: 127,
        why: "the first change of a new source finds the new schedulers",
    },
    Service {
        part: Part::Reporters,
        priority: 100,
        why: "what new workers build is told to those who want it now",
    },
    Service {
        part: Part::Workers,
        priority: 64,
        why: "a worker that may connect now finds everything that it could be needed for",
    },
];

impl Running {
    /// Goes by another world, or anew by the same: nothing here can fail. Policies that were suspended are
    /// asked again, and change sources that failed look again.
    pub async fn swap(&self, world: Arc<World>) {
        for service in &ORDER {
            self.configure(service.part, &world).await;
        }
    }

    async fn configure(&self, part: Part, world: &Arc<World>) {
        match part {
            Part::World => self.world.store(Arc::clone(world)),
            Part::Records => self.store.keep_decisions(world.config.decisions),
            Part::Builds => self.builds.configure(Arc::clone(world)),
            Part::Builders => self.dispatcher.configure(Arc::clone(world)),
            Part::Workers => {
                self.links.wait_for_workers(Duration::from_millis(world.config.worker_grace_ms));
                self.links.configure(&world.config.workers);
            }
            Part::Schedulers => self.intake.configure(Arc::clone(world)),
            Part::ChangeSources => self.pollers.configure(&world.config.git_pollers),
            Part::Reporters => self.reporters.configure(world),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_priorities_come_first_and_each_says_why() {
        assert!(ORDER.is_sorted_by(|before, after| before.priority > after.priority));
        for (place, service) in ORDER.iter().enumerate() {
            assert!(!service.why.is_empty(), "{:?}", service.part);
            assert!(ORDER[..place].iter().all(|other| other.part != service.part), "{:?}", service.part);
        }
    }
}
