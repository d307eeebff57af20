//! Secrets: processes get their values, and nobody else ever sees one.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use windlass_tests::fixtures::component;
use windlass_tests::site::Site;

/// With characters that URLs, JSON and shells write in their own way.
const TOKEN: &str = "tok3n/with+odd=\"chars\" & more";
const KEY: &str = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA75\nQmx1ZQpHcmVlbgpSZWQK\n-----END KEY-----\n";

/// Two secrets, in files beside `master.toml`.
const SECRETS: &str = "[secrets]\n\
    token = { file = \"secret-token\" }\n\
    key = { file = \"secret-key\", strip = false }\n";

/// A site with one worker, these builders, and the components that look and tell.
fn site(builders: &str) -> Site {
    let site = Site::new(&["w1"], &format!("{builders}\n{SECRETS}"));
    secret(&site.path("secret-token"), &format!("{TOKEN}\n"));
    secret(&site.path("secret-key"), KEY);
    for name in ["keeper", "courier"] {
        site.plugin(name, &component(name));
    }
    // What is not bundled is allowed nothing unless this says so.
    let worker = site.path("w1/worker.toml");
    let mut text = std::fs::read_to_string(&worker).unwrap();
    text += "[allow.\"*\"]\nexec = [\"*\"]\nfiles = [\"*\"]\nsecret = [\"*\"]\nenv = [\"*\"]\n";
    std::fs::write(worker, text).unwrap();
    std::fs::create_dir(site.path("outside")).unwrap();
    site
}

fn secret(path: &Path, value: &str) {
    std::fs::write(path, value).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// TOML of a builder `b` that lists both secrets.
fn builder(more: &str, steps: &[Value]) -> String {
    let mut text = format!(
        "[[builders]]\nname = \"b\"\nworkers = [\"w1\"]\nmerge_requests = false\n\
         secrets = [\"token\", \"key\"]\n{more}\n"
    );
    for step in steps {
        text += "[[builders.steps]]\n";
        for (key, value) in step.as_object().unwrap() {
            text += &format!("{key} = {}\n", toml(value));
        }
    }
    text
}

fn toml(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|(k, v)| format!("{} = {}", Value::from(k.as_str()), toml(v))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn shell(script: &str) -> Value {
    let env = json!({ "TOKEN": "%(secret:token)s" });
    json!({ "use": "shell-command", "args": { "command": script, "env": env, "initial_stdin": "<%(secret:key)s>" } })
}

fn carry(args: Value) -> Value {
    json!({ "use": "carry", "args": args })
}

fn property(build: &Value, name: &str) -> String {
    let properties = build["properties"].as_array().unwrap();
    let found =
        properties.iter().find(|p| p["name"] == name).unwrap_or_else(|| panic!("no `{name}` in {build}"));
    found["value"].as_str().unwrap().to_owned()
}

/// All logs of a build.
fn logs(site: &Site, build: &Value) -> String {
    let said = site.windlass(&["logs", &build["id"].to_string()]);
    String::from_utf8_lossy(&said.stdout).into_owned()
}

fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |three: &[u8]| {
        let byte = |at: usize| usize::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        (0..=three.len()).map(|n| char::from(DIGITS[bits >> (18 - 6 * n) & 63])).collect::<String>()
    };
    data.chunks(3).map(digits).collect()
}

/// As a URL and as a text in JSON hold it.
fn escaped(value: &str) -> [Vec<u8>; 2] {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let percent = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    let json = Value::from(value).to_string();
    [value.bytes().map(percent).collect::<String>().into(), json[1..json.len() - 1].into()]
}

/// Where any of these bytes contain a secret, or a line of one, as it is or as it is usually written.
fn leaks(what: &str, bytes: &[u8]) -> Vec<String> {
    let lines = KEY.lines().filter(|line| line.starts_with(['M', 'Q']));
    let values = [TOKEN, KEY].into_iter().chain(lines).map(|v| v.as_bytes().to_vec());
    let encoded = [TOKEN, KEY].into_iter().map(|value| base64(value.as_bytes()).into_bytes());
    values
        .chain(encoded)
        .chain([TOKEN, KEY].into_iter().flat_map(escaped))
        .filter(|value| bytes.windows(value.len()).any(|window| window == value.as_slice()))
        .map(|value| format!("{what} has {}", String::from_utf8_lossy(&value)))
        .collect()
}

/// Every file of a site but the sources themselves, what the tests' processes were told to keep, and compiled components
/// that it was lent: those have other names elsewhere.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "outside" {
            found.extend(files(&path));
        } else if path.metadata().is_ok_and(|found| found.is_file() && found.nlink() == 1)
            && !name.starts_with("secret-")
        {
            found.push(path);
        }
    }
    found
}

#[track_caller]
fn assert_nothing_leaked(site: &Site) {
    let files = files(&site.path(""));
    assert!(files.iter().any(|path| path.starts_with(site.path("state"))), "{files:?}");
    let found: Vec<String> = files
        .iter()
        .flat_map(|path| leaks(&path.display().to_string(), &std::fs::read(path).unwrap_or_default()))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[track_caller]
fn assert_nothing_said(site: &Site, build: &Value) {
    let id = build["id"].to_string();
    for args in [
        vec!["build", &id],
        vec!["build", &id, "--json"],
        vec!["logs", &id],
        vec!["builds", "--json"],
        vec!["status", "--json"],
        vec!["plugin", "list", "--json"],
    ] {
        let said = site.windlass(&args);
        assert_eq!(leaks(&args.join(" "), &[said.stdout, said.stderr].concat()), [""; 0]);
    }
}

#[test]
fn a_process_gets_the_values_and_everything_else_placeholders() {
    let outside = "../../../../outside";
    let steps = [
        shell(&format!(
            "printf %s \"$TOKEN\" > {outside}/env; cat > {outside}/input; printf %s \"$WIDE\" > {outside}/wide"
        )),
        carry(json!({ "command": "keeper:keep", "args": {
            "text": "%(secret:token)s",
            // It runs one level higher than a shell command.
            "script": "cat > ../../../outside/written; echo \"I have $TOKEN\"; echo \"$TOKEN\" > left",
        } })),
    ];
    let more = "env = { WIDE = \"a %(secret:token)s b\" }";
    let grants = "[grants.\"keeper:keep\"]\nexec = [\"*\"]\nfiles = [\"*\"]\nsecret = [\"token\"]\n";
    let site = site(&format!("{}{grants}", builder(more, &steps))).start();
    let build = site.build("b");
    assert_eq!(build["outcome"], "success", "{build}\n{}", logs(&site, &build));
    let kept = |name: &str| std::fs::read_to_string(site.path("outside").join(name)).unwrap();
    assert_eq!(kept("env"), TOKEN);
    assert_eq!(kept("input"), format!("<{KEY}>"));
    assert_eq!(kept("wide"), format!("a {TOKEN} b"));
    assert_eq!(kept("written"), TOKEN);
    // What the guest had in its memory, told in a way that no mask knows.
    let seen: String = property(&build, "backwards").chars().rev().collect();
    assert_eq!(leaks("the guest's memory", seen.as_bytes()), [""; 0]);
    assert!(seen.starts_with("windlass_secret_"), "{seen}");
    assert!(seen.contains("I have <token>\n") && seen.ends_with("<token>\n"), "{seen}");
    // The worker shows placeholders by their names, so that logs of two builds are the same.
    assert!(property(&build, "straight").starts_with("<token>\n"), "{build}");
    let log = logs(&site, &build);
    assert!(log.contains("  TOKEN=<token>\n") && log.contains("  WIDE=a <token> b\n"), "{log}");
    // Of what the script wrote into the worker's directory, the worker knows nothing.
    std::fs::remove_file(site.path("w1/builds/b/left")).unwrap();
    assert_nothing_said(&site, &build);
    assert_nothing_leaked(&site);
}

#[test]
fn output_is_masked_however_it_comes_and_nothing_is_kept_after_a_kill() {
    let script = "printf %s \"$TOKEN\" | dd bs=1 2>/dev/null; echo; echo \"$TOKEN\" >&2; cat; \
                  printf 'user:%s' \"$TOKEN\" | base64 -w0; echo; echo begun";
    let later = json!({ "use": "shell-command", "args": {
        "command": "cat ../kept; until test -e ../../../go; do sleep 0.05; done; cat ../kept",
    } });
    let keep = shell(&format!("{script}; printf %s \"$TOKEN\" > ../kept"));
    let mut site = site(&builder("", &[keep, later])).start();
    let buildset = site.submit("b");
    let id = site.running("b").to_string();
    let log = windlass_tests::site::eventually("the second step has begun", || {
        let build = site.ok(&["build", &id, "--json"]);
        (build["steps"].as_array()?.len() > 1).then(|| logs(&site, &build))
    });
    assert!(log.matches("<token>").count() >= 3, "{log}");
    assert!(log.contains("<<key>>"), "{log}");
    std::fs::rename(site.path("w1/builds/b/kept"), site.path("outside/kept")).unwrap();
    assert_nothing_leaked(&site);
    // The search does find one.
    assert_ne!(leaks("kept", &std::fs::read(site.path("outside/kept")).unwrap()), [""; 0]);
    std::fs::rename(site.path("outside/kept"), site.path("w1/builds/b/kept")).unwrap();
    site.end("w1", false);
    site.end("master", false);
    std::fs::rename(site.path("w1/builds/b/kept"), site.path("outside/kept")).unwrap();
    assert_nothing_leaked(&site);
    std::fs::write(site.path("w1/go"), "").unwrap();
    site.start_master();
    site.start_worker("w1");
    assert_eq!(site.outcome(buildset), "success");
    let build = site.newest("b");
    // A later step that was given nothing masks what the build has used.
    let log = logs(&site, &build);
    assert_eq!(leaks("the log", log.as_bytes()), [""; 0]);
    std::fs::remove_file(site.path("w1/builds/b/kept")).unwrap();
    assert_nothing_said(&site, &build);
    assert_nothing_leaked(&site);
}

#[test]
fn a_leak_is_found_however_it_is_written() {
    let json = json!({ "log": format!("a {TOKEN} b") }).to_string();
    assert_eq!(leaks("json", json.as_bytes()).len(), 1);
    assert_eq!(leaks("url", b"u:tok3n%2Fwith%2Bodd%3D%22chars%22%20%26%20more@h").len(), 1);
    assert_eq!(leaks("log", format!("a {TOKEN} b").as_bytes()).len(), 1);
}

/// Symptom: a value stood in clear in the log of the next build. Cause: a command masked only what it or an
/// earlier command of its build was given. Cure: each command masks all that its builder lists.
#[test]
fn what_an_earlier_build_left_is_masked_for_a_command_that_was_given_nothing() {
    let look = json!({ "use": "shell-command", "args": { "command": "cat ../left || true" } });
    let site = site(&builder("", &[look, shell("printf %s \"$TOKEN\" > ../left")])).start();
    assert_eq!(site.build("b")["outcome"], "success");
    let build = site.build("b");
    assert!(logs(&site, &build).contains("<token>"), "{}", logs(&site, &build));
    std::fs::remove_file(site.path("w1/builds/b/left")).unwrap();
    assert_nothing_said(&site, &build);
    assert_nothing_leaked(&site);
}

#[test]
fn a_value_that_is_replaced_while_a_build_runs_is_masked_to_its_end() {
    let write = "printf %s \"$TOKEN\" > ../left; until test -e ../../../go; do sleep 0.05; done";
    let site = site(&builder("", &[shell(write), shell("cat ../left; printf ' %s' \"$TOKEN\"")])).start();
    let buildset = site.submit("b");
    let left = site.path("w1/builds/b/left");
    windlass_tests::site::eventually("the first step has written the value", || {
        std::fs::read_to_string(&left).ok().filter(|text| text == TOKEN)
    });
    secret(&site.path("secret-token"), "another value");
    std::fs::write(site.path("w1/go"), "").unwrap();
    assert_eq!(site.outcome(buildset), "success");
    let build = site.newest("b");
    assert!(logs(&site, &build).contains("<token> <token>"), "{}", logs(&site, &build));
    std::fs::remove_file(left).unwrap();
    assert_nothing_leaked(&site);
}

#[test]
fn a_new_value_needs_no_restart() {
    let site = site(&builder("", &[shell("printf %s \"$TOKEN\" > ../../../../outside/env")])).start();
    assert_eq!(site.build("b")["outcome"], "success");
    secret(&site.path("secret-token"), "another value");
    assert_eq!(site.build("b")["outcome"], "success");
    assert_eq!(std::fs::read_to_string(site.path("outside/env")).unwrap(), "another value");
    std::fs::remove_file(site.path("secret-token")).unwrap();
    let build = site.build("b");
    assert_ne!(build["outcome"], "success");
    assert!(build.to_string().contains("the secret `token` cannot be read"), "{build}");
}

#[test]
fn a_placeholder_anywhere_else_is_refused_with_what_to_do() {
    let token = "%(secret:token)s";
    let run = |args: Value| carry(json!({ "command": "windlass:shell", "args": args }));
    let places = [
        run(json!({ "command": ["echo", token] })),
        run(json!({ "command": format!("echo {token}") })),
        run(json!({ "command": ["true"], "workdir": token })),
        carry(json!({ "command": "keeper:keep", "args": { "text": token, "write": "file" } })),
    ];
    let expected = ["an argument of `echo`", "an argument of `/bin/sh`", "a path", "the content of a file"];
    let grants = "[grants.\"keeper:keep\"]\nexec = [\"*\"]\nfiles = [\"*\"]\nsecret = [\"token\"]\n";
    let mut site = self::site(&format!("{}{grants}", builder("", &places[..1]))).start();
    for (place, expected) in places.into_iter().zip(expected) {
        site.configure(&format!("{}{grants}{SECRETS}", builder("", &[place])));
        site.ok(&["reconfig", "--json"]);
        let end = property(&site.build("b"), "end");
        let begin = format!("bad-argument: the secret `token` stands in {expected}");
        assert!(end.starts_with(&begin) && end.contains("env = { TOKEN ="), "{end}");
    }
    assert_nothing_leaked(&site);
}

#[test]
fn who_was_not_granted_a_secret_is_denied_by_name() {
    let step = carry(json!({
        "command": "keeper:keep", "args": { "text": "%(secret:token)s" },
        "render": ["%", "(secret:key)s"], "add": ["{\"use\":\"shell-command\",\"args\":{\"command\":\"x\",\"env\":{\"A\":\"%", "(secret:key)s\"}}}"],
    }));
    let grants = "[grants.\"keeper:keep\"]\nexec = [\"*\"]\nfiles = [\"*\"]\n";
    let mut site = site(&format!("{}{grants}", builder("", std::slice::from_ref(&step)))).start();
    let build = site.build("b");
    let end = property(&build, "end");
    assert!(end.starts_with("denied: `keeper:keep` ("), "{end}");
    assert!(end.contains("may not use the secret `token`: the master does not grant it"), "{end}");
    assert!(end.contains("add `secret = [\"token\"]` to [grants.\"keeper:keep\"]"), "{end}");
    for (name, call) in [("rendered", "render"), ("added", "add-steps")] {
        let said = property(&build, name);
        let begin = format!(
            "denied: `courier:carry` may not use the secret `key` in `{call}`: the plugin does not ask"
        );
        assert!(said.starts_with(&begin), "{said}");
    }
    // Whoever reads the build learns of it, whatever the guests make of it.
    let id = build["id"].to_string();
    let said = site.windlass(&["logs", &id, "--log", "diagnostics"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("`spawn` was denied: `keeper:keep`") && said.contains("`courier:carry`"), "{said}");
    // Nor may a builder use what it does not list.
    let other = builder("", &[step]).replace("secrets = [\"token\", \"key\"]", "secrets = [\"key\"]");
    site.configure(&format!("{other}{grants}{SECRETS}"));
    let refused = site.windlass(&["reconfig"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("the builder `b` does not list the secret `token`"), "{said}");
    assert_nothing_leaked(&site);
}

#[test]
fn a_value_that_a_program_prints_reaches_a_process_and_nobody_else_however_it_is_written() {
    let value = "asked/for+it & more";
    let script = "printf %s \"$T\" > ../../../../outside/asked; echo \"it is $T\"; printf %s \"$T\" | dd bs=1 2>&-; echo; \
                  for before in '' u us; do printf '%s%s!!' \"$before\" \"$T\" | base64; done";
    let step =
        json!({ "use": "shell-command", "args": { "command": script, "env": { "T": "%(secret:asked)s" } } });
    let builder = builder("", &[step]).replace("secrets = [\"token\", \"key\"]", "secrets = [\"asked\"]");
    let site = site(&builder);
    let source = site.path("secret-asked");
    std::fs::write(&source, format!("{value}\n")).unwrap();
    let asked = format!("asked = {{ command = [\"cat\", {:?}] }}\n", source.display().to_string());
    let mut site = site;
    site.configure(&format!("{builder}{SECRETS}{asked}"));
    let refused = site.windlass(&["check"]);
    let said = String::from_utf8_lossy(&[refused.stdout, refused.stderr].concat()).into_owned();
    assert!(said.contains("runs `cat` on the master, which nothing grants"), "{said}");
    assert!(said.contains("add `master-process = [\"cat\"]` to [grants.secrets]"), "{said}");

    site.configure(&format!("{builder}{SECRETS}{asked}[grants.secrets]\nmaster-process = [\"cat\"]\n"));
    let site = site.start();
    let build = site.build("b");
    assert_eq!(build["outcome"], "success", "{build}\n{}", logs(&site, &build));
    assert_eq!(std::fs::read_to_string(site.path("outside/asked")).unwrap(), value);
    let log = logs(&site, &build);
    assert!(log.contains("it is <asked>\n<asked>\n"), "{log}");
    assert_eq!(log.matches("<asked>").count(), 2 + 3, "{log}");
    // Of its base64, what depends on the value alone, wherever it begins.
    let alone = |before: &str| {
        let whole = base64(format!("{before}{value}").as_bytes());
        whole[(before.len() * 8).div_ceil(6)..(before.len() + value.len()) * 8 / 6].to_owned()
    };
    for path in files(&site.path("")) {
        let bytes = std::fs::read(&path).unwrap_or_default();
        for form in [value.to_owned(), alone(""), alone("u"), alone("us")] {
            let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!found, "{} has {form}", path.display());
        }
    }
}

#[test]
fn a_source_that_others_can_read_or_that_is_not_there_is_refused_at_check() {
    let site = site(&builder("", &[]));
    let check = || {
        String::from_utf8_lossy(&site.windlass(&["check"]).stdout).into_owned()
            + &String::from_utf8_lossy(&site.windlass(&["check"]).stderr)
    };
    let path = site.path("secret-token");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::remove_file(site.path("secret-key")).unwrap();
    let said = check();
    assert!(said.contains("the secret `token` may be read by others"), "{said}");
    assert!(said.contains("chmod 600") && said.contains("the secret `key` cannot be read"), "{said}");
    assert_eq!(leaks("check", said.as_bytes()), [""; 0]);
}

#[test]
fn builds_of_the_masters_user_cannot_look_into_it_and_a_crash_of_it_writes_nothing() {
    // What the master is started with would allow it.
    let core = rustix::process::getrlimit(rustix::process::Resource::Core);
    let most = rustix::process::Rlimit { current: core.maximum, maximum: core.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Core, most).unwrap();
    let site = site(&builder("", &[])).start();
    let proc = PathBuf::from(format!("/proc/{}", site.pid("master")));
    let limits = std::fs::read_to_string(proc.join("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    // Root may look into everything.
    if !rustix::process::geteuid().is_root() {
        let refused = std::fs::read(proc.join("environ")).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    }
}
