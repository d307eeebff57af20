//! `status`, `builds` and `build`: what the master knows, as tables.

use anstream::{print, println};
use anstyle::Style;
use windlass_master::view;
use windlass_web::client::Client;

use crate::exit::{Exit, Failed};
use crate::locks;
use crate::output::{
    BAD, FAINT, GOOD, HEADING, RUNNING, Table, WARN, cut, duration, outcome_style, outcome_word, paint, size,
    tame,
};
use crate::place::now_ms;
use crate::{requests, workers};

const PLAIN: Style = Style::new();

/// So much of a fault is shown without --verbose: the words are a plugin's own, and may be many.
const SHOWN: usize = 200;

/// So much of who wrote a change.
const NAME: usize = 40;

/// Prints a value as JSON.
pub fn print_json(value: &impl serde::Serialize) {
    println!("{}", crate::output::json(value));
}

/// `windlass status`.
pub async fn status(client: &Client, verbose: bool, json: bool) -> Result<Exit, Failed> {
    let status: view::Status = client.get("/api/v1/status").await?;
    if json {
        print_json(&status);
        return Ok(Exit::Success);
    }
    let now = status.now;
    println!(
        "{}  windlass {}, up {}, plugins of generation {}, listening at {}{}",
        paint(HEADING, tame(&status.title)),
        status.version,
        duration(now.ms_since(status.started)),
        status.generation,
        status.listen,
        status.memory.map(|m| format!(", {} in memory", size(m))).unwrap_or_default(),
    );
    print!("\n{}", workers::table(&status));
    let mut builders = Table::new(&["builder", "pending", "building", "last build", ""]);
    for builder in &status.builders {
        let (style, last) = match &builder.last {
            Some(last) => (
                outcome_style(Some(last.outcome)),
                format!("{} {}, {} ago", last.id, last.outcome, duration(now.ms_since(last.ended))),
            ),
            None => (FAINT, "none yet".to_owned()),
        };
        builders.row(vec![
            (PLAIN, builder.name.clone()),
            (if builder.pending > 0 { WARN } else { PLAIN }, builder.pending.to_string()),
            (PLAIN, builder.building.to_string()),
            (style, last),
            (FAINT, builder.waiting.as_ref().map(|wait| requests::words(wait, now)).unwrap_or_default()),
        ]);
    }
    print!("\n{builders}");
    let used = || status.locks.iter().filter(|lock| lock.held > 0 || !lock.waiters.is_empty());
    if used().next().is_some() {
        print!("\n{}", locks::table(&status, used()));
    }
    if !status.policies.is_empty() {
        print!("\n{}", policies(&status, verbose));
    }
    if !status.reporters.is_empty() {
        print!("\n{}", reporters(&status));
    }
    if !status.running.is_empty() {
        print!("\n{}", builds_table(&status.running));
    }
    for poller in status.pollers.iter().filter(|p| p.error.is_some()) {
        let error = poller.error.as_deref().unwrap_or_default();
        println!("{}", paint(BAD, format_args!("poller {}: {}", tame(&poller.name), tame(error))));
    }
    let slow = status.dispatch.p99_us > view::DispatchStatus::GOOD_P99_US;
    if verbose || slow {
        println!("{}", paint(if slow { BAD } else { FAINT }, dispatch(status.dispatch)));
    }
    for problem in &status.problems {
        println!("{}", paint(BAD, tame(problem)));
    }
    Ok(Exit::Success)
}

fn dispatch(pace: view::DispatchStatus) -> String {
    let ms = |us: u64| format!("{}.{} ms", us / 1_000, us % 1_000 / 100);
    format!(
        "dispatcher: {} events, of the newest half within {}, 99 in 100 within {}, the slowest {}",
        pace.events,
        ms(pace.p50_us),
        ms(pace.p99_us),
        ms(pace.max_us)
    )
}

fn policies(status: &view::Status, verbose: bool) -> Table {
    let mut table = Table::new(&["policy", "of", "digest", "asked", "fell back", ""]);
    for policy in &status.policies {
        let (style, state) = match (policy.suspended_until, &policy.last_fault) {
            (Some(until), _) => {
                let left = duration(until.ms_since(status.now));
                (BAD, format!("suspended for {left} more, see below; {} skipped", policy.skipped))
            }
            (None, Some(fault)) if verbose => (WARN, fault.clone()),
            (None, Some(fault)) => (WARN, cut(fault, SHOWN)),
            (None, None) => (PLAIN, String::new()),
        };
        table.row(vec![
            (PLAIN, format!("{} {}", policy.kind, policy.hook)),
            (FAINT, policy.used_by.clone()),
            (FAINT, policy.digest.map(|d| d.short()).unwrap_or_default()),
            (PLAIN, policy.calls.to_string()),
            (if policy.fallbacks > 0 { WARN } else { PLAIN }, policy.fallbacks.to_string()),
            (style, state),
        ]);
    }
    table
}

fn reporters(status: &view::Status) -> Table {
    let mut table = Table::new(&["reporter", "told", "waiting", "lost", "dropped", ""]);
    for reporter in &status.reporters {
        let style = |count: u64, style| if count > 0 { style } else { PLAIN };
        let (shown, state) = match (&reporter.error, reporter.next_try, &reporter.last_lost) {
            (Some(_), Some(next), _) => {
                (BAD, format!("tried again in {}, see below", duration(next.ms_since(status.now))))
            }
            (Some(_), None, _) => (BAD, "tried again now, see below".to_owned()),
            (None, _, Some(why)) => (WARN, cut(why, SHOWN)),
            (None, _, None) => (PLAIN, String::new()),
        };
        table.row(vec![
            (PLAIN, reporter.name.clone()),
            (PLAIN, reporter.delivered.to_string()),
            (style(reporter.waiting, WARN), reporter.waiting.to_string()),
            (style(reporter.lost, BAD), reporter.lost.to_string()),
            (style(reporter.dropped, BAD), reporter.dropped.to_string()),
            (shown, state),
        ]);
    }
    table
}

fn builds_table(builds: &[view::Build]) -> Table {
    let mut table = Table::new(&["build", "builder", "worker", "outcome", "took", "revision", "by", ""]);
    for build in builds {
        table.row(vec![
            (HEADING, build.id.to_string()),
            (PLAIN, build.builder.clone()),
            (PLAIN, build.worker.clone()),
            (outcome_style(build.outcome), outcome_word(build.outcome).to_owned()),
            (FAINT, took(build)),
            (FAINT, build.revision.as_deref().map(short_revision).unwrap_or_default().to_owned()),
            (FAINT, by(&build.authors)),
            (PLAIN, build.summary.clone()),
        ]);
    }
    table
}

/// Who: two names at most.
fn by(authors: &[String]) -> String {
    match authors {
        [] => String::new(),
        [one] => cut(one, NAME),
        [one, other] => format!("{}, {}", cut(one, NAME), cut(other, NAME)),
        [one, more @ ..] => format!("{} and {} more", cut(one, NAME), more.len()),
    }
}

/// How long a build took, or has taken so far.
#[must_use]
pub fn took(build: &view::Build) -> String {
    duration(build.ended.map_or(now_ms(), |e| e.0).saturating_sub(build.started.0))
}

/// The first ten characters of a revision.
#[must_use]
pub fn short_revision(revision: &str) -> &str {
    revision.char_indices().nth(10).map_or(revision, |(end, _)| &revision[..end])
}

/// `windlass builds`.
pub async fn builds(client: &Client, filter: view::BuildFilter, json: bool) -> Result<Exit, Failed> {
    let mut query = form_urlencoded(&[
        ("builder", filter.builder),
        ("worker", filter.worker),
        ("complete", filter.complete.map(|c| c.to_string())),
        ("limit", filter.limit.map(|l| l.to_string())),
    ]);
    query.insert_str(0, "/api/v1/builds?");
    let builds: Vec<view::Build> = client.get(&query).await?;
    if json {
        print_json(&builds);
    } else if builds.is_empty() {
        println!("no builds; `windlass status` shows what waits");
    } else {
        print!("{}", builds_table(&builds));
    }
    Ok(Exit::Success)
}

/// The parts of a query that are there, percent-encoded.
#[must_use]
pub fn form_urlencoded(parts: &[(&str, Option<String>)]) -> String {
    let present =
        parts.iter().filter_map(|(name, value)| Some(format!("{name}={}", encode(value.as_deref()?))));
    present.collect::<Vec<_>>().join("&")
}

/// Percent-encodes everything but letters, digits, `-`, `.` and `_`.
#[must_use]
pub fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    text.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

/// `windlass build N`.
pub async fn build(client: &Client, build: u64, shown: Shown, json: bool) -> Result<Exit, Failed> {
    let detail: view::BuildDetail = client.get(&format!("/api/v1/builds/{build}")).await?;
    match (shown.properties, json) {
        (true, true) => print_json(&detail.properties),
        (true, false) => print!("{}", properties(&detail.properties)),
        (false, true) => print_json(&detail),
        (false, false) => print_detail(&detail, shown.all),
    }
    Ok(Exit::Success)
}

/// What is shown of a build.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Hidden steps, too.
    pub all: bool,
    /// Its properties and nothing else.
    pub properties: bool,
}

fn properties(list: &[view::Property]) -> Table {
    let mut properties = Table::new(&["property", "value", "set by"]);
    for property in list {
        properties.row(vec![
            (PLAIN, property.name.clone()),
            (PLAIN, property.value.to_string()),
            (FAINT, property.source.clone()),
        ]);
    }
    properties
}

fn print_detail(detail: &view::BuildDetail, all: bool) {
    let build = &detail.build;
    println!(
        "{} of builder {} (its number {}) on worker {}: {}, {}",
        paint(HEADING, format_args!("build {}", build.id)),
        paint(HEADING, tame(&build.builder)),
        build.number,
        paint(HEADING, tame(&build.worker)),
        paint(outcome_style(build.outcome), outcome_word(build.outcome)),
        took(build),
    );
    if !build.summary.is_empty() {
        println!("{}", tame(&build.summary));
    }
    println!("{}", paint(FAINT, format_args!("because: {}", tame(&build.reason))));
    for stamp in &detail.stamps {
        println!(
            "{}",
            paint(
                FAINT,
                tame(&format!(
                    "source: {} branch {} revision {}",
                    stamp.repository,
                    stamp.branch.as_deref().unwrap_or("(default)"),
                    stamp.revision.as_deref().or(build.revision.as_deref()).unwrap_or("(newest)")
                ))
            )
        );
    }
    for change in &detail.changes {
        let title = change.comments.lines().next().unwrap_or_default();
        let author = match &change.user {
            Some(user) if *user != change.author => format!("{user} ({})", change.author),
            Some(_) | None => change.author.clone(),
        };
        println!("{}", paint(FAINT, tame(&format!("change {} by {author}: {title}", change.id))));
    }
    let mut steps = Table::new(&["step", "outcome", "took", "component", "logs", ""]);
    let hidden = detail.steps.iter().filter(|step| step.hidden && !all).count();
    for step in detail.steps.iter().filter(|step| all || !step.hidden) {
        let took = step.ended.map_or(now_ms(), |e| e.0).saturating_sub(step.started.0);
        let logs: Vec<String> = step.logs.iter().map(|l| format!("{} {}", l.name, size(l.length))).collect();
        steps.row(vec![
            (PLAIN, step.name.clone()),
            (outcome_style(step.outcome), outcome_word(step.outcome).to_owned()),
            (FAINT, duration(took)),
            (FAINT, format!("{} {}", step.hook, step.digest.short())),
            (FAINT, logs.join(", ")),
            (PLAIN, step.summary.clone()),
        ]);
    }
    print!("\n{steps}");
    if hidden > 0 {
        println!("{}", paint(FAINT, format_args!("{hidden} hidden; `--all` shows them")));
    }
    let tests = detail.steps.iter().fold(view::TestCounts::default(), |sum, step| sum.and(step.tests));
    if !tests.is_empty() {
        let style = if tests.failed + tests.errors > 0 { BAD } else { GOOD };
        println!("{}; `windlass tests {}` lists them", paint(style, tests), build.id);
    }
    for step in detail.steps.iter().filter(|step| all || !step.hidden) {
        for (name, value) in &step.statistics {
            println!("{}", paint(FAINT, format_args!("{}: {} {value}", tame(&step.name), tame(name))));
        }
        if let Some(fault) = &step.fault {
            println!("{}", paint(BAD, format_args!("{}: {}", tame(&step.name), tame(fault))));
        }
        for (name, url) in &step.urls {
            println!("{}", paint(RUNNING, format_args!("{}: {}", tame(name), tame(url))));
        }
    }
    let mut components = Table::new(&["component that acted on it", "kind", "digest", ""]);
    for component in &detail.components {
        let (style, note) = if component.current { (FAINT, "") } else { (WARN, "replaced since") };
        components.row(vec![
            (PLAIN, component.hook.clone()),
            (FAINT, component.kind.clone()),
            (FAINT, component.digest.to_string()),
            (style, note.to_owned()),
        ]);
    }
    print!("\n{components}");
    for failed in &detail.failed_policies {
        let policy = format!("{} {} {}", failed.kind, failed.hook, failed.digest.short());
        println!(
            "{}",
            paint(
                WARN,
                format_args!("policy {} failed: {}", tame(&policy), cut(&tame(&failed.fault), SHOWN))
            )
        );
    }
    if !detail.failed_policies.is_empty() {
        println!(
            "{}",
            paint(FAINT, format_args!("`windlass why build-{}` shows what was done instead", build.id))
        );
    }
    if !detail.properties.is_empty() {
        print!("\n{}", properties(&detail.properties));
    }
}
