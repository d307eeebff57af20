//! What makes builds: change sources and schedulers.

use super::{Attribute, Kind, Table};

const NO_CODEBASES: &str =
    "schedulers take the codebases that changes have; the policy `codebase_generator` says which";

/// `[[git_pollers]]`.
pub static POLLER: Table = Table {
    what: "a git poller",
    heading: "`[[git_pollers]]`",
    about: "Repositories that are looked at for new commits.",
    attributes: &[
        Attribute::needed("repository", Kind::Name, "\"https://example.org/other.git\"", "URL or path")
            .also(&["repo_url", "repourl"]),
        Attribute::new(
            "type",
            Kind::Choice(&["git", "git-poller", "git_poller", "GitPoller"]),
            "`\"git\"`",
            "\"git\"",
            "which kind of change source; there is this one",
        ),
        Attribute::new("name", Kind::Name, "the repository", "\"main\"", "unique"),
        Attribute::new("branches", Kind::Texts, "the default one", "[\"main\"]", "which to watch")
            .also(&["branch"]),
        Attribute::new("poll_interval", Kind::Time, "`\"1m\"`", "\"5m\"", "how often; at least 100 ms")
            .also(&["pollinterval"]),
        Attribute::new("project", Kind::Text, "none", "\"p\"", "goes into its changes"),
        Attribute::new("category", Kind::Text, "none", "\"c\"", "goes into its changes"),
        Attribute::new(
            "build_existing",
            Kind::Boolean,
            "`false`",
            "true",
            "whether what is there at the very first poll makes changes",
        ),
    ],
};

/// `[[schedulers]]`.
pub static SCHEDULER: Table = Table {
    what: "a scheduler",
    heading: "`[[schedulers]]`",
    about: "What asks for builds.",
    attributes: &[
        Attribute::needed("name", Kind::Name, "\"s2\"", "unique"),
        Attribute::needed(
            "type",
            Kind::Choice(&[
                "single-branch",
                "force",
                "triggerable",
                "dependent",
                "single_branch",
                "SingleBranch",
                "SingleBranchScheduler",
                "single-branch-scheduler",
                "ForceScheduler",
                "force-scheduler",
                "Force",
                "Triggerable",
                "Dependent",
            ]),
            "\"triggerable\"",
            "what makes it act: changes; a person; a step `trigger` of a build; the end of another scheduler's buildset",
        ),
        Attribute::needed(
            "builders",
            Kind::Texts,
            "[\"b1\", \"b1b\"]",
            "whom it asks to build; `*` stands for any part of a name: `\"tests-*\"`",
        )
        .also(&["builder_names"]),
        Attribute::new(
            "priority",
            Kind::Count { least: i32::MIN as i64, most: i32::MAX as i64, of: "" },
            "`0`",
            "10",
            "larger is sooner",
        ),
        Attribute::new(
            "properties",
            Kind::Properties,
            "none",
            "{ release = true }",
            "properties of its builds",
        ),
        Attribute::refused("file_is_important", "importance of files is not supported yet"),
        Attribute::refused("codebases", NO_CODEBASES),
    ],
};

/// A scheduler of type `single-branch`.
pub static SINGLE_BRANCH: Table = Table {
    what: "a scheduler of type single-branch",
    heading: "A scheduler of type `single-branch`",
    about: "It has these, too.",
    attributes: &[
        Attribute::new(
            "change_filter",
            Kind::Table(&CHANGE_FILTER),
            "all changes",
            "{ branch = \"main\" }",
            "which changes",
        ),
        Attribute::new(
            "tree_stable_timer",
            Kind::Time,
            "`0`",
            "90",
            "waits until no change came for so long",
        ),
    ],
};

/// A scheduler of type `dependent`.
pub static DEPENDENT: Table = Table {
    what: "a scheduler of type dependent",
    heading: "A scheduler of type `dependent`",
    about: "It has this, too.",
    attributes: &[Attribute::needed(
        "upstream",
        Kind::Name,
        "\"s1\"",
        "a scheduler of any type: whenever a buildset of it ends as *success* or with *warnings*, the builders get the same source",
    )],
};

/// `change_filter`.
pub static CHANGE_FILTER: Table = Table {
    what: "a change filter",
    heading: "`change_filter`",
    about: "Each is a value or a list, and all must fit; `\"\"` is a change without one.",
    attributes: &[
        Attribute::new("branch", Kind::Texts, "any", "\"main\"", "branches").also(&["branches"]),
        Attribute::new("repository", Kind::Texts, "any", "\"r\"", "repositories").also(&["repositories"]),
        Attribute::new("project", Kind::Texts, "any", "\"p\"", "projects").also(&["projects"]),
        Attribute::new("category", Kind::Texts, "any", "\"c\"", "categories").also(&["categories"]),
        Attribute::new("codebase", Kind::Texts, "any", "\"b\"", "codebases").also(&["codebases"]),
    ],
};
