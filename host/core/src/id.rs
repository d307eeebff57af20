//! Ids: a newtype for each kind, so that two kinds cannot be mixed up. All stay below 2^53.

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}

ids! {
    /// A change to a source repository.
    ChangeId, "change-";
    /// A builder, by its name: the store gives each name a number for good.
    BuilderId, "builder-";
    /// A set of requests that were submitted together.
    BuildsetId, "buildset-";
    /// A request to run one builder.
    RequestId, "request-";
    /// One run of a builder, unique over all builders.
    BuildId, "build-";
    /// One step of a build, unique over all builds. Allocated when the step is created.
    StepId, "step-";
    /// A log of a step.
    LogId, "log-";
    /// A master that shares the store.
    MasterId, "master-";
    /// Minted by each claim, larger than all before it; every later write of the build carries it.
    Fence, "fence-";
    /// A recorded decision of a policy.
    DecisionId, "decision-";
    /// A file or tree that a build leaves with its master.
    ArtifactId, "artifact-";
    /// A token that a command made for a worker.
    TokenId, "token-";
}
