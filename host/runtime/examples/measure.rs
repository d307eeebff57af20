//! What a policy call and a load cost: `cargo run --release -p windlass-runtime --example measure`; with
//! a component's file and names of its `next-slave` hooks behind `--`, what those answer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use windlass_core::policy::{BuilderInfo, Lookups, Question, RequestInfo, SlaveInfo};
use windlass_core::time::Timestamp;
use windlass_runtime::plugin::Source;
use windlass_runtime::registry::{Candidate, prepare};
use windlass_runtime::{Options, Runtime};

const CALLS: usize = 2_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let runtime = Runtime::new(Options::new(dir.path().join("cache")))?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some((file, hooks)) = args.split_first() {
        return ask(&runtime, file, hooks).await;
    }
    for bundled in windlass_plugins::bundled() {
        let load = || runtime.load(bundled.name, Source::Bundled, Bytes::from_static(bundled.bytes));
        let began = Instant::now();
        load()?;
        let cold = began.elapsed();
        let began = Instant::now();
        load()?;
        let warm = began.elapsed();
        println!(
            "load {:16} {:6} bytes, cold {cold:>10.1?}, warm {warm:>10.1?}",
            bundled.name,
            bundled.bytes.len()
        );
    }
    many(&runtime)?;
    let bytes = windlass_plugins::bundled().iter().find(|bundled| bundled.name == "least-loaded");
    let bytes = bytes.ok_or("least-loaded is bundled")?.bytes;
    let plugin = runtime.load("least-loaded", Source::Bundled, Bytes::from_static(bytes))?;
    for slaves in [1, 10, 100, 1_000] {
        let (mut wall, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..CALLS {
            let question = question(slaves);
            let began = Instant::now();
            let reply = runtime.ask(&plugin, "least-loaded", "{}", question, Lookups::default()).await;
            wall.push(began.elapsed());
            cpu.push(Duration::from_micros(reply.usage.cpu_us));
            reply.answer?;
        }
        println!("ask  {slaves:5} slaves: wall {}, cpu of the call {}", spread(wall), spread(cpu));
    }
    Ok(())
}

/// Fifty plugins, each with bytes of its own: loaded cold and warm, and one of them replaced.
fn many(runtime: &Runtime) -> Result<(), Box<dyn std::error::Error>> {
    let bytes = windlass_plugins::bundled().iter().find(|bundled| bundled.name == "least-loaded");
    let bytes = bytes.ok_or("least-loaded is bundled")?.bytes;
    let candidate = |n: u8, version: u8| {
        // A section of its own at the end, which nobody reads.
        let bytes = [bytes, &[0, 4, 1, b'n', n, version]].concat();
        let name = format!("plugin-{n}");
        Candidate { source: Source::File(format!("{name}.wasm").into()), name, bytes: bytes.into() }
    };
    let all = || (0..50).map(|n| candidate(n, 0)).collect::<Vec<_>>();
    let mut loaded = None;
    for what in ["cold", "warm", "warm"] {
        let began = Instant::now();
        loaded = Some(prepare(runtime, None, all()).map_err(|mut errors| errors.remove(0))?);
        println!("load 50 plugins {what}: {:.1?}", began.elapsed());
    }
    for version in [1, 1, 2] {
        let mut next = all();
        next[25] = candidate(25, version);
        let began = Instant::now();
        prepare(runtime, loaded.as_ref(), next).map_err(|mut errors| errors.remove(0))?;
        println!("reload one of 50 (version {version}): {:.1?}", began.elapsed());
    }
    Ok(())
}

async fn ask(runtime: &Runtime, file: &str, hooks: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let bytes = Bytes::from(std::fs::read(file)?);
    for what in ["cold", "warm"] {
        let began = Instant::now();
        runtime.load("tried", Source::File(file.into()), bytes.clone())?;
        println!("load {what} {:.1?}, resident {} KiB", began.elapsed(), resident()?);
    }
    let plugin = runtime.load("tried", Source::File(file.into()), bytes)?;
    for hook in hooks {
        for _ in 0..2 {
            let lookups = Lookups { now: Timestamp(1_700_000_000_123), ..Lookups::default() };
            let reply = runtime.ask(&plugin, hook, "{}", question(3), lookups).await;
            match reply.answer {
                Ok(answer) => println!("{hook}: {answer:?}, {:?}", reply.usage),
                Err(fault) => println!("{hook}: {fault}, {:?}", reply.usage),
            }
        }
    }
    Ok(())
}

fn resident() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).ok_or("the kernel says it")?;
    Ok(line.split_whitespace().nth(1).ok_or("with a number")?.parse()?)
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: usize| times[times.len() * share / 100];
    format!("p50 {:.1?} p99 {:.1?}", at(50), at(99))
}

fn question(slaves: usize) -> Question {
    let slave = |n| SlaveInfo {
        name: format!("worker-{n:04}"),
        running: 1,
        max_builds: Some(4),
        connected_since: Timestamp(1_000),
        last_built: Some(Timestamp(2_000)),
        last_outcome: None,
        load: Some(0.5),
        properties: Vec::new(),
    };
    let builder = BuilderInfo {
        name: "linux".to_owned(),
        tags: vec!["ci".to_owned()],
        pending: 1,
        building: 0,
        highest_priority: Some(0),
        oldest_request: Some(Timestamp(1_000)),
    };
    let request = RequestInfo {
        id: 12,
        buildset: 7,
        builder: "linux".to_owned(),
        stamps: Vec::new(),
        priority: 0,
        submitted: Timestamp(1_000),
        waited_for: false,
        reason: "force".to_owned(),
        properties: Vec::new(),
    };
    Question::NextSlave { builder, slaves: std::sync::Arc::new((0..slaves).map(slave).collect()), request }
}
