//! Users: where they are known from, and the file that says so.

use super::{Attribute, Kind, Table};

/// One of `[[user_managers]]`.
pub static USER_MANAGER: Table = Table {
    what: "a user manager",
    heading: "`[[user_managers]]`",
    about: "Where users are known from. What it names is read whenever the configuration is, and checked with it.",
    attributes: &[
        Attribute::new("type", Kind::Choice(&["file"]), "`\"file\"`", "\"file\"", "what kind of one"),
        Attribute::needed(
            "path",
            Kind::Path,
            "\"more-users.toml\"",
            "a file with `[[users]]`; together they may have 16 MiB",
        ),
    ],
};

/// A file of users.
pub static USERS_FILE: Table = Table {
    what: "a file of users",
    heading: "A file of users",
    about: "What a user manager of type `\"file\"` names: TOML of its own.",
    attributes: &[Attribute::new("users", Kind::Tables(&USER), "none", "[{ name = \"jo\" }]", "who is who")],
};

/// A user.
pub static USER: Table = Table {
    what: "a user",
    heading: "`[[users]]`",
    about: "A person. What stands for two of them is refused.",
    attributes: &[
        Attribute::needed(
            "name",
            Kind::Name,
            "\"ann\"",
            "what lists show in the place of authors; an author that is called so is this user",
        ),
        Attribute::new("full_name", Kind::Name, "none", "\"Jo Doe\"", "shown by `windlass users`"),
        Attribute::new(
            "emails",
            Kind::Texts,
            "none",
            "\"jo@example.org\"",
            "an author with one of these addresses is this user; large and small letters are the same",
        ),
        Attribute::new(
            "identities",
            Kind::Texts,
            "none",
            "\"jdoe\"",
            "an author that is exactly one of these is this user, before any address counts: `\"Jo Doe <jo@example.org>\"`, names in other systems",
        ),
    ],
};
