//! `docs/config.md` is made of the tables of settings, and each setting does something.
//!
//! `WINDLASS_BLESS=1 cargo test -p windlass-config` writes the page anew.

use std::fmt::Write as _;
use std::path::Path;

use windlass_config::attributes::{self, Attribute, Default, State, Table, key};
use windlass_config::{Checked, check_master, check_worker, config};

use crate::hooks::Hooks;

const HASH: &str = "\"blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\"";

const BEGINNING: &str = "\
# Every setting

Made from the tables that the reader itself goes by: `WINDLASS_BLESS=1 cargo test -p windlass-config`. How settings are
written and what they are for is told in [configuration.md](configuration.md).

Names may be written in `snake_case`, `camelCase` and `kebab-case`; other names of a setting stand in brackets. A **time**
is seconds as a number, or a text: `90`, `\"5m\"`, `\"1h 30m\"`. A **size** is bytes as a number, or a text: `\"10 MiB\"`. A
**list of texts** may be one text. A **path** begins where its file is. What *has no effect* is a setting of Buildbot whose
old meaning makes no sense here: it is accepted with a warning that says what to use.
";

fn page() -> String {
    let mut page = BEGINNING.to_owned();
    for table in attributes::OF_MASTER.iter().copied().chain([
        &attributes::USERS_FILE,
        &attributes::USER,
        &attributes::WORKER_FILE,
    ]) {
        // Two of them are called `the configuration`.
        let anchor =
            if std::ptr::eq(table, &attributes::WORKER_FILE) { "worker-toml".into() } else { key(table) };
        write!(page, "\n<a id=\"{anchor}\"></a>\n## {}\n\n", table.heading).unwrap();
        if !table.about.is_empty() {
            write!(page, "{}\n\n", table.about).unwrap();
        }
        page.push_str("| setting | type | default | effect |\n|---|---|---|---|\n");
        table.attributes.iter().for_each(|attribute| page.push_str(&row(attribute)));
    }
    page
}

fn row(attribute: &Attribute) -> String {
    let also: Vec<String> = attribute.also.iter().map(|name| format!("`{name}`")).collect();
    let also = if also.is_empty() { String::new() } else { format!(" ({})", also.join(", ")) };
    let (kind, effect) = (attribute.kind.words(), attribute.effect);
    let (kind, default, effect) = match (attribute.state, attribute.default) {
        (State::Works, Default::Needed) => (kind, "needed", effect.to_owned()),
        (State::Works, Default::Is(default)) => (kind, default, effect.to_owned()),
        (State::WorksAs(place), Default::Is(default)) => {
            (kind, default, format!("{effect}; works as {place}"))
        }
        (State::WorksAs(_), Default::Needed) => panic!("it cannot be needed in two places"),
        (State::Warns(instead), _) => (kind, "", format!("*has no effect*: {instead}")),
        (State::Refused(instead), _) => (String::new(), "", format!("*refused*: {instead}")),
    };
    let row = format!("`{}`{also} | {} | {default} | {}", attribute.name, escaped(&kind), escaped(&effect));
    format!("| {row} |\n")
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

#[test]
fn the_page_of_settings_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.md");
    if std::env::var_os("WINDLASS_BLESS").is_some_and(|value| !value.is_empty()) {
        std::fs::write(&path, page()).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == page(),
        "docs/config.md is old: run `WINDLASS_BLESS=1 cargo test -p windlass-config`"
    );
}

/// An inline table of these settings, one of which another one takes the place of.
fn inline(settings: &[(&str, &str)], other: Option<(&Attribute, &str)>) -> String {
    let kept = settings.iter().filter(|(name, _)| other.is_none_or(|(attribute, _)| attribute.name != *name));
    let kept = kept.map(|(name, value)| format!("{name} = {value}"));
    let other = other.map(|(attribute, name)| format!("{name} = {}", attribute.example));
    format!("{{ {} }}", kept.chain(other).collect::<Vec<_>>().join(", "))
}

/// A file in which `table` has this setting under this name beside what must be there.
fn file(table: &'static Table, other: Option<(&Attribute, &str)>) -> String {
    let is = |asked: &'static Table| std::ptr::eq(asked, table);
    let piece =
        |asked: &'static Table, settings: &[(&str, &str)]| inline(settings, other.filter(|_| is(asked)));
    let worker = |name: &str| inline(&[("name", name), ("token_hash", HASH)], None);
    let step = piece(&attributes::STEP, &[("use", "\"compile\"")]);
    let factory = format!("{{ steps = [{step}] }}");
    let lock_use = format!("[{}]", piece(&attributes::LOCK_USE, &[("lock", "\"disk\"")]));
    let builder = match () {
        () if is(&attributes::STEP) => vec![("factory", factory.as_str())],
        () if is(&attributes::LOCK_USE) => vec![("locks", lock_use.as_str())],
        () => Vec::new(),
    };
    let factory = piece(&attributes::FACTORY, &[]);
    let builder = if is(&attributes::FACTORY) { vec![("factory", factory.as_str())] } else { builder };
    let builder = if is(&attributes::REPORTER) { vec![("tags", "\"fast\"")] } else { builder };
    let builder = match other {
        Some((attribute, _)) if attribute.name == "matrix_except" => {
            vec![("matrix", "{ os = [\"linux\", \"mac\"] }")]
        }
        Some(_) | None => builder,
    };
    let builder = [vec![("name", "\"b1\""), ("workers", "[\"w1\"]")], builder].concat();
    let builder = piece(&attributes::BUILDER, &builder);
    let one = format!("[{}, {}]", worker("\"w1\""), worker("\"w2\""));
    let all = |one: &str| format!("[{one}, {{ name = \"b1b\", workers = [\"w2\"] }}]");
    let builders = all(&builder);
    let mut top: Vec<(&str, String)> = vec![
        ("locks", "{ db = {}, disk = { max = 4 } }".to_owned()),
        ("secrets", "{ token = { env = \"TOKEN\" } }".to_owned()),
    ];
    if is(&attributes::BUILDER) {
        top.push(("templates", "{ quick = { description = \"quick\" } }".to_owned()));
    }
    if is(&attributes::WORKER) {
        top.push(("workers", format!("[{}]", piece(table, &[("name", "\"w1\""), ("token_hash", HASH)]))));
    } else {
        top.extend([("workers", one), ("builders", builders)]);
    }
    let name = match other {
        Some((attribute, _)) => attribute.name,
        None => "",
    };
    let mut put = |name, value: String| {
        top.retain(|(other, _)| *other != name);
        top.push((name, value));
    };
    let filter = format!(
        "{{ name = \"s1\", type = \"single-branch\", builders = \"b1\", change_filter = {} }}",
        piece(&attributes::CHANGE_FILTER, &[])
    );
    match () {
        () if is(&attributes::MASTER) => put("master", piece(table, &[])),
        () if is(&attributes::PROTOCOLS) => put("protocols", piece(table, &[])),
        () if is(&attributes::PROTOCOL) => {
            put("protocols", format!("{{ pb = {} }}", piece(table, &[("port", "9989")])));
        }
        () if is(&attributes::DATABASE) => put("db", piece(table, &[])),
        () if is(&attributes::VALIDATION) => put("validation", piece(table, &[])),
        () if is(&attributes::POLICIES) => put("policies", piece(table, &[])),
        () if is(&attributes::POLICY_USE) => {
            put(
                "policies",
                format!("{{ can_start_build = {} }}", piece(table, &[("use", "\"working-hours\"")])),
            );
        }
        () if is(&attributes::LOCK) => {
            let lock = piece(table, &[("kind", "\"worker\"")]);
            put("locks", format!("{{ db = {lock}, disk = {{ max = 4 }} }}"));
        }
        () if is(&attributes::POLLER) => {
            put(
                "git_pollers",
                format!("[{}]", piece(table, &[("repository", "\"https://example.org/r.git\"")])),
            );
        }
        () if is(&attributes::SCHEDULER) => {
            let scheduler = [("name", "\"s1\""), ("type", "\"force\""), ("builders", "[\"b1\"]")];
            put("schedulers", format!("[{}]", piece(table, &scheduler)));
        }
        () if is(&attributes::SINGLE_BRANCH) => {
            let scheduler = [("name", "\"s1\""), ("type", "\"single-branch\""), ("builders", "[\"b1\"]")];
            put("schedulers", format!("[{}]", piece(table, &scheduler)));
        }
        () if is(&attributes::DEPENDENT) => {
            let one = "{ name = \"s0\", type = \"force\", builders = \"b1\" }, { name = \"s1\", type = \"force\", builders = \"b1\" }";
            let scheduler = [
                ("name", "\"s2\""),
                ("type", "\"dependent\""),
                ("builders", "[\"b1\"]"),
                ("upstream", "\"s0\""),
            ];
            put("schedulers", format!("[{one}, {}]", piece(table, &scheduler)));
        }
        () if is(&attributes::CHANGE_FILTER) => put("schedulers", format!("[{filter}]")),
        () if is(&attributes::REPORTER) => {
            let reporter = [("name", "\"r1\""), ("use", "\"mine:tell\"")];
            put("reporters", format!("[{}]", piece(table, &reporter)));
        }
        () if is(&attributes::SECRET) => {
            let is_source = ["file", "env", "command"].contains(&name);
            let usual = [("command", "[\"pass\"]")];
            let usual = if is_source { &[][..] } else { &usual };
            put("secrets", format!("{{ token = {} }}", piece(table, usual)));
            put("grants", "{ secrets = { master-process = [\"pass\"] } }".to_owned());
        }
        () if is(&attributes::CONFIGURATOR) => {
            put("configurators", format!("[{}]", piece(table, &[("use", "\"mine:other\"")])));
        }
        () if is(&attributes::USER_MANAGER) => {
            put("user_managers", format!("[{}]", piece(table, &[("path", "\"users.toml\"")])));
        }
        () if is(&attributes::DEBUG) => {
            let hash = "\"$argon2id$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$RVdZWt3lWw0IZXOnfgRm0ZGrvBnqYSxFmlKZ8Oq5MPs\"";
            put("debug", piece(table, &[("password_hash", hash)]));
        }
        () if is(&attributes::LOGS) => put("logs", piece(table, &[])),
        () if is(&attributes::DECISIONS) => put("decisions", piece(table, &[])),
        () if is(&attributes::ARTIFACTS) => put("artifacts", piece(table, &[])),
        () => {}
    }
    if let Some((attribute, name)) = other.filter(|_| is(&attributes::CONFIGURATION)) {
        put(attribute.name, attribute.example.to_owned());
        top.last_mut().unwrap().0 = name;
    }
    top.iter().map(|(name, value)| format!("{name} = {value}\n")).collect()
}

fn checked(text: &str) -> (config::Master, String) {
    let Checked { config, warnings } = check_master(Path::new("m.toml"), text, &Hooks);
    let config = config.unwrap_or_else(|errors| panic!("{text}\n{}", errors.render()));
    (config, warnings.map(|warnings| warnings.render()).unwrap_or_default())
}

/// A file without the setting that is to be looked at.
fn without(table: &'static Table) -> (config::Master, String) {
    checked(&file(table, None))
}

#[test]
fn each_setting_has_an_effect_or_a_warning() {
    for table in attributes::OF_MASTER {
        let (usual, usual_warnings) = without(table);
        for attribute in table.attributes {
            let text = file(table, Some((attribute, attribute.name)));
            let of = format!("`{}` of {}:\n{text}", attribute.name, table.what);
            match attribute.state {
                State::Works | State::WorksAs(_) => {
                    // There is one type only, so it says what is so anyway.
                    let has_type = [&attributes::POLLER, &attributes::USER_MANAGER];
                    let has_type = has_type.iter().any(|one| std::ptr::eq(*table, *one));
                    let is_type = has_type && attribute.name == "type";
                    let (config, warnings) = checked(&text);
                    assert!(!warnings.contains("no-effect"), "{of}{warnings}");
                    assert_eq!(config == usual && warnings == usual_warnings, is_type, "no effect of {of}");
                }
                State::Warns(instead) => {
                    let (config, warnings) = checked(&text);
                    assert!(config == usual && warnings.contains("no-effect"), "{of}{warnings}");
                    assert!(warnings.contains(instead), "{of}{warnings}");
                }
                State::Refused(instead) => {
                    let text =
                        text.replace(&format!("{} = ", attribute.name), &format!("{} = 1", attribute.name));
                    let errors = check_master(Path::new("m.toml"), &text, &Hooks).config.unwrap_err();
                    assert!(errors.render().contains(instead), "{of}{}", errors.render());
                }
            }
        }
    }
}

#[test]
fn every_name_of_a_setting_means_the_same() {
    for table in attributes::OF_MASTER {
        for attribute in table.attributes.iter().filter(|attribute| attribute.is_read()) {
            let expected = checked(&file(table, Some((attribute, attribute.name)))).0;
            for name in attribute.names() {
                for name in [name.to_owned(), camel(name), name.replace('_', "-")] {
                    let found = checked(&file(table, Some((attribute, &name)))).0;
                    assert!(found == expected, "`{name}` of {}", table.what);
                }
            }
        }
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    first + &words.map(capital).collect::<String>()
}

#[test]
fn every_setting_of_a_worker_has_an_effect() {
    let base = [("name", "\"w1\""), ("master", "\"ws://127.0.0.1:9989\"")];
    let read = |other: Option<&Attribute>| {
        let kept = base.iter().filter(|(name, _)| other.is_none_or(|other| other.name != *name));
        let mut text: String = kept.map(|(name, value)| format!("{name} = {value}\n")).collect();
        text += &other.map(|other| format!("{} = {}\n", other.name, other.example)).unwrap_or_default();
        check_worker(Path::new("w.toml"), &text).config.unwrap_or_else(|e| panic!("{}", e.render()))
    };
    let usual = read(None);
    for attribute in attributes::WORKER_FILE.attributes.iter().filter(|attribute| attribute.is_read()) {
        assert_ne!(read(Some(attribute)), usual, "{}", attribute.name);
    }
}

/// Buildbot's own lists: what its classes of configuration have, in both generations.
#[test]
fn every_attribute_of_buildbot_is_known() {
    let master = "title projectName titleURL projectURL buildbotURL changeHorizon eventHorizon logHorizon buildHorizon \
        logCompressionLimit logCompressionMethod logMaxSize logMaxTailSize properties mergeRequests collapseRequests \
        prioritizeBuilders codebaseGenerator protocols slavePortnum multiMaster debugPassword manhole validation db db_url \
        db_poll_interval metrics caches buildCacheSize changeCacheSize schedulers builders slaves workers change_sources \
        change_source status user_managers revlink buildbotNetUsageData configurators logEncoding machines mq projects \
        codebases secretsProviders select_next_worker services www";
    let builder = "name factory slavename slavenames workername workernames builddir slavebuilddir workerbuilddir category \
        tags nextSlave nextWorker nextBuild canStartBuild locks env properties defaultProperties mergeRequests \
        collapseRequests description description_format project do_build_if";
    for (table, names) in [(&attributes::CONFIGURATION, master), (&attributes::BUILDER, builder)] {
        for name in names.split_whitespace() {
            assert!(table.find(&attributes::canonical(name)).is_some(), "`{name}` of {}", table.what);
        }
    }
}
