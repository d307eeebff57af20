//! The kinds of hooks that the contract has, and what a component that offers them looks like.

/// A kind of hook: the name of its interface, and the world of the contract for a component that offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The interface's name without package and version, as `plugin.describe` and manifests have it.
    pub kind: &'static str,
    /// The package's name without namespace and version.
    pub package: &'static str,
    /// The world: everything that such a component may import, and what it exports.
    pub world: &'static str,
}

/// All of them: the worker's first, then the master's.
pub const HOOKS: [Hook; 14] = [
    Hook { kind: "slave-command", package: "worker", world: "command-plugin" },
    Hook { kind: "build-step", package: "master", world: "step-plugin" },
    Hook { kind: "merge-requests", package: "master", world: "merge-requests-plugin" },
    Hook { kind: "prioritize-builders", package: "master", world: "prioritize-builders-plugin" },
    Hook { kind: "next-slave", package: "master", world: "next-slave-plugin" },
    Hook { kind: "next-build", package: "master", world: "next-build-plugin" },
    Hook { kind: "can-start-build", package: "master", world: "can-start-build-plugin" },
    Hook { kind: "codebase-generator", package: "master", world: "codebase-generator-plugin" },
    Hook { kind: "renderer", package: "master", world: "renderer-plugin" },
    Hook { kind: "configurator", package: "master", world: "configurator-plugin" },
    Hook { kind: "scheduler", package: "master", world: "scheduler-plugin" },
    Hook { kind: "change-source", package: "master", world: "change-source-plugin" },
    Hook { kind: "change-hook", package: "master", world: "change-hook-plugin" },
    Hook { kind: "reporter", package: "master", world: "reporter-plugin" },
];

/// The kind of this name.
#[must_use]
pub fn hook(kind: &str) -> Option<&'static Hook> {
    HOOKS.iter().find(|hook| hook.kind == kind)
}

impl Hook {
    /// Whether it runs on a worker. Hooks of the master and of a worker do not go together in one component.
    #[must_use]
    pub fn on_worker(&self) -> bool {
        self.package == "worker"
    }
}
