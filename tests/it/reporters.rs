//! Reporters: what becomes of builds is told at least once, in order, whatever happens to the master and the receiver.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use windlass_tests::faults::{Plan, Story, play};
use windlass_tests::fixtures::component;
use windlass_tests::receiver::{Got, Receiver};
use windlass_tests::site::{Site, eventually, free_port, text};

/// TOML of a reporter that tells this receiver, at a path of the reporter's name.
fn pushes(name: &str, receiver: &Receiver, more: &str) -> String {
    let url = format!("http://127.0.0.1:{}/{name}", receiver.port);
    format!(
        "[[reporters]]\nname = \"{name}\"\nuse = \"http-status-push\"\nargs = {{ url = \"{url}\" }}\n{more}\n"
    )
}

const GRANTS: &str =
    "[grants.\"windlass:http-status-push\"]\nfetch = [\"127.0.0.1\"]\nsecret = [\"token\"]\n";

/// A builder whose builds go well while a file is there.
fn judged(site: &Site, more: &str) -> String {
    Site::builder("b", &format!("test -e {}", site.path("good").display()), more)
}

fn is_good(site: &Site, good: bool) {
    let file = site.path("good");
    if good { std::fs::write(file, "").unwrap() } else { std::fs::remove_file(file).unwrap_or_default() }
}

fn reporter(status: &Value, name: &str) -> Value {
    let reporters = status["reporters"].as_array().unwrap();
    reporters.iter().find(|reporter| reporter["name"] == name).unwrap().clone()
}

/// Until a reporter has taken all.
fn until_told(site: &Site, name: &str) -> Value {
    let status = site.until("all is told", |status| reporter(status, name)["waiting"] == 0);
    reporter(&status, name)
}

#[test]
fn events_come_in_order_and_each_reporter_gets_what_it_asked_for() {
    let receiver = Receiver::new(&[]);
    let mut site = Site::new(&["w1"], "");
    let secret = site.path("token-of-the-receiver");
    std::fs::write(&secret, "hunter2-and-more\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let secrets = format!("[secrets]\ntoken = {{ file = {} }}\n", Value::from(secret.to_str().unwrap()));
    let authorized = format!(
        "[[reporters]]\nname = \"all\"\nuse = \"http-status-push\"\nsecrets = [\"token\"]\n\
         args = {{ url = \"http://127.0.0.1:{}/all\", properties = [\"owner\", \"buildername\"], \
         headers = {{ authorization = \"Bearer %(secret:token)s\", x-of = \"%(prop:buildername)s\" }} }}\n",
        receiver.port
    );
    let modes = ["failing", "passing", "change", "problem", "warnings"];
    let by_mode = modes.map(|mode| pushes(mode, &receiver, &format!("mode = \"{mode}\""))).concat();
    let others = pushes("starts", &receiver, "mode = \"exception\"\nreport_new = true")
        + &pushes("tagged", &receiver, "tags = [\"slow\"]")
        + &pushes("branch", &receiver, "branches = [\"main\"]\nmode = \"all\"")
        + &pushes("forced", &receiver, "schedulers = [\"force\"]\nbuilders = [\"b*\"]\nreport_new = false");
    let builders = judged(&site, "tags = [\"quick\"]").replace(", \"w2\"", "")
        + &Site::builder("other", "true", "tags = [\"slow\"]").replace(", \"w2\"", "");
    site.settings("title = \"Here\"\nurl = \"https://ci.example.org\"\n");
    site.configure(&(builders + &secrets + &authorized + &by_mode + &others + GRANTS));
    let site = site.start();
    for good in [true, true, false, false, true] {
        is_good(&site, good);
        site.build("b");
    }
    site.build("other");
    let status = site.until("all is told", |status| {
        status["reporters"].as_array().unwrap().iter().all(|reporter| reporter["waiting"] == 0)
    });
    let told = |name: &str| receiver.until(&format!("/{name}"), 0);
    let ends = |ids: &[u64]| ids.iter().map(|id| format!("build-finished {id}")).collect::<Vec<_>>();
    let all: Vec<String> =
        (1..=6).flat_map(|id| [format!("build-started {id}"), format!("build-finished {id}")]).collect();
    assert_eq!(told("all"), all);
    assert_eq!(told("failing"), ends(&[3, 4]));
    assert_eq!(told("passing"), ends(&[1, 2, 5, 6]));
    assert_eq!(told("change"), ends(&[3, 5]));
    assert_eq!(told("problem"), ends(&[3]));
    assert_eq!(told("warnings"), ends(&[]));
    assert_eq!(told("starts"), (1..=6).map(|id| format!("build-started {id}")).collect::<Vec<_>>());
    assert_eq!(told("tagged"), all[10..]);
    assert_eq!(told("branch"), ends(&[]));
    assert_eq!(told("forced"), ends(&[1, 2, 3, 4, 5]));
    assert_eq!(reporter(&status, "all")["delivered"], 12);
    assert!(status["problems"].as_array().unwrap().is_empty(), "{status}");

    // What is in them.
    let got: Vec<Got> = receiver.got().into_iter().filter(|got| got.path == "/all").collect();
    let third = &got[5];
    assert_eq!(third.headers["authorization"], "Bearer hunter2-and-more");
    assert_eq!(third.headers["x-of"], "b");
    assert_eq!(third.headers["x-windlass-event-id"], third.id());
    assert_eq!(
        (&third.body["master"]["title"], &third.body["build"]["before"]),
        (&"Here".into(), &"success".into())
    );
    assert_eq!(third.body["build"]["properties"], serde_json::json!({ "buildername": "b" }));
    let build = site.ok(&["build", "3", "--json"]);
    for (told, known) in
        [("outcome", "outcome"), ("state", "summary"), ("ended", "ended"), ("worker", "worker")]
    {
        assert_eq!(third.body["build"][told], build[known], "{told}");
    }
    assert_eq!(third.body["build"]["url"], "https://ci.example.org/builds/3");
    let ids: std::collections::BTreeSet<&str> = got.iter().map(Got::id).collect();
    assert_eq!(ids.len(), 12, "each event has an id of its own");
    // Who uses what is shown, and what it costs.
    let listed = site.ok(&["plugin", "list", "--json"]).to_string();
    assert!(listed.contains("reporter all (reporter http-status-push)"), "{listed}");
    let stats = site.ok(&["plugin", "stats", "--json"]).to_string();
    assert!(stats.contains("reporter all") && !stats.contains("hunter2"), "{stats}");
}

#[test]
fn what_happens_while_the_receiver_is_away_comes_when_it_is_back_and_nobody_waits_for_it() {
    let (away, here) = (Receiver::absent(free_port(), &[429, 500]), Receiver::new(&[]));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hangs = Receiver::absent(silent.local_addr().unwrap().port(), &[]);
    let mut site = Site::new(&["w1"], "");
    let reporters =
        pushes("away", &away, "") + &pushes("here", &here, "") + &pushes("hangs", &hangs, "mode = \"all\"");
    site.configure(&(judged(&site, "").replace(", \"w2\"", "") + &reporters + GRANTS));
    is_good(&site, true);
    let mut site = site.start();
    (0..3).for_each(|_| drop(site.build("b")));
    assert_eq!(here.until("/here", 6).len(), 6);
    let status = site.until("it was tried", |status| !reporter(status, "away")["error"].is_null());
    let shown = reporter(&status, "away");
    assert!(shown["error"].as_str().unwrap().contains("Connection refused"), "{shown}");
    assert_eq!((&shown["waiting"], &shown["delivered"]), (&6.into(), &0.into()));
    let problems = status["problems"].to_string();
    assert!(problems.contains("reporter `away`: 6 events wait; tried again"), "{problems}");
    let table = site.windlass(&["status"]);
    assert!(String::from_utf8_lossy(&table.stdout).contains("tried again"), "{table:?}");
    assert_eq!(reporter(&status, "hangs")["waiting"], 3);

    // A shutdown waits for neither, and the next master goes on.
    site.end("master", true);
    away.listen();
    site.start_master();
    let words = away.until("/away", 6);
    assert_eq!(
        words,
        (1..=3)
            .flat_map(|id| [format!("build-started {id}"), format!("build-finished {id}")])
            .collect::<Vec<_>>()
    );
    let told = until_told(&site, "away");
    assert_eq!((&told["delivered"], &told["lost"], &told["error"]), (&6.into(), &0.into(), &Value::Null));
    assert_eq!(here.got().len(), 6, "nothing was told twice for nothing");
}

/// Masters are killed from their start to their last event, while the receiver refuses some.
#[test]
fn a_master_that_is_killed_at_any_commit_tells_every_event_at_least_once_under_one_id() {
    let (mut deaths, mut repeated) = (0, 0);
    for faults in ["4", "6:after", "7", "8:after 5", "9", "10:after", "11 3 2:after", "12", "13:after"] {
        let receiver = Receiver::new(&[503, 204, 503, 204, 429]);
        let mut site = Site::new(&["w1"], "");
        let builder = judged(&site, "").replace(", \"w2\"", "");
        site.configure(&(builder + &pushes("r", &receiver, "") + GRANTS));
        is_good(&site, true);
        let master = faults.split(' ').map(|fault| format!("commit:{fault}")).collect();
        let run = play(Story { site, builder: "b", watched: "w1" }, &Plan { master, ..Plan::default() });
        assert_eq!((run.outcome.as_str(), run.flaws.len()), ("success", 0), "{faults}: {:?}", run.flaws);
        deaths += run.deaths;
        // All has ended, and not all need be told: the last master was killed, too.
        let mut site = run.site;
        site.start_master();
        let shown = until_told(&site, "r");
        assert_eq!((&shown["lost"], &shown["dropped"]), (&0.into(), &0.into()), "{faults}: {shown}");
        let mut expected: Vec<String> = run
            .builds
            .iter()
            .flat_map(|b| [format!("build-started {}", b["id"]), format!("build-finished {}", b["id"])])
            .collect();
        let mut first: BTreeMap<String, Got> = BTreeMap::new();
        let mut told = Vec::new();
        for one in receiver.got() {
            let known = first.entry(one.words()).or_insert_with(|| {
                told.push(one.words());
                one.clone()
            });
            assert_eq!((one.id(), &one.body), (known.id(), &known.body), "a repetition is the same");
        }
        repeated += receiver.got().len() - told.len();
        told.sort();
        expected.sort();
        assert_eq!(told, expected, "{faults}");
        site.end("master", true);
    }
    assert!(deaths >= 6, "{deaths}");
    eprintln!("{deaths} deaths, {repeated} events came twice");
}

#[test]
fn a_reconfig_keeps_what_waits_for_those_who_stay_and_drops_what_waits_for_those_who_go() {
    let (away, here) = (Receiver::absent(free_port(), &[]), Receiver::new(&[]));
    let mut site = Site::new(&["w1"], "");
    let builder = judged(&site, "").replace(", \"w2\"", "");
    let configure = |site: &mut Site, reporters: &str| {
        site.configure(&(builder.clone() + reporters + GRANTS));
    };
    configure(&mut site, &(pushes("stays", &away, "") + &pushes("goes", &away, "")));
    is_good(&site, true);
    let mut site = site.start();
    site.build("b");
    site.until("they wait", |status| reporter(status, "goes")["waiting"] == 2);
    let moved = pushes("stays", &here, "mode = \"failing\"") + &pushes("new", &here, "");
    configure(&mut site, &moved);
    let planned = site.ok(&["reconfig", "--plan", "--json"]);
    let changes: Vec<String> = planned["plan"]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| format!("{} {} {}", change["how"], change["what"], change["name"]))
        .collect();
    let expected = ["removed goes", "added new", "changed stays"]
        .map(|words| words.split_once(' ').unwrap())
        .map(|(how, name)| format!("\"{how}\" \"reporter\" \"{name}\""));
    assert_eq!(changes, expected, "{planned}");
    site.ok(&["reconfig", "--json"]);
    // It paused, and goes on at once by the new address; what waited was asked for by its old words.
    assert_eq!(here.until("/stays", 2).len(), 2);
    site.build("b");
    assert_eq!(here.until("/new", 2), ["build-started 2", "build-finished 2"]);
    configure(&mut site, &(moved + &pushes("goes", &here, "")));
    site.ok(&["reconfig", "--json"]);
    site.build("b");
    assert_eq!(here.until("/goes", 2), ["build-started 3", "build-finished 3"], "it begins anew");
    assert_eq!(here.until("/stays", 0).len(), 2, "and nothing comes twice");
}

#[test]
fn a_reporter_that_goes_wrong_is_named_and_costs_nobody_else_anything() {
    let receiver = Receiver::new(&[]);
    let mut site = Site::new(&["w1"], "");
    site.plugin("strays", &component("strays"));
    let stray = |how: &str| {
        format!("[[reporters]]\nname = \"{how}\"\nuse = \"strays:stray\"\nargs = {{ how = \"{how}\" }}\n")
    };
    let strays = ["trap", "spin", "hoard", "err", "again", "well"].map(stray).concat();
    let ungranted = pushes("ungranted", &receiver, "").replace("127.0.0.1", "localhost");
    site.configure(
        &(judged(&site, "").replace(", \"w2\"", "")
            + &strays
            + &ungranted
            + &pushes("good", &receiver, "")
            + GRANTS),
    );
    is_good(&site, true);
    let site = site.start();
    for _ in 0..3 {
        assert_eq!(site.build("b")["outcome"], "success");
    }
    assert_eq!(receiver.until("/good", 6).len(), 6);
    let wrong = ["trap", "spin", "hoard", "again", "ungranted"];
    let status = site.until("each was tried", |status| {
        wrong.iter().all(|name| !reporter(status, name)["error"].is_null())
            && ["err", "well"].iter().all(|name| reporter(status, name)["waiting"] == 0)
    });
    for (name, words) in [
        ("trap", &["it trapped"][..]),
        // Where the machine is busy, its CPU may take as long to come by as the backstop.
        ("spin", &["ms of CPU", "did not answer within"]),
        ("hoard", &["memory"]),
        ("again", &["told to"]),
        ("ungranted", &["fetch = [\"localhost\"]"]),
    ] {
        let shown = reporter(&status, name);
        let error = shown["error"].as_str().unwrap();
        let plugin = if name == "ungranted" { "`reporters`" } else { "`strays`" };
        let is_said = words.iter().any(|words| error.contains(words));
        assert!(is_said && error.contains(plugin), "{name}: {error}");
        assert_eq!((&shown["waiting"], &shown["lost"]), (&6.into(), &0.into()), "{name}");
    }
    let lost = reporter(&status, "err");
    assert_eq!((&lost["lost"], &lost["delivered"]), (&6.into(), &0.into()), "{lost}");
    assert!(lost["last_lost"].as_str().unwrap().contains("told to, for"), "{lost}");
    assert_eq!(reporter(&status, "well")["delivered"], 6);
}

/// Symptom: reporters whose receivers said nothing took all places for calls, for a minute and a half each. Cure: a call
/// has a place for a moment only.
#[test]
fn receivers_that_never_answer_keep_nobody_else_waiting() {
    let (receiver, silent) = (Receiver::new(&[]), TcpListener::bind("127.0.0.1:0").unwrap());
    let nobody = Receiver::absent(silent.local_addr().unwrap().port(), &[]);
    let mut site = Site::new(&["w1"], "");
    let hanging: String = (0..20).map(|n| pushes(&format!("silent-{n}"), &nobody, "")).collect();
    site.configure(
        &(judged(&site, "").replace(", \"w2\"", "") + &hanging + &pushes("well", &receiver, "") + GRANTS),
    );
    is_good(&site, true);
    let site = site.start();
    assert_eq!(site.build("b")["outcome"], "success");
    assert_eq!(receiver.until("/well", 2).len(), 2);
}

/// The code blocks of a language in a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    page.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// The names in a document, with where they stand.
fn names(at: &str, json: &Value) -> Vec<String> {
    match json {
        Value::Object(entries) => entries
            .iter()
            .flat_map(|(name, value)| {
                let at = format!("{at}/{name}");
                // Names of properties are the builds' own.
                let below = if name == "properties" { Vec::new() } else { names(&at, value) };
                [vec![at], below].concat()
            })
            .collect(),
        Value::Array(items) => items.first().map(|item| names(at, item)).unwrap_or_default(),
        _ => Vec::new(),
    }
}

#[test]
fn the_page_of_reporters_shows_what_is_really_sent() {
    let page = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reporters.md"));
    let (example, document) = (&blocks(&page, "toml")[0], &blocks(&page, "json")[0]);
    let document: Value = serde_json::from_str(document).unwrap();
    let receiver = Receiver::new(&[]);
    let mut site = Site::new(&["w1"], "");
    std::fs::write(site.path("chat-token"), "hunter2-and-more").unwrap();
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(site.path("chat-token"), private).unwrap();
    // The site has a worker of that name already.
    let (_, rest) = example.split_once("[[builders]]").unwrap();
    let here = format!("http://127.0.0.1:{}/", receiver.port);
    let rest = rest.replace("https://chat.example.org/", &here).replace("chat.example.org", "127.0.0.1");
    site.settings("url = \"https://ci.example.org/\"\n");
    site.configure(&format!("[[builders]]{rest}"));
    let site = site.start();
    let forced = site.ok(&["force", "ci", "--json", "--branch", "main", "--repository", "/nowhere"]);
    assert_eq!(site.outcome(forced["buildset"].as_u64().unwrap()), "failure");
    let got = eventually("it is told", || receiver.got().pop());
    assert_eq!(names("", &got.body), names("", &document), "{}", got.body);
    assert_eq!(got.headers["authorization"], "Bearer hunter2-and-more");
    for name in ["x-windlass-event", "x-windlass-event-id", "content-type"] {
        assert!(page.contains(&format!("`{name}`")) && got.headers.contains_key(name), "{name}");
    }
}
