//! `why`: what a request waits for, what led to a build, and which policy decided what.

use anstream::println;
use anstyle::Style;
use windlass_core::decision::replay::Verified;
use windlass_core::decision::{Decision, Done};
use windlass_core::id::RequestId;
use windlass_core::policy::{Answer, Lookup};
use windlass_core::time::Timestamp;
use windlass_master::view::{self, Why, WhyRequest};
use windlass_web::client::Client;

use crate::args::{Subject, WhyOrder};
use crate::exit::{Exit, Failed};
use crate::output::{
    BAD, FAINT, GOOD, HEADING, WARN, count, cut, duration, micros, outcome_style, outcome_word, paint, tame,
};
use crate::query::{print_json, took};
use crate::requests::words;

const PLAIN: Style = Style::new();

/// So many names of a kind are shown without --verbose, and so much of a text.
const NAMES: usize = 8;
const SHOWN: usize = 400;

/// `windlass why`.
pub async fn why(client: &Client, order: &WhyOrder, json: bool) -> Result<Exit, Failed> {
    let path = match order.subject {
        Subject::Request(id) => format!("/api/v1/requests/{id}/why"),
        Subject::Build(id) => format!("/api/v1/builds/{id}/why"),
    };
    let why: Why = client.get(&format!("{path}?verify={}", order.verify)).await?;
    if json {
        print_json(&why);
    } else {
        print(&why, order.verbose);
    }
    let differs = |d: &view::Decision| matches!(d.verified, Some(Verified::Differs(_)));
    Ok(if why.decisions.iter().any(differs) { Exit::Unsuccessful } else { Exit::Success })
}

fn print(why: &Why, verbose: bool) {
    if let Some(build) = &why.build {
        println!("{}", build_line(build));
    }
    for request in &why.requests {
        print_request(request, why.now, why.build.is_some());
    }
    if why.decisions.is_empty() {
        println!("no policy decided anything about it: the defaults did, or the records are gone");
    }
    for decision in &why.decisions {
        print_decision(decision, why.now, verbose);
    }
    let verified = || why.decisions.iter().filter_map(|decision| decision.verified.as_ref());
    if verified().next().is_some() {
        let same = verified().filter(|v| matches!(v, Verified::Same)).count();
        let other = verified().filter(|v| matches!(v, Verified::Differs(_))).count();
        let none = verified().count() - same - other;
        let style = if other > 0 { BAD } else { GOOD };
        println!(
            "\n{}",
            paint(
                style,
                format_args!("asked again: {same} the same, {other} not, {none} with nothing to compare")
            )
        );
    }
}

fn build_line(build: &view::Build) -> String {
    format!(
        "{} of builder {} on worker {}: {}, {}",
        paint(HEADING, format_args!("build {}", build.id)),
        tame(&build.builder),
        tame(&build.worker),
        paint(outcome_style(build.outcome), outcome_word(build.outcome)),
        took(build),
    )
}

fn print_request(why: &WhyRequest, now: Timestamp, is_part: bool) {
    let request = &why.request;
    let state = match (request.outcome, &why.waits) {
        (Some(outcome), _) => paint(outcome_style(Some(outcome)), outcome_word(Some(outcome))),
        (None, Some(_)) => paint(WARN, "waits"),
        (None, None) => paint(PLAIN, "is being built"),
    };
    println!(
        "{} for builder {}, priority {}, submitted {} ago ({}): {state}",
        paint(HEADING, format_args!("request {}", request.id)),
        tame(&request.builder),
        request.priority,
        duration(now.ms_since(request.submitted)),
        tame(&why.reason),
    );
    if !is_part {
        for build in &why.builds {
            let others: Vec<String> =
                build.requests.iter().filter(|id| **id != request.id).map(u64::to_string).collect();
            let with = if others.is_empty() {
                String::new()
            } else {
                format!(", which serves {} too", numbered("request", &others))
            };
            println!("  built by {}{with}", build_line(build));
        }
    }
    if let Some(waits) = &why.waits {
        print_waits(waits, now);
    }
}

fn print_waits(waits: &view::Waits, now: Timestamp) {
    let ahead = match (waits.ahead, waits.ahead_is_cut) {
        (0, _) => "it is the first of its builder".to_owned(),
        (ahead, false) => format!("{} before it", count(ahead, "request")),
        (ahead, true) => format!("more than {} before it", count(ahead, "request")),
    };
    println!("  {}", paint(WARN, format_args!("waits: {}; {ahead}", tame(&words(&waits.wait, now)))));
    for build in &waits.running {
        let since = duration(now.ms_since(build.started));
        println!(
            "  {}",
            paint(
                FAINT,
                format_args!(
                    "worker {} runs build {} of {} for {since}",
                    tame(&build.worker),
                    build.id,
                    tame(&build.builder)
                )
            )
        );
    }
    if let Some(estimate) = waits.estimate {
        println!(
            "  begins in about {}: {}, {}, half of the last {} took at most {}",
            duration(estimate.ms),
            count(waits.ahead, "request") + " before it",
            count(usize::try_from(estimate.slots).unwrap_or(usize::MAX), "slot"),
            count(estimate.builds, "build"),
            duration(estimate.median_ms),
        );
    }
}

fn print_decision(decision: &view::Decision, now: Timestamp, verbose: bool) {
    let record = &decision.record;
    let when = if verbose {
        format!("at {} ms", record.at.0)
    } else {
        format!("{} ago", duration(now.ms_since(record.at)))
    };
    let build = record.build.map(|build| format!(", for build {}", build.0)).unwrap_or_default();
    println!(
        "\n{}  {} {} {}{build}",
        paint(FAINT, when),
        paint(HEADING, &record.policy.kind),
        tame(&record.policy.hook),
        paint(FAINT, record.policy.digest.short()),
    );
    let line = |what: &str, text: String| {
        let text = if verbose { text } else { cut(&text, SHOWN) };
        println!("  {what:9} {}", tame(&text));
    };
    line("saw", saw(record, verbose));
    for Lookup { question, answer } in some(&record.lookups, verbose) {
        let answer = answer.as_ref().map_or("nothing".to_owned(), |value| value.to_json().to_string());
        line("looked up", format!("{question}: {answer}"));
    }
    line("answered", record.answer.as_ref().map_or("nothing".to_owned(), Answer::to_string));
    for ignored in &record.ignored {
        line("ignored", ignored.clone());
    }
    if let Some(fallback) = &record.fallback {
        println!("  {:9} {}", "fallback", paint(BAD, tame(fallback)));
    }
    let instead = if record.fallback.is_some() { "instead" } else { "done" };
    line(instead, done(&record.done));
    if verbose {
        line("arguments", record.args.clone());
        line(
            "cost",
            format!("{} of CPU, {} in all", micros(record.usage.cpu_us), micros(record.usage.wall_us)),
        );
    }
    match &decision.verified {
        None => {}
        Some(Verified::Same) => println!("  {:9} {}", "again", paint(GOOD, "the same answer")),
        Some(Verified::Differs(what)) => println!("  {:9} {}", "again", paint(BAD, tame(what))),
        Some(Verified::Nothing(why)) => {
            println!("  {:9} {}", "again", paint(WARN, format_args!("nothing to compare: {}", tame(why))));
        }
    }
}

/// The candidates.
fn saw(record: &Decision, verbose: bool) -> String {
    let requests: Vec<String> = record.requests.iter().map(|seen| seen.id.0.to_string()).collect();
    let workers: Vec<String> = record.workers.iter().map(|worker| worker.name.clone()).collect();
    let builders: Vec<String> = record.builders.iter().map(|builder| builder.name.clone()).collect();
    let parts = [("builder", builders), ("request", requests), ("worker", workers)];
    let parts = parts.iter().filter(|(_, names)| !names.is_empty());
    let shown = parts.map(|(noun, names)| {
        let left = if verbose { 0 } else { names.len().saturating_sub(NAMES) };
        let more = if left > 0 { format!(" and {left} more") } else { String::new() };
        numbered(noun, &names[..names.len() - left]) + &more
    });
    shown.collect::<Vec<_>>().join("; ")
}

/// `request 4`, `requests 4, 5`.
fn numbered(noun: &str, names: &[String]) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("{noun}{plural} {}", names.join(", "))
}

fn some(lookups: &[Lookup], verbose: bool) -> &[Lookup] {
    &lookups[..lookups.len().min(if verbose { usize::MAX } else { NAMES })]
}

fn done(done: &Done) -> String {
    let ids = |ids: &[RequestId]| ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>();
    match done {
        Done::Ordered(order) if order.is_empty() => "builders came by their first requests".to_owned(),
        Done::Ordered(order) => format!("builders came in the order {}", order.join(", ")),
        Done::Picked(request) => format!("request {} was taken up", request.0),
        Done::Allowed(workers) if workers.is_empty() => "every worker was allowed".to_owned(),
        Done::Allowed(workers) => format!("allowed on {}", workers.join(", ")),
        Done::Placed(worker) => format!("it went to {worker}"),
        Done::Joined(others) if others.is_empty() => "no other request joined".to_owned(),
        Done::Joined(others) => format!("{} joined", numbered("request", &ids(others))),
        Done::Held => "it waits for another time".to_owned(),
        Done::Stale => "the state had moved on: asked again, or dropped".to_owned(),
    }
}
