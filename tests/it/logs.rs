//! Logs, over real processes: the hash of what a command wrote, windows of lines, limits, the archive.

use windlass_tests::site::{Site, eventually};

/// A site whose one builder runs this, with these settings of logs.
fn site(command: &str, logs: &str) -> Site {
    let logs = if logs.is_empty() { String::new() } else { format!("[logs]\n{logs}\n") };
    Site::new(&["w1", "w2"], &format!("{}{logs}", Site::builder("b", command, ""))).start()
}

fn hash(bytes: &[u8]) -> String {
    windlass_core::digest::Digest::of(bytes).to_string()
}

#[test]
fn a_log_keeps_every_byte_and_has_their_hash() {
    let site = site(r"printf 'caf\303\251\377\0\r10%%\r20%%\ndone\n'; seq 1 20000", "");
    let build = site.build("b");
    assert_eq!(build["outcome"], "success");
    let id = build["id"].to_string();
    let mut expected = b"caf\xc3\xa9\xff\0\r10%\r20%\ndone\n".to_vec();
    (1..=20_000).for_each(|n| expected.extend(format!("{n}\n").bytes()));
    let log = &site.ok(&["build", &id, "--json"])["steps"][0]["logs"][0];
    assert_eq!((log["name"].as_str(), log["hash"].as_str()), (Some("stdio"), Some(hash(&expected).as_str())));
    let printed = site.windlass(&["log", &id, "--log", "stdio"]).stdout;
    assert!(printed.windows(expected.len()).any(|part| part == expected), "the bytes are there as they were");
}

#[test]
fn a_window_is_read_by_line_and_the_last_lines_too() {
    let site = site("printf '0\\r1\\n2\\r\\n'; seq 3 50000", "");
    let id = site.build("b")["id"].to_string();
    let path = format!("/api/v1/builds/{id}/steps/0/logs/stdio");
    let text = |chunk: &serde_json::Value| -> String {
        let pieces = chunk["pieces"].as_array().unwrap().iter();
        pieces
            .filter(|piece| piece["origin"] == "stdout")
            .map(|piece| piece["data"].as_str().unwrap())
            .collect()
    };
    let whole = site.get(&format!("{path}?first=0&lines=20"));
    let first = whole["pieces"].as_array().unwrap().iter().find(|piece| piece["origin"] == "stdout").unwrap();
    let zero = first["line"].as_u64().unwrap();
    let window = |line: u64, lines: u64| site.get(&format!("{path}?first={}&lines={lines}", zero + line));
    assert_eq!(text(&window(0, 3)), "0\r1\n2\r\n");
    assert_eq!(text(&window(49_998, 2)), "49998\n49999\n");
    let last = window(50_000, 10);
    assert!(text(&last).starts_with("50000\n"), "{last}");
    assert_eq!(text(&window(90_000, 10)), "");
    let shown = site.windlass(&[
        "log",
        &id,
        "--log",
        "stdio",
        "--first",
        &(zero + 41_000).to_string(),
        "--lines",
        "2",
    ]);
    assert!(String::from_utf8_lossy(&shown.stdout).ends_with("41000\n41001\n"), "{shown:?}");
    let tail = site.get(&format!("{path}?tail=3"));
    assert_eq!(tail["finished"], true);
    assert!(tail["lines"].as_u64().unwrap() > 50_000, "{tail}");
}

#[test]
fn a_log_that_is_too_long_keeps_its_beginning_and_its_end_and_says_what_is_missing() {
    let site = site("seq 10000 29999", "max_log_bytes = 60000\nlog_max_tail_size = 6000");
    let build = site.build("b");
    assert_eq!(build["outcome"], "success");
    let id = build["id"].to_string();
    let log = &site.ok(&["build", &id, "--json"])["steps"][0]["logs"][0];
    let cut = &log["cut"];
    let printed = site.windlass(&["log", &id, "--log", "stdio"]).stdout;
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains("10000\n10001\n") && printed.contains("29998\n29999\n"), "{}", printed.len());
    assert!(printed.contains(&format!("{} bytes were dropped here", cut["bytes"])), "{cut}");
    assert!(printed.contains(cut["hash"].as_str().unwrap()));
    let kept: String =
        printed.lines().filter(|line| line.len() == 5 && line.parse::<u32>().is_ok()).collect();
    assert!(kept.len() < 61_000, "{}", kept.len());
}

#[test]
fn a_long_log_goes_into_the_archive_and_reads_the_same_and_too_old_ones_are_removed() {
    const COMMAND: &str = "seq 1 400000";
    let mut site = site(COMMAND, "");
    let id = site.build("b")["id"].to_string();
    let path = format!("/api/v1/builds/{id}/steps/0/logs/stdio");
    let begin = site.get(&format!("{path}?first=0&lines=20"));
    let one = begin["pieces"].as_array().unwrap().iter().find(|piece| piece["origin"] == "stdout").unwrap();
    let path = format!("{path}?first={}&lines=2", one["line"].as_u64().unwrap() + 390_000);
    let expected = "390001\n390002\n";
    let hash = {
        let mut bytes = Vec::new();
        (1..=400_000).for_each(|n| bytes.extend(format!("{n}\n").bytes()));
        hash(&bytes)
    };
    let is_whole = |site: &Site| {
        let window = site.get(&path);
        let pieces = window["pieces"].as_array().unwrap();
        let said: String = pieces.iter().map(|piece| piece["data"].as_str().unwrap()).collect();
        assert_eq!((said.as_str(), &window["hash"]), (expected, &hash.as_str().into()), "{window}");
    };
    is_whole(&site);
    let logs = site.path("state/logs");
    let files = || -> Vec<String> {
        let entries = std::fs::read_dir(&logs).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    // The end of a long log is a reason to tend the archive at once.
    eventually("the log is in the archive", || {
        files().iter().any(|name| name.starts_with("arc-")).then_some(())
    });
    is_whole(&site);
    site.end("master", true);
    site.configure(&(Site::builder("b", COMMAND, "") + "[logs]\nlog_horizon = \"1s\"\n"));
    site.start_master();
    // Another long log, after a while: the first one is too old by then.
    let removed = eventually("the log is removed", || {
        site.build("b");
        let log = site.get(&path);
        (log["expired"] == true).then_some(log)
    });
    assert_eq!((removed["pieces"].as_array().map(Vec::len), &removed["hash"]), (Some(0), &hash.into()));
}

#[test]
fn what_a_step_said_before_it_ran_out_of_time_or_was_stopped_is_kept() {
    let command = "echo said; sleep 600";
    let late = Site::builder("late", command, "") + "deadline = \"5s\"\n";
    let builders = (late + &Site::builder("stopped", command, "")).replace(", \"w2\"", "");
    let site = Site::new(&["w1"], &builders).start();
    let stopped = site.submit("stopped");
    let build = site.running("stopped").to_string();
    let said = |build: &str| String::from_utf8(site.windlass(&["logs", build]).stdout).unwrap();
    eventually("it has spoken", || said(&build).contains("said\n").then_some(()));
    // All that it needs is compiled by now, on the same worker.
    let late = site.build("late");
    assert_eq!(late["outcome"], "failure", "{late}");
    assert!(site.windlass(&["stop", &build]).status.success());
    assert_eq!(site.outcome(stopped), "cancelled");
    for build in [late["id"].to_string(), build] {
        assert!(said(&build).contains("said\n"), "{}", said(&build));
    }
}
