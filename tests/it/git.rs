//! The step `git`, against real repositories.

use serde_json::Value;
use windlass_tests::repository::Repository;
use windlass_tests::site::{Site, eventually};

/// A site with one worker whose builder `b` checks out `repository` with these arguments, and then runs `command`.
fn site(repository: &Repository, args: &str, command: &str) -> Site {
    let mut site = Site::new(&["w1"], "");
    site.configure(&config(repository, args, command));
    site.start()
}

fn config(repository: &Repository, args: &str, command: &str) -> String {
    let (url, command) = (Value::from(repository.url()), Value::from(command));
    format!(
        "[[builders]]\nname = \"b\"\nworkers = [\"w1\"]\n\
         [[builders.steps]]\nuse = \"git\"\nargs = {{ repourl = {url}{args} }}\n\
         [[builders.steps]]\nuse = \"shell-command\"\nname = \"show\"\nargs = {{ command = {command} }}\n\
         [[schedulers]]\nname = \"force\"\ntype = \"force\"\nbuilders = [\"b\"]\n"
    )
}

/// What the second step of a build said.
fn shown(site: &Site, build: &Value) -> String {
    let output = site.windlass(&["logs", &build["id"].to_string(), "show"]);
    String::from_utf8(output.stdout).unwrap()
}

fn names<'a>(listed: &'a str, of: &[&'a str]) -> Vec<&'a str> {
    of.iter().copied().filter(|name| listed.lines().any(|line| line == *name)).collect()
}

#[test]
fn each_way_to_check_out_keeps_what_it_says() {
    let repository = Repository::new();
    repository.commit("kept", "1\n", "first");
    repository.commit(".gitignore", "ignored\n", "second");
    // What stands there before this build leaves anything of its own.
    let command = "ls -A; touch ignored unknown; echo changed > kept";
    let all = ["kept", "ignored", "unknown"];
    for (args, stays) in [
        ("", &all[..]),
        (", mode = \"full\", method = \"clean\"", &all[..2]),
        (", mode = \"full\"", &all[..1]),
        (", mode = \"full\", method = \"clobber\"", &all[..1]),
        (", mode = \"full\", method = \"copy\"", &all[..1]),
    ] {
        let site = site(&repository, args, command);
        assert_eq!(site.build("b")["outcome"], "success", "{args}");
        let again = site.build("b");
        assert_eq!(again["outcome"], "success", "{args}");
        let listed = shown(&site, &again);
        assert_eq!(names(&listed, &all), stays, "{args}: {listed}");
        let kept = site
            .path(&format!("w1/builds/b/{}/kept", if args.contains("copy") { "source" } else { "build" }));
        let text = std::fs::read_to_string(kept).unwrap();
        assert_eq!(text, if args.contains("copy") { "1\n" } else { "changed\n" }, "{args}");
    }
}

#[test]
fn a_patch_goes_on_top_and_is_gone_with_the_next_build() {
    let repository = Repository::new();
    std::fs::create_dir(repository.path().join("src")).unwrap();
    repository.commit("src/greeting", "hello\n", "first");
    // Not UTF-8, a new file, and below a folder.
    let patch = b"--- a/greeting\n+++ b/greeting\n@@ -1 +1 @@\n-hello\n+hello \xe9\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+new\n";
    let site = site(&repository, "", "od -An -tx1 src/greeting; ls src");
    std::fs::write(site.path("fix.patch"), patch).unwrap();
    let file = site.path("fix.patch");
    let file = file.to_str().unwrap();
    let force = |more: &[&str]| {
        let mut words = vec!["force", "b", "--json", "--reason", "try it"];
        words.extend(more);
        site.ok(&words)["buildset"].as_u64().unwrap()
    };
    let patched = force(&["--patch", file, "--patch-dir", "src"]);
    assert_eq!(site.outcome(patched), "success", "{}", site.newest("b"));
    let build = site.newest("b");
    let said = shown(&site, &build);
    assert!(said.contains("68 65 6c 6c 6f 20 e9 0a") && said.contains("new\n"), "{said}");
    assert_eq!(build["stamps"][0]["patch"]["size"], patch.len());
    assert_eq!(build["stamps"][0]["patch"]["comment"], "try it");
    assert!(build["steps"][0]["summary"].as_str().unwrap().ends_with("with a patch"), "{build}");

    assert_eq!(site.outcome(force(&[])), "success");
    let said = shown(&site, &site.newest("b"));
    assert!(said.contains("68 65 6c 6c 6f 0a") && !said.contains("new\n"), "{said}");

    // Where it does not apply, the build says so, and does not go on.
    assert_eq!(site.outcome(force(&["--patch", file])), "failure");
    let build = site.newest("b");
    assert_eq!(build["steps"].as_array().unwrap().len(), 1);
    let summary = build["steps"][0]["summary"].as_str().unwrap();
    assert_eq!(summary, "git apply of the patch: it does not apply, exit code 1");

    for (more, why) in [
        (&["--patch", "/dev/null"][..], "the patch cannot be built: it is empty"),
        (&["--patch", file, "--patch-dir", "../x"], "its directory `../x` is not one below the source"),
        (&["--patch", "/nowhere"], "failed to read the patch /nowhere"),
    ] {
        let mut words = vec!["force", "b"];
        words.extend(more);
        let refused = site.windlass(&words);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(why), "{said}");
    }
}

#[test]
fn each_codebase_has_a_revision_of_its_own() {
    let (one, two) = (Repository::new(), Repository::new());
    let (of_one, of_two) = (one.commit("a", "1\n", "one"), two.commit("b", "2\n", "two"));
    let (url_one, url_two) = (Value::from(one.url()), Value::from(two.url()));
    let steps = format!(
        "[[builders]]\nname = \"b\"\nworkers = [\"w1\"]\n\
         [[builders.steps]]\nuse = \"git\"\nargs = {{ repourl = {url_one}, codebase = \"one\", workdir = \"one\" }}\n\
         [[builders.steps]]\nuse = \"git\"\nargs = {{ repourl = {url_two}, codebase = \"two\", workdir = \"two\" }}\n\
         [[schedulers]]\nname = \"force\"\ntype = \"force\"\nbuilders = [\"b\"]\n"
    );
    let mut site = Site::new(&["w1"], "");
    site.configure(&steps);
    let site = site.start();
    let forced = site.ok(&["force", "b", "--json", "--repository", one.url()]);
    assert_eq!(site.outcome(forced["buildset"].as_u64().unwrap()), "success");
    let build = site.newest("b");
    let properties = build["properties"].as_array().unwrap();
    let got = properties.iter().find(|property| property["name"] == "got_revision").unwrap();
    assert_eq!(got["value"], serde_json::json!({ "one": of_one, "two": of_two }), "{got}");
}

#[test]
fn a_fetch_that_fails_is_tried_again() {
    let repository = Repository::new();
    repository.commit("a", "1\n", "first");
    let url = repository.url();
    let away = format!("{url}-away");
    let (url, away) =
        (url.trim_start_matches("file://").to_owned(), away.trim_start_matches("file://").to_owned());
    std::fs::rename(&url, &away).unwrap();
    let site = site(&repository, ", retry = { delay = 0.1, count = 600 }", "cat a");
    let buildset = site.submit("b");
    let id = site.running("b").to_string();
    eventually("it says that it tries again", || {
        let build = site.ok(&["build", &id, "--json"]);
        build["steps"][0]["summary"].as_str()?.contains("again in 0.1 s").then_some(())
    });
    std::fs::rename(&away, &url).unwrap();
    assert_eq!(site.outcome(buildset), "success");
}

/// Symptom: without `lfs`, no repository with large files could be checked out where git-lfs is set up for everybody, as
/// Debian does. Cause: it fetches them while git checks out, from a remote that our checkout does not have. Cure: it is
/// told not to, whether or not they are fetched afterwards.
#[test]
fn large_files_come_along_where_they_are_wanted_and_are_pointers_elsewhere() {
    let repository = Repository::new();
    repository.git(&["lfs", "install", "--local"]);
    repository.git(&["lfs", "track", "*.bin"]);
    repository.commit("large.bin", &"large\n".repeat(10_000), "first");
    assert!(repository.git(&["show", "HEAD:large.bin"]).starts_with("version https://git-lfs"), "it is one");
    let command = "wc -c < large.bin; head -n 1 large.bin; git status --porcelain";
    let with = site(&repository, ", lfs = true", command);
    // As the machine may have it in `/etc/gitconfig`.
    let everybody =
        "{ \"filter.lfs.process\" = \"git-lfs filter-process\", \"filter.lfs.required\" = \"true\" }";
    let without = site(&repository, &format!(", config = {everybody}"), command);
    let pointer = "version https://git-lfs.github.com/spec/v1\n";
    for (size, text) in [(60_000, "large\n"), (80_000, "larger!\n")] {
        if size == 80_000 {
            // Into the same checkout: a new version, and a second one.
            repository.commit("large.bin", &text.repeat(10_000), "second");
        }
        let build = with.build("b");
        assert_eq!(build["outcome"], "success", "{build}");
        let said = shown(&with, &build);
        assert!(said.contains(&format!("{size}\n{text}")), "{said}");
        assert!(!said.contains("M large.bin"), "git sees no change: {said}");
        let build = without.build("b");
        assert_eq!(build["outcome"], "success", "{build}");
        assert!(shown(&without, &build).contains(pointer), "{}", shown(&without, &build));
    }
}

#[test]
fn large_files_and_submodules_that_cannot_be_fetched_are_tried_again() {
    let (inner, outer) = (Repository::new(), Repository::new());
    inner.commit("inside", "inner\n", "first");
    outer.git(&["lfs", "install", "--local"]);
    outer.git(&["lfs", "track", "*.bin"]);
    outer.commit("large.bin", &"large\n".repeat(10_000), "first");
    outer.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.url(), "sub"]);
    outer.git(&["commit", "--quiet", "--message", "with a submodule"]);
    let moved = |path: &std::path::Path| (path.to_owned(), path.with_file_name("away"));
    let (modules, objects) =
        (moved(&inner.path().join(".git")), moved(&outer.path().join(".git/lfs/objects")));
    std::fs::rename(&modules.0, &modules.1).unwrap();
    std::fs::rename(&objects.0, &objects.1).unwrap();
    let args = ", lfs = true, submodules = true, retry = { delay = 0.1, count = 600 }";
    let site = site(&outer, args, "wc -c < large.bin; cat sub/inside");
    let buildset = site.submit("b");
    let id = site.running("b").to_string();
    // Whichever comes first, and then the other.
    let mut mended = Vec::new();
    for _ in 0..2 {
        let what = eventually("it says that it tries again", || {
            let build = site.ok(&["build", &id, "--json"]);
            let summary = build["steps"][0]["summary"].as_str()?;
            let what = if summary.contains("lfs") { "large files" } else { "submodules" };
            (summary.contains("again in 0.1 s") && !mended.contains(&what)).then_some(what)
        });
        let (there, away) = if what == "submodules" { &modules } else { &objects };
        std::fs::rename(away, there).unwrap();
        mended.push(what);
    }
    assert_eq!(site.outcome(buildset), "success");
    assert!(
        shown(&site, &site.newest("b")).contains("60000\ninner\n"),
        "{}",
        shown(&site, &site.newest("b"))
    );
}

#[test]
fn submodules_tags_and_settings_come_along_where_they_are_wanted() {
    let (inner, outer) = (Repository::new(), Repository::new());
    inner.commit("inside", "inner\n", "first");
    outer.commit("a", "1\n", "first");
    outer.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.url(), "sub"]);
    outer.git(&["commit", "--quiet", "--message", "with a submodule"]);
    outer.git(&["tag", "v1"]);
    let site = site(
        &outer,
        ", submodules = true, tags = true, config = { \"core.autocrlf\" = \"true\" }, mode = \"full\"",
        "cat sub/inside; git describe --tags; od -An -c a; touch sub/left",
    );
    for _ in 0..2 {
        let build = site.build("b");
        assert_eq!(build["outcome"], "success", "{build}");
        let said = shown(&site, &build);
        assert!(said.contains("inner") && said.contains("v1\n") && said.contains("1  \\r  \\n"), "{said}");
    }
    assert!(site.path("w1/builds/b/build/sub/left").exists());
    let listed = site.build("b");
    assert_eq!(listed["outcome"], "success");
}

/// Objects in the packs of the checkout on `w1`, each copy counted.
fn packed(site: &Site) -> usize {
    let checkout = site.path("w1/builds/b/build");
    let git =
        std::process::Command::new("git").arg("-C").arg(checkout).args(["count-objects", "-v"]).output();
    let said = String::from_utf8(git.unwrap().stdout).unwrap();
    said.lines().find_map(|line| line.strip_prefix("in-pack: ")).unwrap().parse().unwrap()
}

/// Symptom: a build for each commit cost the whole history each time, on the network and on the disk, for ever.
/// Cause: nothing but FETCH_HEAD held what was fetched, and git offers what refs lead to; and what packs it ran
/// behind the back of a fetch, with which it was ended.
/// Cure: a ref for each branch keeps what was fetched.
#[test]
fn a_new_commit_costs_its_own_objects_alone() {
    let repository = Repository::new();
    for n in 0..20 {
        repository.commit("a", &format!("{n}\n"), "one more");
    }
    let site = site(&repository, ", config = { \"fetch.unpackLimit\" = \"1\" }", "cat a");
    assert_eq!(site.build("b")["outcome"], "success");
    let before = packed(&site);
    assert_eq!(before, 60, "a commit, a tree and a blob of each");
    repository.commit("a", "new\n", "new");
    // Another branch, which names its own.
    repository.git(&["branch", "topic/one"]);
    let build = site.build("b");
    assert!(shown(&site, &build).contains("new\n"), "{build}");
    assert!(packed(&site) < before + 10, "{}", packed(&site));
    let forced =
        site.ok(&["force", "b", "--json", "--branch", "topic/one", "--repository", repository.url()]);
    assert_eq!(site.outcome(forced["buildset"].as_u64().unwrap()), "success");
    assert!(packed(&site) < before + 10, "{}", packed(&site));
}

/// Symptom: `git describe` found no tag on some workers, long after `shallow` was taken out of the configuration.
/// Cause: a fetch without a depth leaves a shallow checkout as it is.
/// Cure: it is asked for the rest, even where the revision is there already.
#[test]
fn a_checkout_that_was_shallow_gets_its_history_when_it_is_wanted() {
    let repository = Repository::new();
    for n in 0..4 {
        repository.commit("a", &format!("{n}\n"), "one more");
    }
    let revision = repository.commit("a", "last\n", "the fifth");
    // A path is copied as it is, whatever depth is asked for.
    let url = format!("file://{}", repository.url());
    let config =
        |args| config(&repository, args, "git rev-list --count HEAD").replace(repository.url(), &url);
    let mut site = Site::new(&["w1"], "");
    site.configure(&config(", shallow = 2"));
    let site = site.start();
    let forced = |site: &Site| {
        let forced = site.ok(&["force", "b", "--json", "--repository", &url, "--revision", &revision]);
        assert_eq!(site.outcome(forced["buildset"].as_u64().unwrap()), "success", "{}", site.newest("b"));
        shown(site, &site.newest("b"))
    };
    let said = forced(&site);
    assert!(said.lines().any(|line| line == "2"), "{said}");
    let mut site = site;
    site.configure(&config(""));
    site.ok(&["reconfig", "--json"]);
    for _ in 0..2 {
        let said = forced(&site);
        assert!(said.lines().any(|line| line == "5"), "{said}");
    }
}

/// Symptom: a build with `clobber` succeeded on top of files of an earlier one. Cause: what `rmdir` answered was
/// thrown away. Cure: the step fails, and says why.
#[test]
fn what_cannot_be_removed_fails_the_checkout() {
    let repository = Repository::new();
    repository.commit("a", "1\n", "first");
    let args = format!(", mode = \"full\", method = \"clobber\", workdir = \"{}\"", "x".repeat(300));
    let site = site(&repository, &args, "true");
    let build = site.build("b");
    assert_eq!(build["outcome"], "failure", "{build}");
    let summary = build["steps"][0]["summary"].as_str().unwrap();
    assert!(summary.starts_with("removal of xxx") && summary.contains("too long"), "{summary}");
}

#[test]
fn a_submodule_that_cannot_be_fetched_is_tried_again() {
    let (inner, outer) = (Repository::new(), Repository::new());
    inner.commit("inside", "inner\n", "first");
    outer.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.url(), "sub"]);
    outer.git(&["commit", "--quiet", "--message", "with a submodule"]);
    let away = format!("{}-away", inner.url());
    std::fs::rename(inner.url(), &away).unwrap();
    let site = site(&outer, ", submodules = true, retry = { delay = 0.1, count = 600 }", "cat sub/inside");
    let buildset = site.submit("b");
    let id = site.running("b").to_string();
    eventually("it says that it tries again", || {
        let build = site.ok(&["build", &id, "--json"]);
        build["steps"][0]["summary"].as_str()?.starts_with("git submodule update: ").then_some(())
    });
    std::fs::rename(&away, inner.url()).unwrap();
    assert_eq!(site.outcome(buildset), "success");
}
