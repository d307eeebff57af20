//! `worker.toml`.

use super::{Attribute, Kind, Table};

/// `worker.toml`.
pub static WORKER_FILE: Table = Table {
    what: "the configuration",
    heading: "`worker.toml`",
    about: "Who one worker is, where its master is, and what it lets happen. A worker reads it when it starts.",
    attributes: &[
        Attribute::needed("name", Kind::Name, "\"w2\"", "as in the master's file"),
        Attribute::needed(
            "master",
            Kind::Name,
            "\"ws://example.org:9989\"",
            "`\"ws://HOST:PORT\"`, or `\"HOST:PORT\"`",
        ),
        Attribute::new(
            "token_file",
            Kind::Path,
            "`\"token\"`",
            "\"other\"",
            "holds the token itself; a file that others can read is refused",
        ),
        Attribute::new(
            "base_dir",
            Kind::Path,
            "`\"work\"`",
            "\"other\"",
            "builds, components, what waits to be sent",
        )
        .also(&["basedir"]),
        Attribute::new(
            "inherit_env",
            Kind::Texts,
            "`PATH`, `HOME`, `USER`, `LOGNAME`, `SHELL`, `LANG`, `LC_ALL`, `TZ`, `TMPDIR`, `XDG_CACHE_HOME`",
            "[\"PATH\"]",
            "what commands see of the worker's own environment",
        ),
        Attribute::new(
            "allow",
            Kind::Grants,
            "what the bundled components ask for",
            "{ \"windlass:*\" = { exec = [\"make\"] } }",
            "what components may do here, by hook, `\"PLUGIN:*\"` or `\"*\"`",
        ),
        Attribute::refused(
            "grants",
            "grants stand in master.toml; what may happen on this worker stands in `[allow]`",
        ),
    ],
};
