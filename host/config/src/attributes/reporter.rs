//! Who is told what happens.

use super::{Attribute, Kind, Table};

/// `[[reporters]]`.
pub static REPORTER: Table = Table {
    what: "a reporter",
    heading: "`[[reporters]]`",
    about: "Components that tell others what becomes of builds, Buildbot's status receivers: `docs/reporters.md`.",
    attributes: &[
        Attribute::needed("name", Kind::Name, "\"r2\"", "unique; what waits for it is kept under this name"),
        Attribute::needed(
            "use",
            Kind::Name,
            "\"mine:post\"",
            "the hook, `plugin:hook` or a name that one plugin alone offers",
        ),
        Attribute::new(
            "args",
            Kind::Arguments,
            "`{}`",
            "{ url = \"https://example.org/builds\" }",
            "its arguments, with templates over the build's properties, its source stamps and the reporter's `secrets`",
        ),
        Attribute::new(
            "mode",
            Kind::Texts,
            "all ends",
            "[\"failing\", \"change\"]",
            "which ends of builds it is told: `change`, `failing`, `passing`, `problem`, `warnings`, `exception`, `cancelled`, or `all`",
        ),
        Attribute::new(
            "report_new",
            Kind::Boolean,
            "`true` without a `mode`, else `false`",
            "false",
            "whether it is told that builds start, too",
        ),
        Attribute::new(
            "builders",
            Kind::Texts,
            "all",
            "\"b1\"",
            "builders that it is told of; `*` stands for any part of a name. Not beside `tags`",
        ),
        Attribute::new(
            "tags",
            Kind::Texts,
            "all",
            "\"fast\"",
            "builders with one of these tags. Not beside `builders`",
        )
        .also(&["categories", "category"]),
        Attribute::new(
            "schedulers",
            Kind::Texts,
            "all",
            "\"force\"",
            "builds that one of these asked for; `force`: a person did, without a scheduler",
        ),
        Attribute::new(
            "branches",
            Kind::Texts,
            "all",
            "\"main\"",
            "builds of one of these branches; `\"\"` is the default one",
        ),
        Attribute::new(
            "secrets",
            Kind::Texts,
            "none",
            "\"token\"",
            "secrets that its arguments may name; the host puts them into headers of its requests",
        ),
    ],
};
