//! Builders, their steps, and the policies that they use.

use super::{Attribute, Kind, Table};

const COUNT: Kind = Kind::Count { least: 0, most: u32::MAX as i64, of: "builds" };

/// `[[builders]]`.
pub static BUILDER: Table = Table {
    what: "a builder",
    heading: "`[[builders]]`",
    about: "What is built: steps, and the workers that may run them.",
    attributes: &[
        Attribute::needed("name", Kind::Name, "\"b2\"", "unique, and not beginning with `_`"),
        Attribute::needed("workers", Kind::Texts, "[\"w1\", \"w2\"]", "who may build it").also(&[
            "worker_names", "worker_name", "workernames", "workername", "slaves", "slave_names", "slave_name", "slavenames", "slavename",
        ]),
        Attribute::new("template", Kind::Texts, "none", "\"quick\"", "templates that it takes what it does not say itself from; the first that says it. `properties`, `default_properties` and `env` are joined key by key"),
        Attribute::new("matrix", Kind::Axes, "none", "{ os = [\"linux\"] }", "lists by name: there is a builder for each combination, in whose texts `%(matrix:NAME)s` is its value, and which has it as a property"),
        Attribute::new("matrix_except", Kind::Any, "none", "[{ os = \"mac\" }]", "combinations of `matrix` that are left out: a list of tables"),
        Attribute::new("steps", Kind::Tables(&STEP), "none", "[{ use = \"mkdir\" }]", "what is done, in order"),
        Attribute::new("factory", Kind::Table(&FACTORY), "none", "{ steps = [{ use = \"mkdir\" }] }", "its steps, in a table of their own").works_as("`steps` and `workdir`"),
        Attribute::new("worker_builddir", Kind::Path, "`builddir`", "\"elsewhere\"", "its directory below the worker's; no two builders share one")
            .also(&["worker_build_dir", "workerbuilddir", "slave_builddir", "slavebuilddir"]),
        Attribute::new("builddir", Kind::Path, "the name, made safe", "\"elsewhere\"", "the same, where `worker_builddir` says nothing: the master keeps no directory of a builder; no two builders share one").also(&["build_dir"]),
        Attribute::new("workdir", Kind::Path, "each step's own, mostly `build`", "\"src\"", "where its steps work that say nothing of it, below its directory"),
        Attribute::new("description", Kind::Text, "none", "\"the tests\"", "one line for lists"),
        Attribute::new("tags", Kind::Texts, "none", "[\"ci\"]", "labels for filters").also(&["category"]),
        Attribute::new("properties", Kind::Properties, "none", "{ jobs = 4 }", "properties of its builds"),
        Attribute::new("default_properties", Kind::Properties, "none", "{ jobs = 4 }", "the same, where nobody sets them"),
        Attribute::new("do_build_if", Kind::Condition, "`true`", "\"props.branch == 'main'\"", "its builds are skipped where it is false"),
        Attribute::new("env", Kind::Environment, "none", "{ LANG = \"C\" }", "added to the environment of its commands; templates"),
        Attribute::new("secrets", Kind::Texts, "none", "[\"token\"]", "which of `[secrets]` its builds may use"),
        Attribute::new("locks", Kind::Locks, "none", "[\"db\"]", "what each of its builds holds from its start to its end"),
        Attribute::new("max_retries", COUNT, "that of the top", "0", "so many builds in a row of a request may end as *retry*"),
        Attribute::new("merge_requests", Kind::Merge, "from `[policies]`, else `true`", "false", "how requests share a build").also(&["collapse_requests"]),
        Attribute::new("next_slave", Kind::Policy, "from `[policies]`", "\"mine:sticky\"", "which worker builds").also(&["next_worker", "select_next_worker"]),
        Attribute::new("next_build", Kind::Policy, "from `[policies]`", "\"mine:newest\"", "which request is built"),
        Attribute::new("can_start_build", Kind::Policy, "from `[policies]`", "\"working-hours\"", "which workers may start it now"),
        Attribute::warns("project", Kind::Text, "\"p\"", "give it `tags`"),
        Attribute::warns("description_format", Kind::Text, "\"markdown\"", "leave it out: a description is a line of text"),
        Attribute::refused("prioritize_builders", "it is the master's: write it in `[policies]`"),
        Attribute::refused("codebase_generator", "it is the master's: write it in `[policies]`"),
        Attribute::refused("allow", "what may happen on a worker stands in its worker.toml"),
        Attribute::refused("grants", "grants stand at the top, by hook"),
    ],
};

/// A builder's `factory`.
pub static FACTORY: Table = Table {
    what: "a factory",
    heading: "`factory`",
    about: "Buildbot's way to hold the steps of a builder.",
    attributes: &[
        Attribute::new(
            "steps",
            Kind::Tables(&STEP),
            "none",
            "[{ use = \"mkdir\" }]",
            "what is done, in order",
        ),
        Attribute::new(
            "workdir",
            Kind::Path,
            "each step's own, mostly `build`",
            "\"src\"",
            "where its steps work that say nothing of it",
        ),
    ],
};

/// `[[builders.steps]]`.
pub static STEP: Table = Table {
    what: "a step",
    heading: "`[[builders.steps]]`",
    about: "A component with arguments, and what its end means to the build.",
    attributes: &[
        Attribute::needed(
            "use",
            Kind::Name,
            "\"test\"",
            "the hook, of kind `build-step`: [a bundled one](steps.md), or one of yours",
        ),
        Attribute::new(
            "name",
            Kind::Name,
            "the hook's name",
            "\"unit tests\"",
            "shown; a second one of a name in a build gets a number",
        ),
        Attribute::new("args", Kind::Arguments, "`{}`", "{ command = \"make\" }", "its arguments; templates"),
        Attribute::new(
            "halt_on_failure",
            Kind::Boolean,
            "the step's own, else `false`",
            "true",
            "a failure ends the build, but for steps with `always_run`",
        ),
        Attribute::new(
            "flunk_on_failure",
            Kind::Boolean,
            "the step's own, else `true`",
            "false",
            "a failure makes the build fail",
        ),
        Attribute::new(
            "flunk_on_warnings",
            Kind::Boolean,
            "the step's own, else `false`",
            "true",
            "warnings make the build fail",
        ),
        Attribute::new(
            "warn_on_failure",
            Kind::Boolean,
            "the step's own, else `false`",
            "true",
            "a failure gives the build warnings",
        ),
        Attribute::new(
            "warn_on_warnings",
            Kind::Boolean,
            "the step's own, else `false`",
            "true",
            "warnings give the build warnings",
        ),
        Attribute::new(
            "always_run",
            Kind::Boolean,
            "the step's own, else `false`",
            "true",
            "runs even after the build was halted",
        ),
        Attribute::new(
            "update_build_summary_policy",
            Kind::Either(&Kind::Boolean, &Kind::Texts),
            "by its flags",
            "[\"failure\"]",
            "which endings of it the build's summary tells: all, none, or a list",
        ),
        Attribute::new(
            "deadline",
            Kind::Time,
            "`step_deadline`",
            "\"5m\"",
            "how long it may run, its waits for locks apart; then it is told to stop, and has failed",
        ),
        Attribute::new(
            "do_step_if",
            Kind::Condition,
            "`true`",
            "\"props.branch == 'main'\"",
            "it is skipped where this is false",
        ),
        Attribute::new(
            "hide_step_if",
            Kind::Condition,
            "`false`",
            "true",
            "once it has ended: lists leave it out where this is true",
        ),
        Attribute::new("locks", Kind::Locks, "none", "[\"db\"]", "what it holds while it runs"),
    ],
};

/// `[policies]`.
pub static POLICIES: Table = Table {
    what: "[policies]",
    heading: "`[policies]`",
    about: "Components that decide: a name, or a table where it has arguments. The first two are the master's; the others \
            hold for every builder that does not have its own. `\"default\"` is to be without.",
    attributes: &[
        Attribute::new(
            "prioritize_builders",
            Kind::Policy,
            "highest priority, oldest request, name",
            "\"oldest-first\"",
            "the order in which builders are offered workers",
        ),
        Attribute::new(
            "codebase_generator",
            Kind::Policy,
            "the codebase without a name",
            "\"by-repository\"",
            "the codebase of incoming changes",
        ),
        Attribute::new(
            "merge_requests",
            Kind::Merge,
            "`true`",
            "false",
            "`true`: requests for the same source share a build; `false`: each has its own",
        )
        .also(&["collapse_requests"]),
        Attribute::new(
            "next_slave",
            Kind::Policy,
            "the least-loaded worker",
            "\"mine:sticky\"",
            "which worker builds",
        )
        .also(&["next_worker", "select_next_worker"]),
        Attribute::new(
            "next_build",
            Kind::Policy,
            "priority, then age, then number",
            "\"mine:newest\"",
            "which request is built",
        ),
        Attribute::new(
            "can_start_build",
            Kind::Policy,
            "every free worker may",
            "\"working-hours\"",
            "which workers may start a build now",
        ),
    ],
};

/// A policy with arguments.
pub static POLICY_USE: Table = Table {
    what: "a policy",
    heading: "A policy with arguments",
    about: "",
    attributes: &[
        Attribute::needed("use", Kind::Name, "\"mine:night\"", "the hook"),
        Attribute::new(
            "args",
            Kind::Arguments,
            "`{}`",
            "{ from = \"08:00\", to = \"18:00\" }",
            "its arguments; no templates",
        ),
        Attribute::new(
            "on_error",
            Kind::Choice(&["default", "hold"]),
            "`\"default\"`",
            "\"hold\"",
            "when it fails: the default rule decides (`can_start_build` refuses, `merge_requests` does not merge), or nothing is decided for now",
        ),
    ],
};
