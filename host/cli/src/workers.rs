//! `workers`: who is there, who is in quarantine, and how to end that.

use anstream::{print, println};
use anstyle::Style;
use windlass_core::time::Timestamp;
use windlass_master::view::{Released, Status, WorkerStatus};
use windlass_web::client::Client;

use crate::exit::{Exit, Failed};
use crate::output::{BAD, FAINT, GOOD, Table, WARN, count, duration, tame};
use crate::query::{encode, print_json};

const PLAIN: Style = Style::new();

/// `windlass workers`.
pub async fn workers(client: &Client, json: bool) -> Result<Exit, Failed> {
    let status: Status = client.get("/api/v1/status").await?;
    if json {
        print_json(&status.workers);
    } else if status.workers.is_empty() {
        println!("there are no workers");
    } else {
        print!("{}", table(&status));
    }
    Ok(Exit::Success)
}

/// `windlass workers release`.
pub async fn release(client: &Client, name: &str, json: bool) -> Result<Exit, Failed> {
    let path = format!("/api/v1/workers/{}/release", encode(name));
    let released: Released = client.post(&path, &serde_json::json!({})).await?;
    if json {
        print_json(&released);
        return Ok(Exit::Success);
    }
    let name = tame(&released.worker);
    match (released.quarantine, released.failures) {
        (Some(_), failures) => {
            println!(
                "worker {name} gets builds again; it was lost {} before one got anywhere",
                times(failures)
            );
        }
        (None, 0) => println!("worker {name} was not in quarantine"),
        (None, failures) => {
            println!(
                "worker {name} was not in quarantine any more; it is forgiven that it was lost {}",
                times(failures)
            );
        }
    }
    Ok(Exit::Success)
}

/// A line for each worker.
pub fn table(status: &Status) -> Table {
    let mut table = Table::new(&["worker", "", "running", "load", "version", ""]);
    for worker in &status.workers {
        let (style, state) = state(worker, status.now);
        let slots = worker.max_builds.map_or("no limit".to_owned(), |m| m.to_string());
        table.row(vec![
            (PLAIN, worker.name.clone()),
            (style, state),
            (PLAIN, format!("{} of {slots}", worker.running)),
            (FAINT, worker.load.map_or("-".to_owned(), |l| format!("{l:.2}"))),
            (FAINT, worker.version.clone().unwrap_or_default()),
            (BAD, quarantine(worker, status.now)),
        ]);
    }
    table
}

fn state(worker: &WorkerStatus, now: Timestamp) -> (Style, String) {
    match (worker.connected, worker.quarantine) {
        (None, _) => (WARN, "not connected".to_owned()),
        (Some(since), quarantine) => {
            let style = if quarantine.is_some() { WARN } else { GOOD };
            (style, format!("connected {}", duration(now.ms_since(since))))
        }
    }
}

fn quarantine(worker: &WorkerStatus, now: Timestamp) -> String {
    let lost = || format!("lost {} before a build got anywhere", times(worker.failures));
    match (worker.quarantine, worker.failures) {
        (Some(until), _) => format!("in quarantine for {} more: {}", duration(until.ms_since(now)), lost()),
        (None, 0) => String::new(),
        (None, _) => format!("on probation: {}", lost()),
    }
}

/// `once`, `3 times`.
fn times(times: u32) -> String {
    match times {
        1 => "once".to_owned(),
        n => count(n as usize, "time"),
    }
}
