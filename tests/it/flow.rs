//! From a change in a git repository to a finished build, with everything that acted on it named.

use windlass_tests::repository::Repository;
use windlass_tests::site::Site;

fn polled(repository: &Repository) -> String {
    let url = repository.url();
    format!(
        "[[git_pollers]]\nname = \"main\"\nrepository = \"{url}\"\nbranches = [\"main\"]\npoll_interval = 3600\n\
         [[schedulers]]\nname = \"ci\"\ntype = \"single-branch\"\nbuilders = [\"b\"]\nchange_filter = {{ branch = \"main\" }}\n\
         treeStableTimer = 0\n\
         [[schedulers]]\nname = \"force\"\ntype = \"force\"\nbuilders = [\"b\"]\n\
         [[builders]]\nname = \"b\"\nworkers = [\"w1\", \"w2\"]\n\
         [[builders.steps]]\nuse = \"git\"\nargs = {{ repourl = \"{url}\" }}\n\
         [[builders.steps]]\nuse = \"shell-command\"\nname = \"show\"\nargs = {{ command = \"cat greeting && git rev-parse HEAD\" }}\n"
    )
}

#[test]
fn a_commit_is_found_and_built_at_its_exact_revision() {
    let repository = Repository::new();
    repository.commit("greeting", "hello\n", "first");
    let site = Site::new(&["w1", "w2"], &polled(&repository)).start();
    site.ok(&["poll", "--json"]);
    let revision = repository.commit("greeting", "hello again\n", "second");
    let found = site.ok(&["poll", "--json"]);
    assert_eq!(found[0]["changes"], 1, "{found}");
    site.until("the change is built", |s| s["builders"][0]["last"]["outcome"] == "success");

    let build = site.newest("b");
    assert_eq!(build["revision"], revision);
    assert_eq!(build["changes"][0]["comments"].as_str().map(str::trim), Some("second"));
    assert_eq!(build["steps"].as_array().map(Vec::len), Some(2));
    for step in build["steps"].as_array().unwrap() {
        assert_eq!(step["outcome"], "success", "{step}");
    }
    let kinds: Vec<&str> =
        build["components"].as_array().unwrap().iter().map(|c| c["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"build-step") && kinds.contains(&"slave-command"), "{kinds:?}");
    let id = build["id"].to_string();
    let log = site.windlass(&["logs", &id, "show"]);
    let log = String::from_utf8(log.stdout).unwrap();
    assert!(log.contains("hello again\n") && log.contains(&revision), "{log}");
}

#[test]
fn a_failing_command_fails_the_build_and_later_steps_heed_their_flags() {
    let steps = "[[builders]]\nname = \"b\"\nworkers = [\"w1\"]\n\
        [[builders.steps]]\nuse = \"test\"\nargs = { command = \"echo tests fail; exit 3\", workdir = \".\" }\n\
        [[builders.steps]]\nuse = \"shell-command\"\nname = \"after\"\nargs = { command = \"true\", workdir = \".\" }\n\
        [[builders.steps]]\nuse = \"compile\"\nargs = { command = \"false\", workdir = \".\" }\n\
        [[builders.steps]]\nuse = \"shell-command\"\nname = \"never\"\nargs = { command = \"true\", workdir = \".\" }\n\
        [[schedulers]]\nname = \"force\"\ntype = \"force\"\nbuilders = [\"b\"]\n";
    let site = Site::new(&["w1"], steps).start();
    let build = site.build("b");
    assert_eq!(build["outcome"], "failure");
    let outcomes: Vec<(&str, &str)> = build["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["name"].as_str().unwrap(), s["outcome"].as_str().unwrap()))
        .collect();
    // A failing test does not halt, a failing compile does.
    assert_eq!(outcomes, [("test", "failure"), ("after", "success"), ("compile", "failure")]);
}

#[test]
fn a_log_arrives_byte_for_byte() {
    let site =
        Site::with_command("head -c 3000000 /dev/zero | tr '\\0' 'x' | fold -w 99; printf 'end \\377\\376'")
            .start();
    let build = site.build("b");
    assert_eq!(build["outcome"], "success", "{build}");
    let id = build["id"].to_string();
    let output = site.windlass(&["logs", &id]);
    let tail = &output.stdout[output.stdout.len() - 400..];
    assert!(tail.windows(6).any(|w| w == b"end \xff\xfe"), "{}", String::from_utf8_lossy(tail));
    let xs = output.stdout.iter().filter(|b| **b == b'x').count();
    assert!((3_000_000..3_000_100).contains(&xs), "{xs}");
}

#[test]
fn a_running_build_can_be_followed_and_stopped() {
    let site = Site::with_command("echo begun; sleep 600").start();
    let buildset = site.submit("b");
    let id = site.running("b").to_string();
    windlass_tests::site::eventually("it has begun", || {
        let log = site.windlass(&["logs", &id]);
        String::from_utf8_lossy(&log.stdout).contains("begun\n").then_some(())
    });
    let stopped = site.windlass(&["stop", &id, "--reason", "enough"]);
    assert!(stopped.status.success(), "{stopped:?}");
    assert_eq!(site.outcome(buildset), "cancelled");
    let followed = site.windlass(&["logs", &id, "-f"]);
    assert!(String::from_utf8_lossy(&followed.stdout).contains("begun"), "{followed:?}");
}
