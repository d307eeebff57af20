//! `requests`: who waits, in which order and for what, and what became of others.

use anstream::{print, println};
use anstyle::Style;
use windlass_core::time::Timestamp;
use windlass_master::view::{ListedRequest, RequestFilter, RequestPage, RequestState, Wait};
use windlass_web::client::Client;

use crate::args::RequestsOrder;
use crate::exit::{Exit, Failed};
use crate::output::{
    FAINT, HEADING, RUNNING, Table, WARN, count, duration, outcome_style, outcome_word, paint,
};
use crate::query::{form_urlencoded, print_json};

const PLAIN: Style = Style::new();

/// `windlass requests`.
pub async fn requests(client: &Client, order: RequestsOrder, json: bool) -> Result<Exit, Failed> {
    let filter = RequestFilter::from(order);
    let state = serde_json::to_value(filter.state).ok().and_then(|state| Some(state.as_str()?.to_owned()));
    let query = form_urlencoded(&[
        ("builder", filter.builder.clone()),
        ("state", state),
        ("after", filter.after.clone()),
        ("limit", filter.limit.map(|limit| limit.to_string())),
    ]);
    let page: RequestPage = client.get(&format!("/api/v1/requests?{query}")).await?;
    if json {
        print_json(&page);
    } else {
        show(&page, &filter);
    }
    Ok(Exit::Success)
}

fn show(page: &RequestPage, filter: &RequestFilter) {
    if page.requests.is_empty() {
        println!("no such requests; {} pending", page.pending);
        return;
    }
    let mut table = Table::new(&["place", "request", "builder", "priority", "age", "waits for", ""]);
    for listed in &page.requests {
        table.row(row(listed, page.now));
    }
    print!("{table}");
    let shown = page.requests.len() as u64;
    let more = match (&page.next, filter.state) {
        (None, _) => String::new(),
        (Some(next), _) => format!("; `--after {next}` shows more"),
    };
    let pending = match filter.state {
        RequestState::Pending => format!("{shown} of {} pending", page.pending),
        RequestState::Held | RequestState::Claimed | RequestState::All => {
            format!("{}; {} pending", count(page.requests.len(), "request"), page.pending)
        }
    };
    println!("{}", paint(FAINT, format_args!("{pending}{more}")));
}

fn row(listed: &ListedRequest, now: Timestamp) -> Vec<(Style, String)> {
    let request = &listed.request;
    let (state, words) = match (&listed.waits, listed.build, request.outcome) {
        (Some(wait), _, _) => ((WARN, wait.waits_for.as_str().to_owned()), words(wait, now)),
        (None, _, Some(outcome)) => {
            ((outcome_style(Some(outcome)), outcome_word(Some(outcome)).to_owned()), String::new())
        }
        (None, Some(build), None) => ((RUNNING, "its end".to_owned()), format!("build {build} serves it")),
        (None, None, None) => ((RUNNING, "its build".to_owned()), "it is being started".to_owned()),
    };
    vec![
        (PLAIN, listed.position.map(|place| place.to_string()).unwrap_or_default()),
        (HEADING, request.id.to_string()),
        (PLAIN, request.builder.clone()),
        (PLAIN, request.priority.to_string()),
        (FAINT, duration(now.ms_since(request.submitted))),
        state,
        (FAINT, words),
    ]
}

/// Why something waits, and until when.
#[must_use]
pub fn words(wait: &Wait, now: Timestamp) -> String {
    match wait.until {
        Some(until) => format!("{}, for {} more at most", wait.why, duration(until.ms_since(now))),
        None => wait.why.clone(),
    }
}
