//! The top of `master.toml`, and its smaller tables.

use super::{
    ARTIFACTS, Attribute, BUILDER, DECISIONS, Kind, LOGS, POLICIES, POLLER, REPORTER, SCHEDULER, Table,
    USER_MANAGER,
};

const NO_PAGES: &str =
    "pages are not there yet; `windlass status`, `windlass builds` and the JSON API show everything";
const NO_MISSING: &str =
    "`windlass status` shows which workers are connected; reporters are told of builds alone";
const NO_CONSOLE: &str = "write `[debug] password_hash`, which `windlass password` prints; `windlass debug` then asks for the password and looks into the running master";
const NO_MEASURES: &str =
    "figures are always counted; `windlass status -v` and `windlass plugin stats` show them";
const NO_CACHES: &str =
    "leave it out: rows are read from the store, whose pages the system keeps in memory as it sees fit";

const COUNT: Kind = Kind::Count { least: 1, most: u32::MAX as i64, of: "" };

/// 0 picks a free one.
const PORT: Kind = Kind::Count { least: 0, most: u16::MAX as i64, of: "" };

/// The top of the file.
pub static CONFIGURATION: Table = Table {
    what: "the configuration",
    heading: "The top",
    about: "What stands before the first `[section]`, and the names of the sections.",
    attributes: &[
        Attribute::new("title", Kind::Text, "\"Windlass\"", "\"My project\"", "shown in titles").also(&["project_name"]),
        Attribute::new("title_url", Kind::Text, "none", "\"https://example.org\"", "where the title leads: part of `windlass status --json`")
            .also(&["project_url"]),
        Attribute::new("url", Kind::Text, "none", "\"https://ci.example.org/\"", "where this master is found by others: part of `windlass status --json`, ends with a `/`")
            .also(&["buildbot_url"]),
        Attribute::new("properties", Kind::Properties, "none", "{ team = \"core\" }", "properties of every build"),
        Attribute::new("db_poll_interval", Kind::Time, "`\"1m\"`", "\"30s\"", "how often the master looks at the store for what an event missed; at least 100 ms"),
        Attribute::new("step_deadline", Kind::Time, "`\"24h\"`", "\"2h\"", "how long a step may run that has no `deadline` of its own"),
        Attribute::new("worker_grace", Kind::Time, "`\"15m\"`", "\"1h\"", "how long the commands of a worker whose link is cut wait for it, as they run on; then its builds end as *retry*"),
        Attribute::new("max_retries", Kind::Count { least: 0, most: u32::MAX as i64, of: "builds" }, "`5`", "2", "so many builds in a row of a request may end as *retry*; the next one ends as *exception* instead"),
        Attribute::new("build_horizon", Kind::Count { least: 1, most: u32::MAX as i64, of: "builds of each builder" }, "all", "1000", "so many finished builds of each builder are kept, the newest ones; older ones are deleted with their steps, logs, test results and artifacts"),
        Attribute::new("log_horizon", Kind::Count { least: 1, most: u32::MAX as i64, of: "builds of each builder" }, "all", "100", "so many finished builds of each builder keep the bytes of their logs; at most `build_horizon`"),
        Attribute::new("change_horizon", Kind::Count { least: 1, most: u32::MAX as i64, of: "changes" }, "all", "500", "so many changes are kept, the newest ones, and all that a request or a scheduler waits for; looked at each hour"),
        Attribute::new("multi_master", Kind::Boolean, "`false`", "true", "this is one of several masters: what looks unused or not asked for here may be another's, and gets no warning"),
        Attribute::new("validation", Kind::Table(&VALIDATION), "see there", "{ branch = \"^main$\" }", "what people may write who force a build"),
        Attribute::new("master", Kind::Table(&MASTER), "see there", "{ listen = \"127.0.0.1:1234\" }", "what needs a restart to change"),
        Attribute::new("workers", Kind::Tables(&WORKER), "none", "[{ name = \"w1\", token_hash = \"blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\" }, { name = \"w2\", token_hash = \"blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\", max_builds = 4 }]", "who may connect").also(&["slaves"]),
        Attribute::new("builders", Kind::Tables(&BUILDER), "none", "[{ name = \"b2\", workers = \"w1\" }]", "what is built"),
        Attribute::new("templates", Kind::Named(&BUILDER), "none", "{ quick = { max_retries = 1 } }", "what builders take with `template`; the one that is called `default` each of them has last"),
        Attribute::new("include", Kind::Texts, "none", "\"more.toml\"", "other files that belong to this one; `*` stands for any part of a name: `\"builders/*.toml\"`"),
        Attribute::new("configurators", Kind::Tables(&CONFIGURATOR), "none", "[{ use = \"mine:make\" }]", "components that write a part of the configuration"),
        Attribute::new("git_pollers", Kind::TableOrTables(&POLLER), "none", "[{ repository = \"https://example.org/r.git\" }]", "change sources").also(&["change_sources", "change_source"]),
        Attribute::new("schedulers", Kind::Tables(&SCHEDULER), "none", "[{ name = \"s2\", type = \"force\", builders = \"b1\" }]", "what asks for builds"),
        Attribute::new("reporters", Kind::Tables(&REPORTER), "none", "[{ name = \"r2\", use = \"mine:post\" }]", "who is told what happens").also(&["status", "services"]),
        Attribute::new("user_managers", Kind::Tables(&USER_MANAGER), "none", "[{ path = \"users.toml\" }]", "where users are known from, who then stand for authors of changes"),
        Attribute::new("debug", Kind::Table(&DEBUG), "off", "{ password_hash = \"$argon2id$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$RVdZWt3lWw0IZXOnfgRm0ZGrvBnqYSxFmlKZ8Oq5MPs\" }", "who may look into the running master: `windlass debug`"),
        Attribute::new("locks", Kind::Named(&LOCK), "none", "{ db = { max = 2 } }", "what there is only so much of"),
        Attribute::new("secrets", Kind::Named(&SECRET), "none", "{ token = { file = \"token\" } }", "where values come from that nobody else may see"),
        Attribute::new("grants", Kind::Grants, "what the bundled commands need", "{ \"windlass:shell\" = { exec = [\"make\"] } }", "what components may do"),
        Attribute::new("policies", Kind::Table(&POLICIES), "the default rules", "{ next_slave = \"mine:sticky\" }", "components that decide"),
        Attribute::new("logs", Kind::Table(&LOGS), "see there", "{ max_log_bytes = \"1 MiB\" }", "limits of logs"),
        Attribute::new("decisions", Kind::Table(&DECISIONS), "see there", "{ max_age = \"1d\" }", "how many records of decisions are kept"),
        Attribute::new("artifacts", Kind::Table(&ARTIFACTS), "see there", "{ max_age = \"1d\" }", "how large artifacts may be, and how long they are kept"),
        // What Buildbot has at the top, and Windlass elsewhere.
        Attribute::new("merge_requests", Kind::Merge, "`true`", "false", "how requests share a build").also(&["collapse_requests"]).works_as("`[policies] merge_requests`"),
        Attribute::new("prioritize_builders", Kind::Policy, "the default rule", "\"oldest-first\"", "the order in which builders are offered workers").works_as("`[policies] prioritize_builders`"),
        Attribute::new("codebase_generator", Kind::Policy, "none", "\"by-repository\"", "the codebase of incoming changes").works_as("`[policies] codebase_generator`"),
        Attribute::new("select_next_worker", Kind::Policy, "the least-loaded worker", "\"mine:sticky\"", "which worker builds").also(&["next_slave", "next_worker"]).works_as("`[policies] next_slave`"),
        Attribute::new("log_compression_method", Kind::Choice(&["zstd", "gzip", "gz", "none", "raw"]), "`\"zstd\"`", "\"gz\"", "of finished logs").works_as("`[logs] log_compression_method`"),
        Attribute::new("log_compression_limit", Kind::Either(&Kind::Size, &Kind::Boolean), "`4096`", "100", "a log with fewer bytes stays as it is; `false`: all do").works_as("`[logs] log_compression_limit`"),
        Attribute::new("log_max_size", Kind::Size, "`\"100 MiB\"`", "\"1 MiB\"", "the beginning of a log that is kept").works_as("`[logs] max_log_bytes`"),
        Attribute::new("log_max_tail_size", Kind::Size, "`\"256 KiB\"`", "\"1 KiB\"", "the end of a longer log that is kept").works_as("`[logs] log_max_tail_size`"),
        Attribute::new("protocols", Kind::Table(&PROTOCOLS), "none", "{ pb = { port = 9990 } }", "where workers connect").works_as("`[master] listen`"),
        Attribute::new("slave_portnum", Kind::Either(&PORT, &Kind::Text), "none", "9990", "where workers connect: a port of all addresses of the machine").works_as("`[master] listen`"),
        Attribute::new("db", Kind::Table(&DATABASE), "none", "{ db_poll_interval = 5 }", "the store").works_as("`db_poll_interval`"),
        // What has no meaning here.
        Attribute::warns("db_url", Kind::Text, "\"sqlite:///state.sqlite\"", "the store is a folder of its own: `[master] state_dir`"),
        Attribute::warns("event_horizon", COUNT, "50", "builders have no events; records of decisions are kept as `[decisions]` says"),
        Attribute::warns("metrics", Kind::Properties, "{ log_interval = 60 }", NO_MEASURES),
        Attribute::warns("caches", Kind::Counts, "{ Builds = 100 }", NO_CACHES),
        Attribute::warns("build_cache_size", COUNT, "100", NO_CACHES),
        Attribute::warns("change_cache_size", COUNT, "100", NO_CACHES),
        Attribute::warns("debug_password", Kind::Text, "\"sesame\"", NO_CONSOLE),
        Attribute::warns("manhole", Kind::Any, "{ port = 1234 }", NO_CONSOLE),
        Attribute::warns("www", Kind::Any, "{ port = 8010 }", NO_PAGES),
        Attribute::warns("revlink", Kind::Any, "\"\"", NO_PAGES),
        Attribute::warns("mq", Kind::Any, "{ type = \"simple\" }", "leave it out: the master tells its parts itself, and `db_poll_interval` says how often it looks for what they missed"),
        Attribute::warns("log_encoding", Kind::Text, "\"utf-8\"", "leave it out: logs are kept as bytes, as they were written"),
        Attribute::warns("buildbot_net_usage_data", Kind::Any, "\"basic\"", "leave it out: nothing is ever sent to anybody"),
        Attribute::warns("machines", Kind::Any, "[]", "start machines by other means; their workers connect by themselves"),
        Attribute::warns("projects", Kind::Any, "[]", "give builders `tags`"),
        Attribute::refused("codebases", "`[policies] codebase_generator` gives changes their codebase"),
        Attribute::refused("secrets_providers", "write `[secrets]`, as `NAME = { file = \"PATH\" }`"),
        Attribute::refused("allow", "what may happen on a worker stands in its worker.toml"),
    ],
};

/// `[[configurators]]`.
pub static CONFIGURATOR: Table = Table {
    what: "a configurator",
    heading: "`[[configurators]]`",
    about: "A component that answers TOML. It may say `builders`, `git_pollers`, `locks`, `policies`, `properties`, \
            `schedulers`, `templates` (not `default`) and `workers` (without `token_hash`); all else people say.",
    attributes: &[
        Attribute::needed("use", Kind::Name, "\"mine:make\"", "the hook, of kind `configurator`"),
        Attribute::new("args", Kind::Arguments, "`{}`", "{ of = [\"a\"] }", "its arguments"),
    ],
};

/// `[master]`.
pub static MASTER: Table = Table {
    what: "[master]",
    heading: "`[master]`",
    about: "What needs a restart: a reconfig that would change one of these is refused, and changes nothing.",
    attributes: &[
        Attribute::new(
            "listen",
            Kind::Address,
            "`\"127.0.0.1:9989\"`",
            "\"127.0.0.1:1234\"",
            "where workers connect; port 0 picks a free one",
        ),
        Attribute::new(
            "state_dir",
            Kind::Path,
            "`\"state\"`",
            "\"other\"",
            "store, logs, components, the socket of the command line",
        ),
        Attribute::new(
            "plugins_dir",
            Kind::Path,
            "`\"plugins\"`",
            "\"other\"",
            "`*.wasm` in it are loaded, each named by its file",
        ),
        Attribute::new(
            "public_dir",
            Kind::Path,
            "`\"public\"`",
            "\"other\"",
            "files that every build may download, with the step `file-download`; need not be there",
        ),
    ],
};

/// `protocols`.
pub static PROTOCOLS: Table = Table {
    what: "protocols",
    heading: "`[protocols]`",
    about: "Buildbot's way to say where workers connect. Windlass has one protocol and one address.",
    attributes: &[
        Attribute::new("pb", Kind::Table(&PROTOCOL), "none", "{ port = 9990 }", "where workers connect")
            .also(&["msgpack_experimental_v7", "windlass"])
            .works_as("`[master] listen`"),
        Attribute::warns(
            "null",
            Kind::Any,
            "{}",
            "workers are processes of their own: start `windlass worker` on this machine",
        ),
    ],
};

/// One of `protocols`.
pub static PROTOCOL: Table = Table {
    what: "a protocol",
    heading: "`[protocols.pb]`",
    about: "",
    attributes: &[Attribute::needed(
        "port",
        Kind::Either(&PORT, &Kind::Text),
        "9990",
        "a port of all addresses of the machine, or `\"tcp:PORT:interface=HOST\"`, or `\"HOST:PORT\"`",
    )],
};

/// `db`.
pub static DATABASE: Table = Table {
    what: "db",
    heading: "`[db]`",
    about: "Buildbot's way to say where the store is.",
    attributes: &[
        Attribute::new(
            "db_poll_interval",
            Kind::Time,
            "`\"1m\"`",
            "5",
            "how often the master looks at the store for what an event missed",
        )
        .works_as("`db_poll_interval` at the top"),
        Attribute::warns(
            "db_url",
            Kind::Text,
            "\"sqlite:///state.sqlite\"",
            "the store is a folder of its own: `[master] state_dir`",
        ),
        Attribute::warns(
            "engine_kwargs",
            Kind::Any,
            "{}",
            "the store is a folder of its own: `[master] state_dir`",
        ),
    ],
};

/// `[validation]`.
pub static VALIDATION: Table = Table {
    what: "[validation]",
    heading: "`[validation]`",
    about: "Regular expressions for what people write who force a build: `windlass force` is refused where one does not \
            match. They begin at the beginning, as Buildbot's do; a `$` says where they end.",
    attributes: &[
        Attribute::new("branch", Kind::Pattern, "`^[\\w.+/~-]*$`", "\"^main$\"", "branches"),
        Attribute::new("revision", Kind::Pattern, "`^[ \\w\\.\\-\\/]*$`", "\"^[0-9a-f]{40}$\"", "revisions"),
        Attribute::new(
            "property_name",
            Kind::Pattern,
            "`^[\\w\\.\\-\\/\\~:]*$`",
            "\"^[a-z]+$\"",
            "names of properties",
        ),
        Attribute::new(
            "property_value",
            Kind::Pattern,
            "none: any value",
            "\"^[a-z]*$\"",
            "values of properties that are texts. Buildbot allows `^[\\w\\.\\-\\/\\~:]*$` without it",
        ),
    ],
};

/// `[[workers]]`.
pub static WORKER: Table = Table {
    what: "a worker",
    heading: "`[[workers]]`",
    about: "Who may connect and build.",
    attributes: &[
        Attribute::needed(
            "name",
            Kind::Name,
            "\"w2\"",
            "at most 50 letters, digits, `.`, `_`, `-`; not `debug`, `change`, `status`",
        ),
        Attribute::new(
            "token_hash",
            Kind::Name,
            "tokens of `windlass workers token` alone",
            "\"blake3:1111111111111111111111111111111111111111111111111111111111111111\"",
            "`blake3:` and 64 hexadecimal digits; `windlass token FILE` makes a token and prints it. Tokens of `windlass workers token` count beside it",
        ),
        Attribute::new("max_builds", COUNT, "one of each builder", "4", "how many builds at once"),
        Attribute::new(
            "properties",
            Kind::Properties,
            "none",
            "{ os = \"linux\" }",
            "properties of its builds",
        ),
        Attribute::new(
            "default_properties",
            Kind::Properties,
            "none",
            "{ os = \"linux\" }",
            "the same, where nobody sets them",
        ),
        Attribute::new(
            "locks",
            Kind::Locks,
            "none",
            "\"db\"",
            "what each of its builds holds, beside the locks of its builder",
        ),
        Attribute::warns("notify_on_missing", Kind::Texts, "\"ops@example.org\"", NO_MISSING),
        Attribute::warns("missing_timeout", Kind::Time, "3600", NO_MISSING),
        Attribute::warns(
            "keepalive_interval",
            Kind::Time,
            "3600",
            "leave it out: both ends of a link look after each other, at intervals of their own",
        ),
        Attribute::warns("machine_name", Kind::Text, "\"m1\"", "write it as a property of the worker"),
        Attribute::refused(
            "password",
            "a configuration holds no secrets: write the hash of the token, `token_hash`, or have `windlass workers token` make one",
        ),
    ],
};

/// `[debug]`.
pub static DEBUG: Table = Table {
    what: "[debug]",
    heading: "`[debug]`",
    about: "The console that looks into the running master: `windlass debug`. Without this section it is off.",
    attributes: &[
        Attribute::needed(
            "password_hash",
            Kind::Name,
            "\"$argon2id$v=19$m=19456,t=2,p=1$CAgICAgICAgICAgICAgICA$RVdZWt3lWw0IZXOnfgRm0ZGrvBnqYSxFmlKZ8Oq5MPs\"",
            "Argon2id of the password that it asks for, as `windlass password` prints it",
        ),
        Attribute::new(
            "allow_changes",
            Kind::Boolean,
            "`false`",
            "true",
            "it may also have pollers look and end suspensions of policies; each such order is logged",
        ),
    ],
};

/// `[locks.NAME]`.
pub static LOCK: Table = Table {
    what: "a lock",
    heading: "`[locks.NAME]`",
    about: "What there is only so much of.",
    attributes: &[
        Attribute::new(
            "kind",
            Kind::Choice(&["master", "worker", "slave"]),
            "`\"master\"`",
            "\"master\"",
            "`\"master\"`: one lock for all; `\"worker\"`: one on each worker",
        ),
        Attribute::new("max", COUNT, "`1`", "3", "how much of it there is").also(&["max_count"]),
        Attribute::new(
            "max_for_worker",
            Kind::Counts,
            "none",
            "{ w1 = 2 }",
            "the same on single workers, where it differs; for the kind `\"worker\"`",
        )
        .also(&["max_for_slave", "max_count_for_worker", "max_count_for_slave"]),
    ],
};

/// A use of a lock.
pub static LOCK_USE: Table = Table {
    what: "the use of a lock",
    heading: "A use of a lock",
    about: "`locks` of a builder, a step or a worker lists what it uses. A name is one of it; a table says how much.",
    attributes: &[
        Attribute::needed("lock", Kind::Name, "\"db\"", "its name"),
        Attribute::new(
            "mode",
            Kind::Choice(&["counting", "exclusive"]),
            "`\"counting\"`",
            "\"exclusive\"",
            "`\"counting\"`: so much as `count` says; `\"exclusive\"`: all of it",
        ),
        Attribute::new(
            "count",
            Kind::Count { least: 0, most: u32::MAX as i64, of: "" },
            "`1`",
            "0",
            "how much; `0` is always there",
        ),
    ],
};

/// `[secrets]`.
pub static SECRET: Table = Table {
    what: "a secret",
    heading: "`[secrets]`",
    about: "Where the value of a secret is: exactly one of `file`, `env` and `command`.",
    attributes: &[
        Attribute::new("file", Kind::Path, "none", "\"key\"", "a file that only its owner may read"),
        Attribute::new(
            "env",
            Kind::Name,
            "none",
            "\"TOKEN\"",
            "a variable of the master's own environment; it is passed on to no child of the master",
        ),
        Attribute::new(
            "command",
            Kind::Texts,
            "none",
            "[\"pass\", \"show\", \"x\"]",
            "what a program prints that the master runs: a list, the program and its arguments",
        ),
        Attribute::new(
            "timeout",
            Kind::Time,
            "`\"10s\"`",
            "\"5s\"",
            "of `command`: how long it may take, a minute at the most",
        ),
        Attribute::new(
            "strip",
            Kind::Boolean,
            "`true`",
            "false",
            "ends of line at its end do not belong to the value",
        ),
    ],
};
