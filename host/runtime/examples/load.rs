//! What loading costs, and what a loaded plugin and a live instance take up: `tests/bench/load.py` makes the
//! components and runs this.
//!
//! ```sh
//! cargo run --release -p windlass-runtime --example load -- rust=v1.wasm:placement c=c-all.wasm:last
//! ```
//!
//! Plugins that differ are made of one by a custom section. Memory is the growth of the resident set of a fresh
//! process that finds all in the cache; a live instance has answered one question.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use windlass_runtime::plugin::Source;
use windlass_runtime::registry::{Candidate, Generation, prepare, scan};
use windlass_runtime::{Options, Runtime};

#[path = "bare/bare.rs"]
mod bare;
use bare::{Bare, Failed, Question};

/// Plugins in the folder that is loaded and reloaded.
const PLUGINS: usize = 50;
/// So often each is measured.
const TURNS: u32 = 9;
/// Plugins and instances for the memory of one.
const LOADED: usize = 16;
const LIVE: usize = 32;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--memory", cache, guest] => memory(Path::new(cache), guest).await,
        [] => Err("NAME=FILE:HOOK ...".into()),
        [first, ..] => {
            folder(first)?;
            for guest in &args {
                let cache = tempfile::tempdir()?;
                // The first run compiles, the second finds all compiled.
                for run in ["compiling", "loading"] {
                    let me = Command::new(std::env::current_exe()?)
                        .args(["--memory", &cache.path().join("cache").to_string_lossy(), guest])
                        .output()?;
                    if !me.status.success() {
                        return Err(String::from_utf8_lossy(&me.stderr).into());
                    }
                    if run == "loading" {
                        print!("{}", String::from_utf8_lossy(&me.stdout));
                    }
                }
            }
            Ok(())
        }
    }
}

fn guest(arg: &str) -> Result<(&str, Bytes, &str), Failed> {
    let (name, rest) = arg.split_once('=').ok_or("NAME=FILE:HOOK")?;
    let (file, hook) = rest.rsplit_once(':').ok_or("NAME=FILE:HOOK")?;
    Ok((name, std::fs::read(file)?.into(), hook))
}

/// The same component, and yet another one: a custom section tells them apart.
fn variant(bytes: &Bytes, number: usize) -> Bytes {
    let text = format!("variant {number:010}");
    let mut all = bytes.to_vec();
    // Its number, its size, the length of its name, its name.
    all.extend([0, u8::try_from(text.len() + 1).expect("short"), u8::try_from(text.len()).expect("short")]);
    all.extend(text.as_bytes());
    all.into()
}

/// Loading a folder, and loading it again with one plugin changed.
fn folder(arg: &str) -> Result<(), Failed> {
    let (name, bytes, _) = guest(arg)?;
    let dir = tempfile::tempdir()?;
    let (plugins, cache) = (dir.path().join("plugins"), dir.path().join("cache"));
    std::fs::create_dir(&plugins)?;
    for number in 0..PLUGINS {
        std::fs::write(plugins.join(format!("p{number}.wasm")), variant(&bytes, number))?;
    }
    let load = |runtime: &Runtime, old: Option<&Generation>| -> Result<(Generation, Duration), Failed> {
        let began = Instant::now();
        let found = scan(&plugins).map_err(|errors| format!("{errors:?}"))?;
        let candidate = |(name, path, bytes): (String, PathBuf, Bytes)| Candidate {
            name,
            source: Source::File(path),
            bytes,
        };
        let next = prepare(runtime, old, found.into_iter().map(candidate).collect());
        let next = next.map_err(|errors| format!("{errors:?}"))?;
        Ok((next, began.elapsed()))
    };
    let runtime = Runtime::new(Options::new(&cache))?;
    let (_, cold) = load(&runtime, None)?;
    let mut warm = Vec::new();
    for _ in 0..TURNS {
        let fresh = Runtime::new(Options::new(&cache))?;
        warm.push(load(&fresh, None)?.1);
    }
    let (mut old, _) = load(&runtime, None)?;
    let (mut same, mut changed) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let (next, took) = load(&runtime, Some(&old))?;
        same.push(took);
        std::fs::write(plugins.join("p7.wasm"), variant(&bytes, PLUGINS + turn as usize))?;
        let (next, took) = load(&runtime, Some(&next))?;
        changed.push(took);
        old = next;
    }
    println!("{PLUGINS} plugins ({name}, {} bytes each), nothing compiled yet: {cold:.1?}", bytes.len());
    println!("{PLUGINS} plugins, warm: {}", spread(warm));
    println!("again, none changed: {}", spread(same));
    println!("again, one of them changed, which is compiled: {}", spread(changed));
    Ok(())
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let (least, most) = (times.first().expect("some"), times.last().expect("some"));
    format!("{:.1?} ({least:.1?} to {most:.1?})", times[times.len() / 2])
}

async fn memory(cache: &Path, arg: &str) -> Result<(), Failed> {
    let (name, bytes, hook) = guest(arg)?;
    let runtime = Runtime::new(Options { guest_threads: 1, ..Options::new(cache) })?;
    let load = |number| runtime.load("p", Source::File("p.wasm".into()), variant(&bytes, number));
    // What the first one brings along for all.
    let mut loaded = vec![load(0)?];
    let before = resident()?;
    for number in 1..=LOADED {
        loaded.push(load(number)?);
    }
    let plugin = resident()?.saturating_sub(before) / LOADED as u64;

    let (bare, question) = (Bare::new(&bytes)?, Question::of(10));
    let mut live = vec![bare.ask(hook, &question).await?];
    let before = resident()?;
    for _ in 0..LIVE {
        live.push(bare.ask(hook, &question).await?);
    }
    let instance = resident()?.saturating_sub(before) / LIVE as u64;
    println!(
        "{name:8} {:>9} bytes: a loaded plugin {plugin} KiB, a live instance {instance} KiB",
        bytes.len()
    );
    drop((loaded, live));
    Ok(())
}

/// KiB.
fn resident() -> Result<u64, Failed> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).ok_or("the kernel says it")?;
    Ok(line.split_whitespace().nth(1).ok_or("with a number")?.parse()?)
}
