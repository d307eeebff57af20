//! `locks`: who holds what, and who waits for whom.

use anstream::{print, println};
use anstyle::Style;
use windlass_master::view::{Lock, Status};
use windlass_web::client::Client;

use crate::exit::{Exit, Failed};
use crate::output::{FAINT, GOOD, HEADING, Table, WARN, duration};
use crate::query::print_json;

const PLAIN: Style = Style::new();

/// `windlass locks`.
pub async fn locks(client: &Client, json: bool) -> Result<Exit, Failed> {
    let status: Status = client.get("/api/v1/status").await?;
    if json {
        print_json(&status.locks);
    } else if status.locks.is_empty() {
        println!("there are no locks");
    } else {
        print!("{}", table(&status, &status.locks));
    }
    Ok(Exit::Success)
}

/// Each lock with a line for each who holds some of it or waits.
pub fn table<'a>(status: &Status, locks: impl IntoIterator<Item = &'a Lock>) -> Table {
    let mut table = Table::new(&["lock", "held", "", "how much", "since", ""]);
    for lock in locks {
        let name = lock.worker.iter().fold(lock.name.clone(), |name, worker| format!("{name} of {worker}"));
        let max = lock.max.map_or_else(|| "not configured".to_owned(), |max| max.to_string());
        let mut head = vec![(HEADING, name), (PLAIN, format!("{} of {max}", lock.held))];
        let holders = lock.holders.iter().map(|user| (GOOD, user, "has it"));
        let waiters = lock
            .waiters
            .iter()
            .map(|user| (WARN, user, user.waits.as_deref().unwrap_or("its turn has come")));
        for (style, user, state) in holders.chain(waiters) {
            let mut row = std::mem::replace(&mut head, vec![(PLAIN, String::new()); 2]);
            let count = user.count.map_or_else(|| "all".to_owned(), |count| count.to_string());
            let since = duration(status.now.ms_since(user.since));
            row.extend([
                (style, user.who.clone()),
                (PLAIN, count),
                (FAINT, since),
                (style, state.to_owned()),
            ]);
            table.row(row);
        }
        if lock.more_waiters > 0 {
            let more = format!("and {} more", lock.more_waiters);
            table.row(vec![(PLAIN, String::new()), (PLAIN, String::new()), (WARN, more)]);
        }
        if lock.holders.is_empty() && lock.waiters.is_empty() {
            head.push((FAINT, "free".to_owned()));
            table.row(head);
        }
    }
    table
}
