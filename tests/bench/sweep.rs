//! The whole sweep: the master killed at every commit in turn, those with journals first, on both sides of it, now and
//! then a second time while it puts things in order; a worker's agent, its holder and both killed, and its link cut,
//! delayed and half open, at sampled places.
//!
//!     cargo run -p windlass-tests --example sweep [WHAT ...] [--again] [--lines N] [--no-upload] [--one-language]
//!         [--from N] [--step N] [--samples N]
//!
//! `WHAT` is `journals`, `commits`, `machines` (disk and clock), `workers`, `agents`, `holders`, `together` (an agent, a link
//! and the master) or `links`; all of them without it. With `--again` builds may be built again; of those whose worker or holder was killed all are. It
//! ends with what it found, and with 1 if that is anything.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use windlass_tests::faults::{Chance, Plan};
use windlass_tests::relay::{Trouble, Way};
use windlass_tests::sweep::{HOLDER, OPEN_INPUT, Rule, Size, Sweep};

/// Runs of each kind that takes its places by chance, unless `--samples` says otherwise.
const SAMPLES: u64 = 40;

struct Order {
    what: Vec<String>,
    rule: Rule,
    size: Size,
    from: u64,
    step: usize,
    samples: u64,
}

impl Order {
    fn read() -> Order {
        let size = Size { lines: 100_000, upload: true, languages: true };
        let mut order =
            Order { what: Vec::new(), rule: Rule::TakenUp, size, from: 1, step: 1, samples: SAMPLES };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut number = || words.next().and_then(|word| word.parse::<u32>().ok()).expect("a number");
            match word.as_str() {
                "--again" => order.rule = Rule::BuiltAgain,
                "--no-upload" => order.size.upload = false,
                "--one-language" => order.size.languages = false,
                "--lines" => order.size.lines = number(),
                "--from" => order.from = number().into(),
                "--step" => order.step = number() as usize,
                "--samples" => order.samples = number().into(),
                "journals" | "commits" | "machines" | "workers" | "agents" | "holders" | "together"
                | "links" => order.what.push(word),
                _ => panic!(
                    "`{word}` is none of journals, commits, machines, workers, agents, holders, together, links, --again, --no-upload, --one-language, --lines N, --from N, --step N, --samples N"
                ),
            }
        }
        order
    }

    /// The command in C holds the input of its program open, which no other agent can go on with.
    fn of_agents(&self) -> Rule {
        match (self.rule, self.size.languages) {
            (Rule::TakenUp, true) => Rule::BuiltAgainFor(OPEN_INPUT),
            (rule, _) => rule,
        }
    }

    fn wants(&self, what: &str) -> bool {
        self.what.is_empty() || self.what.iter().any(|wanted| wanted == what)
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    runs: u64,
    /// Runs in which no fault was met.
    missed: u64,
    wrong: Vec<String>,
    /// How often builds were built again, by what they say.
    again: BTreeMap<String, u64>,
}

impl Found {
    /// Plays it and compares; whether a process was killed.
    fn play(&mut self, sweep: &Sweep, plan: &Plan, rule: Rule) -> bool {
        let run = sweep.play(plan);
        self.runs += 1;
        let wrong = sweep.differences(&run, rule);
        println!("{plan}: {} deaths, {:.1?}, {} wrong", run.deaths, run.took, wrong.len());
        for difference in wrong {
            println!("    {difference}");
            self.wrong.push(format!("{plan}: {difference}"));
        }
        for build in run.builds.iter().filter(|build| build["outcome"] == "retry") {
            *self.again.entry(build["summary"].to_string()).or_default() += 1;
        }
        let met = run.deaths > 0 || !plan.link.is_empty();
        self.missed += u64::from(!met);
        met
    }
}

fn main() -> ExitCode {
    let (order, began) = (Order::read(), Instant::now());
    let mut chance = Chance::new();
    let sweep = Sweep::new(order.size);
    let (undisturbed, carried) = (sweep.undisturbed(), sweep.undisturbed().carried);
    println!(
        "undisturbed: {} commits, {} of them with journals, {carried} bytes over the link, {:.1?}",
        undisturbed.commits, undisturbed.journals, undisturbed.took
    );
    let mut found = Found::default();
    let points = [("journals", "journal", undisturbed.journals), ("commits", "commit", undisturbed.commits)];
    for (what, point, last) in points {
        if !order.wants(what) {
            continue;
        }
        for number in (order.from..).step_by(order.step) {
            let mut met = false;
            for side in ["", ":after"] {
                let mut master = vec![format!("{point}:{number}{side}")];
                if chance.below(4) == 0 {
                    master.push(format!("commit:{}", 1 + chance.below(8)));
                }
                met |= found.play(&sweep, &Plan { master, ..Plan::default() }, order.rule);
            }
            // How many there are is a matter of time: they are grouped.
            if !met && number > last {
                break;
            }
        }
    }
    if order.wants("machines") {
        for sample in 0..order.samples {
            let mut commit = || 1 + chance.below(undisturbed.commits);
            let set = if sample % 2 == 0 { "+200000" } else { "-200000" };
            let full = format!("enospc:{}:5", commit());
            // It is set and stays so, or somebody sets it right again while there is no master.
            let first = format!("{full},clock:{set}:{},commit:{}", commit(), commit());
            let second = if sample % 3 == 0 { full } else { format!("clock:{set}:0") };
            found.play(&sweep, &Plan { master: vec![first, second], ..Plan::default() }, order.rule);
        }
    }
    if order.wants("workers") {
        for _ in 0..order.samples {
            let worker = vec![chance.below(carried)];
            // It takes its commands along.
            found.play(&sweep, &Plan { worker, ..Plan::default() }, Rule::BuiltAgainFor(HOLDER));
        }
    }
    if order.wants("holders") {
        for _ in 0..order.samples {
            let holder = vec![chance.below(carried)];
            found.play(&sweep, &Plan { holder, ..Plan::default() }, Rule::BuiltAgainFor(HOLDER));
        }
    }
    if order.wants("agents") {
        for sample in 0..order.samples {
            let agent = (0..=sample % 3).map(|_| chance.below(carried)).collect();
            found.play(&sweep, &Plan { agent, ..Plan::default() }, order.of_agents());
        }
    }
    if order.wants("together") {
        for _ in 0..order.samples {
            let mut place = || chance.below(carried);
            let (agent, link) = (vec![place(), place()], vec![(place(), Trouble::Cut)]);
            let master = vec![format!("commit:{}", 1 + chance.below(undisturbed.commits))];
            found.play(&sweep, &Plan { agent, link, master, ..Plan::default() }, order.of_agents());
        }
    }
    if order.wants("links") {
        for sample in 0..order.samples {
            let mut place = || chance.below(carried);
            let slow = Trouble::Delay(Duration::from_millis(20));
            let link = match sample % 6 {
                0 => vec![(place(), Trouble::HalfOpen)],
                1 => vec![(place(), slow), (place(), Trouble::Cut)],
                2 => vec![(place(), Trouble::Deaf(Way::ToMaster))],
                3 => vec![(place(), Trouble::Deaf(Way::ToWorker)), (place(), Trouble::Twice(100))],
                4 => vec![(place(), Trouble::Twice(1_000)), (place(), Trouble::Cut)],
                _ => vec![(place(), Trouble::Cut), (place(), Trouble::Cut), (place(), Trouble::Cut)],
            };
            found.play(&sweep, &Plan { link, ..Plan::default() }, order.rule);
        }
    }
    println!("{} runs in {:.0?}, {} of which met no fault", found.runs, began.elapsed(), found.missed);
    for (summary, times) in &found.again {
        println!("{times} builds were built again: {summary}");
    }
    println!("{} differences", found.wrong.len());
    for difference in &found.wrong {
        println!("    {difference}");
    }
    ExitCode::from(u8::from(!found.wrong.is_empty()))
}
