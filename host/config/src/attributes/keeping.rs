//! What is kept, and for how long.

use super::{Attribute, Kind, Table};

/// `[logs]`.
pub static LOGS: Table = Table {
    what: "[logs]",
    heading: "`[logs]`",
    about: "Limits of logs. All but `max_bytes` take effect with a reconfig: limits for steps that start then, the others \
            for all that is kept.",
    attributes: &[
        Attribute::new("max_bytes", Kind::Size, "what the disk has", "\"1 GiB\"", "all logs together: as they come near to it, the oldest finished ones go; a change needs a restart"),
        Attribute::new("max_log_bytes", Kind::Size, "`\"100 MiB\"`", "\"1 MiB\"", "the beginning of one log; of the rest the end is kept, what lies between is dropped with a record of its length").also(&["log_max_size"]),
        Attribute::new("log_max_tail_size", Kind::Size, "`\"256 KiB\"`", "\"1 KiB\"", "the end of a log that is longer; at the most 16 MiB"),
        Attribute::new("log_compression_method", Kind::Choice(&["zstd", "gzip", "gz", "none", "raw"]), "`\"zstd\"`", "\"none\"", "of finished logs: `\"zstd\"`, `\"gzip\"` or `\"none\"`"),
        Attribute::new("log_compression_limit", Kind::Either(&Kind::Size, &Kind::Boolean), "`4096`", "100", "a log with fewer bytes stays as it is; `false`: all do"),
        Attribute::new("log_horizon", Kind::Time, "for ever", "\"90d\"", "so long after its end the bytes of a log are removed; its row stays, with its hash"),
    ],
};

/// `[decisions]`.
pub static DECISIONS: Table = Table {
    what: "[decisions]",
    heading: "`[decisions]`",
    about: "The records that `windlass why` tells from; the oldest go first.",
    attributes: &[
        Attribute::new(
            "max_bytes",
            Kind::Size,
            "`\"256 MiB\"`",
            "\"1 MiB\"",
            "all records together; the newest one always stays",
        ),
        Attribute::new(
            "max_age",
            Kind::Time,
            "`\"30d\"`",
            "\"1d\"",
            "how much older than the newest one a record may be",
        ),
    ],
};

/// `[artifacts]`.
pub static ARTIFACTS: Table = Table {
    what: "[artifacts]",
    heading: "`[artifacts]`",
    about: "Files and trees that builds leave with the master. The oldest go first; those of running builds stay.",
    attributes: &[
        Attribute::new("max_bytes", Kind::Size, "what the disk has", "\"1 GiB\"", "all artifacts together"),
        Attribute::new(
            "max_artifact_bytes",
            Kind::Size,
            "`max_bytes`",
            "\"1 MiB\"",
            "one artifact: a file, or a tree with all that is in it",
        ),
        Attribute::new("max_age", Kind::Time, "any", "\"90d\"", "how old one may be"),
        Attribute::new(
            "keep_free",
            Kind::Size,
            "`\"256 MiB\"`",
            "\"1 GiB\"",
            "while the disk has less left than that, no artifact is taken",
        ),
    ],
};
