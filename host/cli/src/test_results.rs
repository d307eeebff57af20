//! `tests`: the test results of a build.

use anstream::println;
use windlass_core::outcome::Outcome;
use windlass_master::view;
use windlass_web::client::Client;

use crate::exit::{Exit, Failed};
use crate::output::{BAD, FAINT, GOOD, duration, outcome_style, paint, tame, tame_lines};
use crate::query::{encode, print_json};

/// `windlass tests N`: page by page, so that a suite of any size is shown as it comes.
pub async fn tests(
    client: &Client,
    build: u64,
    failed: bool,
    step: Option<String>,
    json: bool,
) -> Result<Exit, Failed> {
    let step = step.map(|step| format!("&step={}", encode(&step))).unwrap_or_default();
    let mut after = String::new();
    let mut all = view::Tests { counts: view::TestCounts::default(), results: Vec::new(), next: None };
    let mut any_failed = false;
    loop {
        let path = format!("/api/v1/builds/{build}/tests?failed={failed}{step}{after}");
        let page: view::Tests = client.get(&path).await?;
        all.counts = page.counts;
        any_failed |= page.results.iter().any(has_failed);
        if json {
            all.results.extend(page.results);
        } else {
            page.results.iter().for_each(print_test);
        }
        match page.next {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    if json {
        print_json(&all);
    } else {
        let style = if all.counts.failed + all.counts.errors > 0 { BAD } else { GOOD };
        let took = match all.counts.duration_ms {
            0 => String::new(),
            ms => format!(", {}", duration(ms)),
        };
        println!("{}{took}", paint(style, all.counts));
    }
    Ok(if any_failed { Exit::Unsuccessful } else { Exit::Success })
}

fn has_failed(test: &view::Test) -> bool {
    match test.outcome {
        Outcome::Success | Outcome::Warnings | Outcome::Skipped => false,
        Outcome::Failure | Outcome::Exception | Outcome::Retry | Outcome::Cancelled => true,
    }
}

fn print_test(test: &view::Test) {
    let took = test.duration_ms.map(|ms| format!("  {}", duration(ms.into()))).unwrap_or_default();
    let name = tame(&test.name.join(" "));
    println!("{:9} {name}{}", paint(outcome_style(Some(test.outcome)), test.outcome), paint(FAINT, took));
    if has_failed(test) || test.outcome == Outcome::Warnings {
        for line in tame_lines(&test.text).lines() {
            println!("          {line}");
        }
        if let Some(log) = &test.log {
            println!(
                "          {}",
                paint(FAINT, format_args!("log {} of step {}", tame(log), tame(&test.step)))
            );
        }
    }
}
