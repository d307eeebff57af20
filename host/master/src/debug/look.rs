//! What the console looks at. Each answer is made of what its owner has just now.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use windlass_core::id::BuildId;
use windlass_core::journal::{Entry, OF_STEP};
use windlass_core::record::{BuildRow, StepRow};
use windlass_store::{Page, PageOf, RawRow, ReadError, Rows};

use super::DebugError;
use crate::plugins as loaded;
use crate::running::Running;
use crate::secrets;
use crate::step_port;

/// Who is asked has so long to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// For so long the bytes of tables are counted.
const COUNTING: Duration = Duration::from_secs(5);

/// So many rows are listed, and at most so many.
const ROWS: usize = 100;
/// See there.
const MOST_ROWS: usize = 1_000;

/// So many of the last entries of a journal are shown.
const ENTRIES: usize = 12;

async fn within<T>(who: &'static str, answer: impl Future<Output = T>) -> Result<T, DebugError> {
    tokio::time::timeout(PATIENCE, answer).await.map_err(|_| DebugError::Unanswered(who))
}

/// As the dispatcher has it.
pub(super) async fn board(running: &Running) -> Result<Json, DebugError> {
    within("the dispatcher", running.dispatcher.publish()).await?;
    Ok(json!(*running.dispatcher.snapshot()))
}

/// Each link, as its task has it.
pub(super) async fn links(running: &Running) -> Result<Json, DebugError> {
    Ok(json!(within("the task of a link", running.links.inspect()).await?))
}

/// Ends suspensions.
pub(super) async fn lift(running: &Running, policy: &str) -> Result<Json, DebugError> {
    let lifted = within("the dispatcher", running.dispatcher.lift(policy.to_owned())).await?;
    if lifted.is_empty() {
        return Err(DebugError::NotFound(format!("no policy `{policy}` is suspended")));
    }
    Ok(json!({ "lifted": lifted }))
}

/// A build, from its rows.
pub(super) fn build(running: &Running, id: u64) -> Result<Json, DebugError> {
    let store = &running.store;
    let row = store.build(BuildId(id))?;
    let row = row.ok_or_else(|| DebugError::NotFound(format!("there is no build {id}")))?;
    let steps = store.steps(row.id)?;
    let plan = match &row.plan {
        Some(digest) => store.plan(digest)?,
        None => None,
    };
    let current = steps.iter().find(|step| step.complete.is_none());
    let current = current.map(|step| current_step(running, &row, step)).transpose()?;
    Ok(json!({
        "row": row,
        "stop": store.stop_order(row.id)?,
        "added_steps": store.added_steps(row.id)?.iter().map(|(by, specs)| json!({
            "by": by, "steps": specs.iter().map(|spec| &spec.name).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "steps": steps,
        "current": current,
        "plan": plan,
    }))
}

fn current_step(running: &Running, row: &BuildRow, step: &StepRow) -> Result<Json, ReadError> {
    let kept = running.store.journal(row.id, step.id)?;
    let first = kept.entries.len().saturating_sub(ENTRIES);
    let entries = kept.entries.iter().enumerate().skip(first);
    let entries: Vec<String> = entries.map(|(at, entry)| format!("{at}: {}", words(entry))).collect();
    let marks = kept.marks.iter().map(|(command, mark)| {
        let command = if *command == OF_STEP { json!("the step itself") } else { json!(command) };
        json!({ "command": command, "durable": mark.number, "logged": mark.logged, "events_taken": mark.taken })
    });
    let commands = kept.entries.iter().filter_map(step_port::started_command);
    let commands = commands.map(|(number, uid, session)| {
        json!({ "command": number, "uid": uid, "epoch": session.epoch, "instance": session.instance })
    });
    Ok(json!({
        "name": step.name,
        "since": step.started,
        "journal": {
            "entries": kept.entries.len(), "pieces": kept.pieces, "last": entries,
        },
        "commands": commands.collect::<Vec<_>>(),
        "marks": marks.collect::<Vec<_>>(),
    }))
}

/// An entry without what was answered.
fn words(entry: &Entry) -> String {
    match entry {
        Entry::Given(given) => format!("given arguments of {} bytes", given.args.len()),
        Entry::Called { call, answer, after, .. } => {
            let interrupted = if after.interrupted.is_some() { ", interrupted" } else { "" };
            format!("{}: an answer of {} bytes at {}{interrupted}", call.as_str(), answer.len(), after.now.0)
        }
        Entry::Logged { calls, .. } => format!("{calls} messages to logs"),
        Entry::Set { name, .. } => format!("set the property {name}"),
        Entry::Wrote { calls, .. } => format!("{calls} pieces of artifacts"),
        Entry::Once(what) => format!("not done twice: it {what}"),
        Entry::Volatile(why) => format!("cannot be taken up: {why}"),
        Entry::Replayed => "taken up".to_owned(),
        Entry::Left => "left by a shutdown".to_owned(),
    }
}

/// Tables, room and commits.
pub(super) fn store(running: &Running) -> Result<Json, DebugError> {
    let tables = running.store.tables(COUNTING)?;
    let tables =
        tables.iter().map(|table| json!({ "name": table.name, "rows": table.rows, "bytes": table.bytes }));
    let stats = running.store.stats();
    Ok(json!({
        "folder": running.store.folder(),
        "room_bytes": running.store.room(),
        "reserve_bytes": windlass_store::RESERVE,
        "waits_for_room": stats.waits_for_room,
        "commits": stats.commits,
        "commits_with_journals": stats.journals,
        "batches": stats.batches,
        "refused_batches": stats.refused,
        "syncs": stats.syncs,
        "database_bytes_written": stats.database_bytes,
        "log_bytes_held": stats.log_bytes_held,
        "tables": tables.collect::<Vec<_>>(),
    }))
}

/// A row, raw and decoded where that is possible.
pub(super) fn row(running: &Running, table: &str, key: &str) -> Result<Json, DebugError> {
    match running.store.raw(table, key)? {
        RawRow::NoTable(names) => Err(no_table(table, names)),
        RawRow::NoKey(form) => Err(no_key(table, key, form)),
        RawRow::Missing => Err(DebugError::NotFound(format!("table `{table}` has no row `{key}`"))),
        RawRow::Plain(value) => Ok(json!({ "value": value })),
        // What others would need to make tokens or placeholders of their own.
        RawRow::Bytes { key, bytes, .. } if secrets::is_secret_row(table, &key) => {
            Ok(json!({ "bytes": bytes.len(), "hidden": "it is a secret of this master" }))
        }
        RawRow::Bytes { bytes, said, damage, .. } if table == "worker_tokens" => {
            Ok(json!({ "bytes": bytes.len(), "decoded": said, "damaged": damage }))
        }
        RawRow::Bytes { bytes, said, damage, .. } => {
            let decoded = said.map(Json::from).or_else(|| decoded(table, &bytes));
            Ok(json!({ "bytes": bytes.len(), "hex": hex(&bytes), "decoded": decoded, "damaged": damage }))
        }
    }
}

/// Rows by their keys, each with what is wrong with it, if something is.
pub(super) fn rows(
    running: &Running,
    table: &str,
    after: Option<&str>,
    limit: Option<usize>,
    damaged: bool,
) -> Result<Json, DebugError> {
    let limit = limit.unwrap_or(ROWS).clamp(1, MOST_ROWS);
    let Page { rows, looked_at, more_after } =
        match running.store.rows(table, PageOf { after, limit, damaged, patience: PATIENCE })? {
            Rows::NoTable(names) => return Err(no_table(table, names)),
            Rows::NoKey(form) => return Err(no_key(table, after.unwrap_or_default(), form)),
            Rows::Page(page) => page,
        };
    let rows = rows.iter().map(|row| match &row.damage {
        None => json!({ "key": row.key, "bytes": row.bytes }),
        Some(damage) => json!({ "key": row.key, "bytes": row.bytes, "damaged": damage }),
    });
    Ok(json!({
        "rows": rows.collect::<Vec<_>>(),
        "looked_at": looked_at,
        "more": more_after.is_some(),
        "more_after": more_after,
    }))
}

fn no_table(table: &str, names: &[&str]) -> DebugError {
    DebugError::NotFound(format!("there is no table `{table}`; there are {}", names.join(", ")))
}

fn no_key(table: &str, key: &str, form: &str) -> DebugError {
    DebugError::NotFound(format!("`{key}` is no key of table `{table}`: a key is {form}"))
}

/// What is packed, behind its version byte, or text as it is.
fn decoded(table: &str, bytes: &[u8]) -> Option<Json> {
    if table == "state" {
        let text = std::str::from_utf8(bytes).ok()?;
        return Some(serde_json::from_str(text).unwrap_or_else(|_| text.into()));
    }
    rmp_serde::from_slice(bytes.get(1..)?).ok()
}

/// The beginning of them.
fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 512;
    let shown: String = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    match bytes.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        Some(more) => format!("{shown}... and {more} bytes more"),
        None => shown,
    }
}

/// What is loaded, and who holds what.
pub(super) fn plugins(running: &Running) -> Result<Json, DebugError> {
    let world = running.world.load_full();
    let builds = running.store.running_builds()?;
    let usage = running.runtime.usage();
    let plugins = loaded::view(&world.generation, &world.config, &usage, &builds, running.store.cas());
    let plugins = plugins.iter().map(|plugin| {
        let mut plugin = json!(plugin);
        if let Some(hooks) = plugin.get_mut("hooks").and_then(Json::as_array_mut) {
            // Their schemas are long, and `windlass plugin list --json` has them.
            *hooks = hooks.iter().map(|hook| json!({ "kind": hook["kind"], "name": hook["name"] })).collect();
        }
        plugin
    });
    Ok(json!({ "generation": world.generation.number, "plugins": plugins.collect::<Vec<_>>() }))
}

/// What runs, and since when.
pub(super) fn tasks(running: &Arc<Running>) -> Result<Json, DebugError> {
    let mut builds = Vec::new();
    for row in running.store.running_builds()? {
        let steps = running.store.steps(row.id)?;
        let step = steps.iter().find(|step| step.complete.is_none());
        builds.push(json!({
            "build": row.id, "builder": row.builder, "worker": row.worker, "since": row.started, "fence": row.fence,
            "step": step.map(|step| json!({ "name": step.name, "since": step.started })),
        }));
    }
    let pollers = running.pollers.status();
    let pollers = pollers.iter().map(|poller| {
        json!({ "name": poller.name, "last": poller.last_poll, "next": poller.next_poll, "error": poller.error })
    });
    let metrics = tokio::runtime::Handle::current().metrics();
    Ok(json!({
        "now": running.clock.now(),
        "started": running.started,
        "builds": builds,
        "reconfigs": running.gate.inside(),
        "orders": running.tasks.len(),
        "link_tasks": running.links.tasks(),
        "pollers": pollers.collect::<Vec<_>>(),
        "tasks_alive": metrics.num_alive_tasks(),
        "threads": metrics.num_workers(),
        "pace": running.dispatcher.pace(),
    }))
}
