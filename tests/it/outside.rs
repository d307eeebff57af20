//! Steps that reach beyond their build: other machines over HTTP, programs on the master. Both by grant.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc;

use serde_json::Value;
use windlass_tests::site::{Site, eventually, until_ended};

mod tls;

/// A server that answers each request with its headers, and tells them here; `/missing` is not there, and `/large`
/// is more than a property takes.
fn server() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> =
                lines.by_ref().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
            let head = head.join("\n");
            let status = if head.contains(" /missing ") { "404 Not Found" } else { "200 OK" };
            let body = if head.contains(" /large ") { "x".repeat(70_000) } else { head.clone() };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
            // Nobody listens any more once the test is over.
            tell.send(head).ok();
        }
    });
    (port, told)
}

fn step(name: &str, hook: &str, args: &str) -> String {
    format!(
        "[[builders]]\nname = \"{name}\"\nworkers = [\"w1\"]\nsecrets = [\"token\"]\n\
         [[builders.steps]]\nuse = \"{hook}\"\nargs = {{ {args} }}\n\
         [[schedulers]]\nname = \"{name}\"\ntype = \"force\"\nbuilders = [\"{name}\"]\n"
    )
}

fn site(builders: &str, grants: &str) -> Site {
    site_of(builders, grants).start()
}

/// The same, not started yet.
fn site_of(builders: &str, grants: &str) -> Site {
    let mut site = Site::new(&["w1"], "");
    let file = site.path("token-of-the-service");
    std::fs::write(&file, "hunter2-and-more\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let secrets = format!("[secrets]\ntoken = {{ file = {} }}\n", Value::from(file.to_str().unwrap()));
    site.configure(&format!("{builders}{secrets}{grants}"));
    site
}

fn log(site: &Site, build: &Value) -> String {
    let output = site.windlass(&["logs", &build["id"].to_string()]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_request_goes_to_a_granted_host_with_a_secret_that_no_step_sees() {
    let (port, told) = server();
    let url = |path: &str| format!("url = \"http://127.0.0.1:{port}{path}\"");
    let authorized = url("/hook?key=1")
        + ", method = \"POST\", json = { a = 1 }, property = \"said\", \
           headers = { authorization = \"Bearer %(secret:token)s\" }";
    let site = site(
        &(step("ok", "http-request", &authorized)
            + &step("missing", "http-request", &(url("/missing") + ", property = \"said\""))
            + &step("large", "http-request", &(url("/large") + ", property = \"said\""))
            + &step("elsewhere", "http-request", "url = \"http://localhost:1/\"")),
        "[grants.\"windlass:http-request\"]\nfetch = [\"127.0.0.1\"]\nsecret = [\"token\"]\n",
    );
    let build = site.build("ok");
    assert_eq!(build["outcome"], "success", "{build}");
    let head = told.recv().unwrap();
    assert!(head.starts_with("POST /hook?key=1 HTTP/1.1\n"), "{head}");
    assert!(head.contains("authorization: Bearer hunter2-and-more"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    let log = log(&site, &build);
    assert!(log.contains("Bearer <secret>") && !log.contains("hunter2"), "{log}");
    assert!(!build.to_string().contains("hunter2"), "{build}");

    let missing = site.build("missing");
    assert_eq!(missing["outcome"], "failure");
    assert!(missing["steps"][0]["summary"].as_str().unwrap().ends_with("status 404"), "{missing}");
    let is_set = |build: &Value| {
        build["properties"].as_array().unwrap().iter().any(|property| property["name"] == "said")
    };
    assert!(is_set(&build) && !is_set(&missing), "what an error says is nobody's property");

    // Symptom: a request that had done its work was an exception. Cause: its body fitted no property, which was found
    // before the status was judged. Cure: that is a failure, and says so.
    let large = site.build("large");
    assert_eq!(large["outcome"], "failure");
    let summary = large["steps"][0]["summary"].as_str().unwrap();
    assert!(summary.contains("status 200; its body of 70000 bytes is kept by no property"), "{summary}");

    let denied = site.build("elsewhere");
    assert_eq!(denied["outcome"], "exception");
    let fault = denied["steps"][0]["fault"].as_str().unwrap();
    assert!(fault.contains("may not use `fetch` for `localhost`: the master does not grant it"), "{fault}");
}

/// Symptom: a notification at the end of a build that was stopped was never sent; a request that outlasted its step's
/// deadline took the blame to its plugin. Cause: a request looked at the build's order to stop, not at its step's, and at
/// no deadline. Cure: it waits as all else of a step does.
#[test]
fn a_request_is_sent_after_a_stop_by_a_step_that_always_runs_and_ends_with_its_steps_deadline() {
    let (port, told) = server();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let sleeps = "[[builders.steps]]\nuse = \"shell-command\"\nargs = { command = \"sleep 600\" }\n\
                  [[builders.steps]]\nuse = \"http-request\"\nalways_run = true\n";
    let notifies = step("notifies", "http-request", &format!("url = \"http://127.0.0.1:{port}/over\""))
        .replace("[[builders.steps]]\nuse = \"http-request\"\n", sleeps);
    let hangs =
        step("hangs", "http-request", &format!("url = \"http://127.0.0.1:{silent_port}/\", timeout = 600"))
            .replace("use = \"http-request\"\n", "use = \"http-request\"\ndeadline = \"1s\"\n");
    let site = site(&(notifies + &hangs), "[grants.\"windlass:http-request\"]\nfetch = [\"127.0.0.1\"]\n");
    let buildset = site.submit("notifies");
    let id = site.running("notifies").to_string();
    windlass_tests::site::eventually("its step runs", || {
        let build = site.ok(&["build", &id, "--json"]);
        (build["steps"].as_array()?.len() == 1).then_some(())
    });
    assert!(site.windlass(&["stop", &id]).status.success());
    assert_eq!(site.outcome(buildset), "cancelled");
    assert!(told.recv().unwrap().starts_with("GET /over HTTP/1.1"));
    assert_eq!(site.newest("notifies")["steps"][1]["outcome"], "success");

    let hung = site.build("hangs");
    let step = &hung["steps"][0];
    assert_eq!((&step["outcome"], &step["fault"]), (&"failure".into(), &Value::Null), "{hung}");
    assert_eq!(step["summary"], "its deadline of 1 s has passed");
}

#[test]
fn a_program_whose_master_is_killed_ends_with_the_next_start_and_its_build_is_built_again() {
    let script = "test -e @/go && exit 0; sleep 600 & echo $! > @/new; mv @/new @/pid; wait";
    let mut site = site_of("", "");
    let script = script.replace('@', site.path("").to_str().unwrap().trim_end_matches('/'));
    let args = format!("command = [\"sh\", \"-c\", {}]", Value::from(script));
    let grants = "[grants.\"windlass:master-shell-command\"]\nmaster-process = [\"sh\"]\n";
    let secret = Value::from(site.path("token-of-the-service").to_str().unwrap());
    let secrets = format!("[secrets]\ntoken = {{ file = {secret} }}\n");
    site.configure(&(step("b", "master-shell-command", &args) + &secrets + grants));
    let mut site = site.start();
    let buildset = site.submit("b");
    let first = site.running("b");
    let read = || std::fs::read_to_string(site.path("pid")).ok()?.trim().parse::<u32>().ok();
    let sleeps = eventually("its program runs", read);
    site.end("master", false);
    std::fs::write(site.path("go"), "").unwrap();
    site.start_master();
    until_ended(sleeps);
    assert_eq!(site.outcome(buildset), "success");
    let summary = site.ok(&["build", &first.to_string(), "--json"])["summary"].to_string();
    assert!(summary.contains("on the master"), "{summary}");
}

#[test]
fn a_program_runs_on_the_master_if_it_is_granted_and_ends_with_its_step() {
    let args = |script: &str| format!("command = [\"sh\", \"-c\", {}]", Value::from(script));
    let site = site(
        &(step("fails", "master-shell-command", &args("echo out; echo err >&2; exit 3"))
            + &step("sleeps", "master-shell-command", &args("sleep 600 & echo $!; wait"))
            + &step("late", "master-shell-command", &(args("sleep 600 & echo $!; wait") + ", max_time = 3"))
            + &step("other", "master-shell-command", "command = [\"id\"]")),
        "[grants.\"windlass:master-shell-command\"]\nmaster-process = [\"sh\"]\n",
    );
    let build = site.build("fails");
    assert_eq!(build["outcome"], "failure");
    assert!(build["steps"][0]["summary"].as_str().unwrap().ends_with("exit code 3"), "{build}");
    let said = log(&site, &build);
    assert!(said.contains("out\n") && said.contains("err\n"), "{said}");

    let buildset = site.submit("sleeps");
    let id = site.running("sleeps").to_string();
    let process = |id: &str| {
        let output = site.windlass(&["logs", id]).stdout;
        String::from_utf8_lossy(&output).lines().find_map(|line| line.parse::<u32>().ok())
    };
    let sleeps = eventually("its program runs", || process(&id));
    assert!(site.windlass(&["stop", &id]).status.success());
    assert_eq!(site.outcome(buildset), "cancelled");
    until_ended(sleeps);

    let late = site.build("late");
    assert_eq!(late["outcome"], "failure");
    assert!(
        late["steps"][0]["summary"].as_str().unwrap().ends_with("stopped at its limit: max-time"),
        "{late}"
    );
    until_ended(process(&late["id"].to_string()).expect("it said which"));

    let denied = site.build("other");
    assert_eq!(denied["outcome"], "exception");
    let fault = denied["steps"][0]["fault"].as_str().unwrap();
    assert!(fault.contains("may not use `master-process` for `id`"), "{fault}");
}
