//! What a command may do, and what is told when it may not.

use super::*;

#[tokio::test]
async fn a_command_that_says_too_much_hides_no_denial_by_that() {
    let mut world = world_granting("git");
    for _ in 0..2 * MAX_DIAGNOSTICS {
        world.port.diagnostic(Level::Info, "chatter");
    }
    for _ in 0..2 * MAX_DENIALS {
        assert_eq!(world.refused(sh("")).await.code, "denied");
    }
    let told = world.told();
    let denials = told.iter().filter(|text| text.starts_with("`spawn` was denied: ")).count();
    assert_eq!(denials as u64, MAX_DENIALS);
    assert_eq!(told.last().unwrap(), "further denials of this command are counted, and not told");
    assert_eq!(world.context.denials.load(Ordering::Relaxed), 2 * MAX_DENIALS);
}

#[tokio::test]
async fn a_denial_names_the_plugin_and_reaches_the_master() {
    let mut world = world_granting("git");
    let failure = world.refused(sh("true")).await;
    assert_eq!(failure.code, "denied");
    assert!(failure.message.contains("windlass:shell"), "{failure}");
    match world.updates().as_slice() {
        [Update::Diagnostic { level, message }] => {
            assert_eq!(level, "error");
            let expected = "`spawn` was denied: `windlass:shell` (1a2b3c4d) may not run `sh`";
            assert!(message.starts_with(expected), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

/// A command that may run `git` alone, with a program of that name in the build's directory.
fn world_with_a_false_git() -> (World, SpawnOptions) {
    let world = world_granting("git");
    let bin = world.folder.path().join("b/bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/echo", bin.join("git")).unwrap();
    let mut options = sh("");
    options.argv = ["git", "--version"].map(str::to_owned).to_vec();
    (world, options)
}

/// Symptom: a command that was granted `git` ran a program of its own. Cause: the child's `PATH`, which
/// the guest sets, led to it. Cure: the worker's own `PATH` decides, and variables need a grant.
#[tokio::test]
async fn a_program_that_is_granted_by_name_is_the_workers() {
    let (mut world, mut options) = world_with_a_false_git();
    assert_eq!(world.run(options.clone()).await, Exit::Code(0));
    assert!(world.log().starts_with("git version"));

    for name in ["PATH", "LD_PRELOAD", "GIT_SSH_COMMAND", "GIT_EXEC_PATH", "BASH_ENV", "PYTHONPATH"] {
        for value in [Some("bin".to_owned()), None] {
            options.env = vec![(name.into(), value)];
            let failure = world.refused(options.clone()).await;
            assert_eq!(failure.code, "denied", "{name}");
            assert!(failure.message.contains(name), "{failure}");
        }
    }
    assert_eq!(world.context.denials.load(Ordering::Relaxed), 12);
    options.env = vec![("GIT_AUTHOR_NAME".into(), Some("me".into()))];
    assert_eq!(world.run(options).await, Exit::Code(0));
}

#[tokio::test]
async fn a_path_that_was_granted_must_be_absolute_and_not_the_builds_own() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("b/echo").display().to_string();
    let below_world = world_in(folder, Given { programs: &below, ..Given::default() });
    std::os::unix::fs::symlink("/bin/echo", &below).unwrap();
    let cases = [
        (world_granting("bin/echo"), "bin/echo", false),
        (below_world, below.as_str(), false),
        (world_granting("/bin/echo"), "/bin/echo", true),
    ];
    for (mut world, granted, allowed) in cases {
        let mut options = sh("");
        options.argv = vec![granted.to_owned()];
        if allowed {
            assert_eq!(world.run(options).await, Exit::Code(0));
        } else {
            assert_eq!(world.refused(options).await.code, "denied", "{granted}");
        }
    }
}

/// Symptom: a command without a grant for files showed any file of its builder. Cause: it had it followed into a log.
/// Cure: who may run one program and touch no files follows none.
#[tokio::test]
async fn files_are_followed_by_whoever_may_touch_them_or_run_anything() {
    for (programs, files, allowed) in [("true", false, false), ("true", true, true), ("*", false, true)] {
        let mut world = world_of(Given { programs, files, ..Given::default() });
        let mut options = sh("");
        options.argv = vec!["true".to_owned()];
        options.options = option("follow", Value::Json(r#"{"a": "f"}"#.into()));
        if allowed {
            assert_eq!(world.run(options).await, Exit::Code(0), "{programs} {files}");
        } else {
            assert_eq!(world.refused(options).await.code, "denied");
            assert!(world.told()[0].starts_with("`spawn-options.set` was denied"));
        }
    }
}
