//! Files between workers and the master: every byte, whatever happens to the link; nothing more than was meant.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use windlass_core::digest::Digest;
use windlass_tests::fixtures::component;
use windlass_tests::relay::{Relay, Trouble};
use windlass_tests::site::{Site, eventually};

/// A builder `b` on `w1` with these steps: what `use` names, and its arguments.
fn builder(steps: &[(&str, &str)]) -> String {
    let mut text = "[[builders]]\nname = \"b\"\nworkers = [\"w1\"]\nmerge_requests = false\n".to_owned();
    for (uses, args) in steps {
        text += &format!("[[builders.steps]]\nuse = \"{uses}\"\nargs = {{ {args} }}\n");
    }
    text
}

/// Where the builder `b` works on `w1`.
fn workdir(site: &Site) -> PathBuf {
    site.path("w1/builds/b/build")
}

/// Bytes that do not repeat, and compress somewhat.
fn content(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut content = Vec::with_capacity(bytes + 16);
    while content.len() < bytes {
        content.extend_from_slice(&next().to_le_bytes());
        content.extend_from_slice(b"padding.");
    }
    content.truncate(bytes);
    content
}

fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// The bytes of an artifact, by the command line.
fn fetched(site: &Site, build: &Value, name: &str) -> Vec<u8> {
    let file = site.path("fetched");
    let out = site.windlass(&["artifact", &build["id"].to_string(), name, "-o", file.to_str().unwrap()]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::read(file).unwrap()
}

fn artifacts(site: &Site, build: &Value) -> Vec<Value> {
    let list = site.ok(&["artifacts", &build["id"].to_string(), "--json"]);
    list.as_array().unwrap().clone()
}

/// What lies below the folder of artifacts: files that are made, and files that are kept.
fn kept(site: &Site) -> (usize, usize) {
    let count = |path: &Path| std::fs::read_dir(path).map_or(0, Iterator::count);
    let folder = site.path("state/artifacts");
    let builds = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let builds = builds.filter(|path| path.file_name().unwrap() != "unfinished");
    (count(&folder.join("unfinished")), builds.map(|path| count(&path)).sum())
}

fn log(site: &Site, build: &Value) -> String {
    let out = site.windlass(&["logs", &build["id"].to_string()]);
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn a_file_arrives_byte_by_byte_however_it_is_packed() {
    let site = Site::new(
        &["w1"],
        &builder(&[
            ("file-upload", r#"worker_src = "dist/data", keep_stamp = true"#),
            ("file-upload", r#"worker_src = "dist/data", master_dest = "packed/gz", compress = "gzip""#),
            (
                "file-upload",
                r#"worker_src = "dist/data", master_dest = "packed/zst", compress = "zstd", url = "https://example.org/x", url_text = "see""#,
            ),
            ("file-upload", r#"worker_src = "dist/empty""#),
        ]),
    )
    .start();
    let data = content(3_000_000);
    write(&workdir(&site).join("dist/data"), &data);
    write(&workdir(&site).join("dist/empty"), b"");
    let script = std::fs::Permissions::from_mode(0o751);
    std::fs::set_permissions(workdir(&site).join("dist/data"), script).unwrap();
    let build = site.build("b");
    assert_eq!(build["outcome"], "success", "{}", log(&site, &build));
    assert_eq!(build["steps"][2]["urls"][0][0], "see", "{}", build["steps"][2]);
    let list = artifacts(&site, &build);
    let names: Vec<&str> = list.iter().map(|artifact| artifact["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["data", "empty", "packed/gz", "packed/zst"]);
    for artifact in list.iter().filter(|artifact| artifact["name"] != "empty") {
        assert_eq!(artifact["size"], data.len(), "{artifact}");
        assert_eq!(artifact["hash"], Digest::of(&data).to_string());
        assert_eq!(artifact["mode"], 0o751);
        assert!(fetched(&site, &build, artifact["name"].as_str().unwrap()) == data);
    }
    assert!(list[0]["modified"].is_u64() && list[2]["modified"].is_null(), "{list:?}");
    assert_eq!(fetched(&site, &build, "empty"), b"");
    // Only what was asked for is there, and it survives a restart.
    assert_eq!(kept(&site), (0, 4));
    let missing = site.windlass(&["artifact", &build["id"].to_string(), "nothing", "-o", "-"]);
    assert_eq!(missing.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("`packed/gz`"));
}

#[test]
fn a_link_that_is_cut_several_times_loses_nothing_and_doubles_nothing() {
    let site = Site::new(
        &["w1"],
        &builder(&[
            ("file-upload", r#"worker_src = "big""#),
            ("file-download", r#"master_src = "big", worker_dest = "back""#),
        ]),
    );
    let relay = Relay::to(site.listen());
    site.write_worker("w1", &relay.address());
    let data = content(48 << 20);
    write(&workdir(&site).join("big"), &data);
    write(&site.path("public/big"), &data);
    let site = site.start();
    // Three times on the way up, twice on the way down.
    relay.cut_after([5, 20, 40, 60, 80].map(|mib| mib << 20).to_vec());
    let build = site.build("b");
    assert_eq!(
        (build["outcome"].as_str(), relay.cuts_left()),
        (Some("success"), 0),
        "{}",
        log(&site, &build)
    );
    let artifact = &artifacts(&site, &build)[0];
    assert_eq!(
        (&artifact["size"], &artifact["hash"]),
        (&data.len().into(), &Digest::of(&data).to_string().into())
    );
    assert!(fetched(&site, &build, "big") == data);
    assert!(std::fs::read(workdir(&site).join("back")).unwrap() == data);
}

/// The most memory that a process had since this was called last.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_file_of_200_mib_costs_little_memory_and_keeps_nobody_waiting() {
    let more = "[[builders]]\nname = \"other\"\nworkers = [\"w1\"]\n[[builders.steps]]\nuse = \"shell-command\"\n\
                args = { command = \"true\" }\n";
    let site = Site::new(&["w1"], &(builder(&[("file-upload", r#"worker_src = "big""#)]) + more)).start();
    let data = content(200 << 20);
    write(&workdir(&site).join("big"), &data);
    // Warm: components are compiled, and what a build costs anyway is not counted.
    assert_eq!(site.build("other")["outcome"], "success");
    let before = [peak(site.pid("master")), peak(site.pid("w1"))];
    let (began, buildset) = (Instant::now(), site.submit("b"));
    let mut others = 0;
    let mut slowest = Duration::ZERO;
    while site.get(&format!("/api/v1/buildsets/{buildset}"))["outcome"].is_null() {
        let asked = Instant::now();
        assert_eq!(site.build("other")["outcome"], "success");
        slowest = slowest.max(asked.elapsed());
        others += 1;
    }
    let took = began.elapsed();
    assert_eq!(site.outcome(buildset), "success");
    let after = [peak(site.pid("master")), peak(site.pid("w1"))];
    let grown: Vec<u64> =
        before.iter().zip(after).map(|(before, after)| after.saturating_sub(*before) >> 20).collect();
    println!(
        "200 MiB in {took:?}; {others} other builds, the slowest in {slowest:?}; grown by {grown:?} MiB"
    );
    assert!(grown.iter().all(|mib| *mib < 48), "{grown:?} MiB");
    // Each takes a tenth of a second where nothing else runs.
    assert!(others >= 2 && slowest < Duration::from_secs(10), "{others} others, the slowest in {slowest:?}");
    let artifact = &artifacts(&site, &site.newest("b"))[0];
    assert_eq!(artifact["hash"], Digest::of(&data).to_string());
}

#[test]
fn a_tree_keeps_modes_and_links_and_what_leads_out_of_it_is_refused() {
    let site =
        Site::new(&["w1"], &builder(&[("directory-upload", r#"worker_src = "site", compress = "zstd""#)]));
    let site = site.start();
    let tree = workdir(&site).join("site");
    write(&tree.join("index.html"), b"<p>hello");
    write(&tree.join("bin/run"), b"#!/bin/sh\n");
    write(&tree.join("deep/er/data"), &content(200_000));
    std::fs::create_dir(tree.join("empty")).unwrap();
    std::fs::set_permissions(tree.join("bin/run"), std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../index.html", tree.join("bin/start")).unwrap();
    // Neither has contents; a socket in a tree is no reason to fail.
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    let build = site.build("b");
    assert_eq!(build["outcome"], "success", "{}", log(&site, &build));
    let artifact = &artifacts(&site, &build)[0];
    assert_eq!((&artifact["kind"], &artifact["entries"]), (&"tree".into(), &8.into()), "{artifact}");
    assert_eq!(fetched(&site, &build, "site/deep/er/data"), content(200_000));
    assert_eq!(fetched(&site, &build, "site/bin/start"), b"<p>hello");
    let copy = site.path("copy");
    let id = build["id"].to_string();
    let out = site.windlass(&["artifact", &id, "site", "-o", copy.to_str().unwrap()]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(std::fs::read(copy.join("deep/er/data")).unwrap(), content(200_000));
    assert_eq!(std::fs::read_link(copy.join("bin/start")).unwrap(), Path::new("../index.html"));
    assert_eq!(copy.join("bin/run").metadata().unwrap().permissions().mode() & 0o777, 0o755);
    assert!(copy.join("empty").is_dir() && !copy.join("socket").exists());
    for path in ["site/../site/index.html", "site/bin/../../../../store.redb", "site/deep"] {
        assert_eq!(site.windlass(&["artifact", &id, path, "-o", "-"]).status.code(), Some(5), "{path}");
    }
    for (name, target) in [("up", "../.."), ("away", "/etc"), ("round", "deep/../../..")] {
        symlink(target, tree.join(name)).unwrap();
        let build = site.build("b");
        assert_eq!(build["outcome"], "failure", "{name}");
        assert!(log(&site, &build).contains("the tree is refused"), "{}", log(&site, &build));
        assert!(artifacts(&site, &build).is_empty());
        std::fs::remove_file(tree.join(name)).unwrap();
    }
    assert_eq!(kept(&site), (0, 1));
}

#[test]
fn downloads_come_from_the_public_folder_from_texts_and_from_properties() {
    let site = Site::new(
        &["w1"],
        &builder(&[
            ("file-download", r#"master_src = "tools/run.sh", worker_dest = "bin/run.sh", mode = "0755""#),
            ("shell-command", r#"command = "./bin/run.sh""#),
            ("string-download", r#"s = "größe\n%(prop:buildername)s\n", worker_dest = "text", mode = 384"#),
            ("json-properties-download", r#"worker_dest = "../props.json""#),
        ]),
    );
    write(&site.path("public/tools/run.sh"), b"#!/bin/sh\necho it ran\n");
    let site = site.start();
    let build = site.build("b");
    // `..` is refused, wherever it leads.
    assert_eq!(build["outcome"], "failure", "{}", log(&site, &build));
    assert!(log(&site, &build).contains("it ran\n"), "{}", log(&site, &build));
    let text = workdir(&site).join("text");
    assert_eq!(std::fs::read_to_string(&text).unwrap(), "größe\nb\n");
    assert_eq!(text.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn properties_arrive_as_json() {
    let site = Site::new(
        &["w1"],
        &builder(&[("json-properties-download", r#"worker_dest = "build.json", workdir = ".""#)]),
    )
    .start();
    let build = site.build("b");
    assert_eq!(build["outcome"], "success", "{}", log(&site, &build));
    let text = std::fs::read_to_string(site.path("w1/builds/b/build.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["properties"]["buildername"], "b", "{json}");
    assert!(json["sourcestamps"].is_array(), "{json}");
}

#[test]
fn nothing_beyond_the_public_folder_can_be_downloaded() {
    let site = Site::new(
        &["w1"],
        &builder(&[
            ("file-download", r#"master_src = "../master.toml", worker_dest = "a""#),
            ("file-download", r#"master_src = "link", worker_dest = "b""#),
            ("file-download", r#"master_src = "/etc/passwd", worker_dest = "c""#),
            ("file-download", r#"master_src = "folder", worker_dest = "d""#),
        ])
        .replace("[[builders.steps]]", "[[builders.steps]]\nhalt_on_failure = false"),
    );
    write(&site.path("public/folder/x"), b"x");
    symlink("../master.toml", site.path("public/link")).unwrap();
    let site = site.start();
    let build = site.build("b");
    let steps = build["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 4);
    assert!(steps.iter().all(|step| step["outcome"] == "failure"), "{build}");
    for file in ["a", "b", "c", "d"] {
        assert!(!workdir(&site).join(file).exists());
    }
}

#[test]
fn several_files_are_found_by_pattern() {
    let site = Site::new(
        &["w1"],
        &builder(&[(
            "multiple-file-upload",
            r#"worker_srcs = ["out/*.txt", "out/tree"], glob = true, master_dest = "all", url = "https://example.org/all""#,
        )]),
    )
    .start();
    for (file, text) in [("out/a.txt", "a"), ("out/b.txt", "bb"), ("out/c.log", "c"), ("out/tree/d", "d")] {
        write(&workdir(&site).join(file), text.as_bytes());
    }
    let build = site.build("b");
    assert_eq!(build["outcome"], "success", "{}", log(&site, &build));
    let list = artifacts(&site, &build);
    let names: Vec<&str> = list.iter().map(|artifact| artifact["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["all/a.txt", "all/b.txt", "all/tree"]);
    assert_eq!(fetched(&site, &build, "all/b.txt"), b"bb");
    assert_eq!(fetched(&site, &build, "all/tree/d"), b"d");
    assert_eq!(build["steps"][0]["urls"][0][1], "https://example.org/all");
}

/// See also `sources_of_one_name_are_found` in the step. Symptom: with `workdir = "./build"` no file was found.
/// Cause: what `glob` answers has no `./` that could be taken away again. Cure: nor has what it is asked for.
#[test]
fn files_of_one_name_are_not_uploaded_over_one_another() {
    let several = |srcs: &str, more: &str| {
        ("multiple-file-upload", format!("worker_srcs = {srcs}, glob = true, workdir = \".//build\"{more}"))
    };
    let steps = [several("\"**/*.txt\"", ""), several("[\"**/*.txt\", \"a/x.*\"]", "")];
    let steps = steps.map(|(hook, args)| (hook, args + "} \nhalt_on_failure = false\n#"));
    let steps: Vec<(&str, &str)> = steps.iter().map(|(hook, args)| (*hook, args.as_str())).collect();
    let site = Site::new(&["w1"], &builder(&steps)).start();
    for file in ["a/x.txt", "b/y.txt", "b/x.html"] {
        write(&workdir(&site).join(file), b"text");
    }
    let build = site.build("b");
    assert_eq!(build["outcome"], "success", "each is uploaded once: {}", log(&site, &build));
    assert_eq!(artifacts(&site, &build).len(), 2);
    write(&workdir(&site).join("b/x.txt"), b"other");
    let build = site.build("b");
    assert_eq!(build["steps"][0]["summary"], "a/x.txt and b/x.txt would be one artifact, `x.txt`");
    assert_eq!((build["outcome"].as_str(), artifacts(&site, &build).len()), (Some("failure"), 0));
}

#[test]
fn what_is_missing_or_too_large_fails_the_step_and_leaves_nothing() {
    let site = Site::new(
        &["w1"],
        &builder(&[
            ("file-upload", r#"worker_src = "missing""#),
            ("file-upload", r#"worker_src = "data", max_size = 9999"#),
            (
                "directory-upload",
                r#"worker_src = ".", master_dest = "all", max_size = 10000, compress = "gzip""#,
            ),
            ("file-upload", r#"worker_src = "../../../../../etc/passwd""#),
            ("file-upload", r#"worker_src = "data", master_dest = "../data""#),
            ("file-download", r#"master_src = "data", worker_dest = "back", max_size = 9999"#),
            ("file-upload", r#"worker_src = "data""#),
        ])
        .replace("[[builders.steps]]", "[[builders.steps]]\nhalt_on_failure = false\nalways_run = true"),
    );
    write(&site.path("public/data"), &content(10_000));
    write(&workdir(&site).join("data"), &content(10_000));
    write(&workdir(&site).join("back"), b"as it was");
    let site = site.start();
    let build = site.build("b");
    let outcomes: Vec<&str> =
        build["steps"].as_array().unwrap().iter().map(|step| step["outcome"].as_str().unwrap()).collect();
    let text = log(&site, &build);
    assert_eq!(
        outcomes,
        ["failure", "failure", "failure", "failure", "exception", "failure", "success"],
        "{text}\n{build}"
    );
    assert!(text.contains("is not there") && text.contains("more than the 9999 bytes"), "{text}");
    assert_eq!(std::fs::read(workdir(&site).join("back")).unwrap(), b"as it was");
    assert_eq!(std::fs::read_dir(workdir(&site)).unwrap().count(), 2, "no temporary file stays behind");
    assert_eq!(kept(&site), (0, 1));
}

#[test]
fn an_upload_whose_master_is_killed_in_the_middle_begins_again_under_the_next_and_its_build_goes_on() {
    let site = Site::new(&["w1"], &builder(&[("file-upload", r#"worker_src = "big""#)]));
    // A cable that is slow enough for a master to be killed while it is at it.
    let relay = Relay::to(site.listen());
    relay.befall(vec![(0, Trouble::Delay(Duration::from_millis(2)))]);
    site.write_worker("w1", &relay.address());
    let mut site = site.start();
    let data = content(100 << 20);
    write(&workdir(&site).join("big"), &data);
    let buildset = site.submit("b");
    let unfinished = site.path("state/artifacts/unfinished");
    // Once as by kill -9, once in good order.
    for goodbye in [false, true] {
        eventually("some of it is there", || {
            let file = std::fs::read_dir(&unfinished).ok()?.next()?.ok()?;
            (file.metadata().ok()?.len() > 8 << 20).then_some(())
        });
        let first = site.newest("b");
        site.end("master", goodbye);
        site.start_master();
        assert_eq!(first["id"], site.newest("b")["id"]);
    }
    assert_eq!(site.outcome(buildset), "success");
    let build = site.newest("b");
    assert_eq!(build["number"], 1);
    assert!(fetched(&site, &build, "big") == data);
    assert_eq!(kept(&site), (0, 1));
}

#[test]
fn a_download_whose_master_is_killed_in_the_middle_begins_again_under_the_next() {
    let steps = [("file-download", r#"master_src = "big", worker_dest = "back""#)];
    let site = Site::new(&["w1"], &builder(&steps));
    let relay = Relay::to(site.listen());
    site.write_worker("w1", &relay.address());
    let data = content(100 << 20);
    write(&site.path("public/big"), &data);
    let mut site = site.start();
    let buildset = site.submit("b");
    eventually("some of it came", || (relay.carried() > 20 << 20).then_some(()));
    site.end("master", false);
    site.start_master();
    assert_eq!(site.outcome(buildset), "success");
    assert_eq!(site.newest("b")["number"], 1);
    assert!(std::fs::read(workdir(&site).join("back")).unwrap() == data);
}

/// The step writes an artifact, takes a token, and waits for a command while its master is killed.
#[test]
fn what_a_step_wrote_itself_before_its_master_was_killed_is_there_once() {
    let waits = r#"append = ["one ", "two "], read = "notes", command = "windlass:shell", args = { command = "touch began; until test -e go; do sleep 0.05; done" }"#;
    let steps = [("carry", r#"append = ["zero "]"#), ("carry", waits)];
    let site = Site::new(&["w1"], &builder(&steps));
    site.plugin("courier", &component("courier"));
    let mut site = site.start();
    let buildset = site.submit("b");
    let here = workdir(&site).parent().unwrap().to_owned();
    eventually("its command runs", || here.join("began").exists().then_some(()));
    site.end("master", false);
    site.start_master();
    std::fs::write(here.join("go"), "").unwrap();
    assert_eq!(site.outcome(buildset), "success");
    let build = site.newest("b");
    assert_eq!(
        (build["number"].as_u64(), &fetched(&site, &build, "notes")[..]),
        (Some(1), &b"zero one two "[..])
    );
    assert_eq!(kept(&site), (0, 1));
}

#[test]
fn artifacts_are_dropped_when_there_are_too_many_of_them() {
    let steps = builder(&[("file-upload", r#"worker_src = "data""#)]);
    let site = Site::new(&["w1"], &format!("{steps}[artifacts]\nmax_bytes = 25000\n")).start();
    write(&workdir(&site).join("data"), &content(10_000));
    let builds: Vec<Value> = (0..3).map(|_| site.build("b")).collect();
    assert!(builds.iter().all(|build| build["outcome"] == "success"));
    eventually("the oldest is dropped", || artifacts(&site, &builds[0]).is_empty().then_some(()));
    eventually("its bytes are gone", || (kept(&site) == (0, 2)).then_some(()));
    assert!(fetched(&site, &builds[2], "data") == content(10_000));
    // One that is larger than all may be together is not taken at all.
    write(&workdir(&site).join("data"), &content(30_000));
    let build = site.build("b");
    assert_eq!(build["outcome"], "failure");
    assert!(log(&site, &build).contains("25000"), "{}", log(&site, &build));
}

#[test]
fn an_artifact_that_is_larger_than_one_may_be_is_refused_by_the_name_of_its_limit() {
    let steps = [
        ("file-upload", r#"worker_src = "small""#),
        ("directory-upload", r#"worker_src = ".", master_dest = "all", compress = "zstd""#),
        ("file-upload", r#"worker_src = "data", max_size = 50000"#),
    ];
    let steps = builder(&steps)
        .replace("[[builders.steps]]", "[[builders.steps]]\nhalt_on_failure = false\nalways_run = true");
    let limits = "[artifacts]\nmax_bytes = 25000\nmax_artifact_bytes = \"10 kB\"\n";
    let mut site = Site::new(&["w1"], &(steps.clone() + limits)).start();
    write(&workdir(&site).join("data"), &content(10_001));
    write(&workdir(&site).join("small"), &content(10_000));
    let build = site.build("b");
    let outcomes = |build: &Value| {
        let steps = build["steps"].as_array().unwrap().iter();
        steps.map(|step| step["outcome"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let said = log(&site, &build);
    assert_eq!(outcomes(&build), "success failure failure", "{said}");
    let named = "more than the 10000 bytes of `max_artifact_bytes` in the master's `[artifacts]`";
    assert_eq!(said.matches(named).count(), 2, "{said}");
    eventually("nothing of it is left", || (kept(&site) == (0, 1)).then_some(()));

    // A larger one holds for the steps that start then.
    site.configure(&(steps + "[artifacts]\nmax_artifact_bytes = \"10001 B\"\n"));
    assert!(site.windlass(&["reconfig"]).status.success());
    let build = site.build("b");
    assert_eq!(outcomes(&build), "success failure success", "{}", log(&site, &build));
}

#[test]
fn a_step_writes_artifacts_itself_and_its_tokens_die_with_it() {
    let site = Site::new(
        &["w1"],
        &builder(&[
            ("carry", r#"append = ["one ", "two "], accept = "late", read = "notes""#),
            ("carry", r#"append = ["three"]"#),
            ("carry", r#"command = "upload-file", args = { path = "build/data", token = "%(prop:token)s" }"#),
            ("carry", r#"read = "notes""#),
        ]),
    );
    site.plugin("courier", &component("courier"));
    write(&workdir(&site).join("data"), b"x");
    let site = site.start();
    let build = site.build("b");
    assert_eq!(build["outcome"], "success", "{}", log(&site, &build));
    assert_eq!(fetched(&site, &build, "notes"), b"one two three");
    assert_eq!(artifacts(&site, &build).len(), 1);
    let property = |name: &str| {
        let all = build["properties"].as_array().unwrap();
        all.iter().find(|property| property["name"] == name).map(|property| property["value"].clone())
    };
    assert_eq!(property("read").unwrap_or_default(), "one two three", "{build}");
    assert_eq!(property("end").unwrap_or_default(), "rc Some(1)", "{build}");
    assert!(log(&site, &build).contains("a token dies with its step"), "{}", log(&site, &build));
}
