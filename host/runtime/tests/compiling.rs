//! Compiling in a child process, for real: this program is its own child. Without the usual harness,
//! which would read the child's arguments.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use std::error::Error as _;
use std::process::ExitCode;
use std::time::Instant;

use bytes::Bytes;
use windlass_runtime::plugin::Source;
use windlass_runtime::{Compiler, Options, Runtime, compile_child};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match args.split_first() {
        Some((first, limits)) if first == "compile-plugin" => return compile_child(limits),
        _ => {}
    }
    what_the_child_compiled_runs_and_is_cached();
    what_the_child_refuses_is_refused_in_the_same_words();
    a_child_that_dies_is_a_refusal();
    println!("compiling in a child: ok");
    ExitCode::SUCCESS
}

fn runtime(compiler: Compiler) -> (tempfile::TempDir, Runtime) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path().join("cache"));
    options.compiler = compiler;
    let runtime = Runtime::new(options).unwrap();
    (dir, runtime)
}

fn bundled() -> Bytes {
    let found = windlass_plugins::bundled().iter().find(|bundled| bundled.name == "least-loaded");
    Bytes::from_static(found.unwrap().bytes)
}

fn refusal(runtime: &Runtime, bytes: Bytes) -> String {
    let error = runtime.load("bad", Source::File("bad.wasm".into()), bytes).unwrap_err();
    let (mut texts, mut cause) = (Vec::new(), error.source());
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts.join(": ")
}

fn what_the_child_compiled_runs_and_is_cached() {
    let (_dir, runtime) = runtime(Compiler::this_program(&["compile-plugin"]));
    for _ in 0..3 {
        let began = Instant::now();
        let plugin = runtime.load("least-loaded", Source::Bundled, bundled()).unwrap();
        assert_eq!(plugin.hooks[0].name, "least-loaded");
        println!("loaded in {:?}", began.elapsed());
    }
}

fn what_the_child_refuses_is_refused_in_the_same_words() {
    let (_dir, child) = runtime(Compiler::this_program(&["compile-plugin"]));
    let (_dir, here) = runtime(Compiler::InProcess);
    let mut damaged = bundled().to_vec();
    let middle = damaged.len() / 3;
    damaged[middle..middle + 64].fill(0xff);
    let text = refusal(&child, damaged.clone().into());
    assert!(text.contains("not valid at byte") || text.contains("ends too early"), "{text}");
    assert_eq!(text, refusal(&here, damaged.into()));
}

fn a_child_that_dies_is_a_refusal() {
    let shell =
        |script: &str| Compiler::Child { program: "/bin/sh".into(), args: vec!["-c".into(), script.into()] };
    for (script, expected) in [
        ("kill -XCPU $$", "cannot be compiled within"),
        ("echo memory allocation of 99 bytes failed >&2; kill -ABRT $$", "MiB of memory"),
        ("kill -SEGV $$", "signal: 11"),
        ("exit 0", "said nothing"),
        ("printf cnonsense", "it cannot be compiled"),
    ] {
        let (_dir, runtime) = runtime(shell(script));
        let text = refusal(&runtime, bundled());
        assert!(text.contains(expected), "{script}: {text}");
    }
}
