//! `plugin stats`: what plugins cost, by their bytes and by their uses, the dearest first.

use anstream::{print, println};
use windlass_master::view::{PluginStats, PluginUsage};
use windlass_web::client::Client;

use super::PLAIN;
use super::list::trouble;
use crate::exit::{Exit, Failed};
use crate::output::{FAINT, HEADING, Table, WARN, micros, size};
use crate::query::print_json;

/// `windlass plugin stats`.
pub async fn stats(client: &Client, plugin: Option<&str>, json: bool) -> Result<Exit, Failed> {
    let mut all: Vec<PluginStats> = client.get("/api/v1/plugins/stats").await?;
    if let Some(name) = plugin {
        let of_it = |stats: &PluginStats| {
            stats.plugin == name || stats.plugin.strip_prefix("windlass:") == Some(name)
        };
        if !all.iter().any(of_it) {
            let mut known: Vec<String> = all.into_iter().map(|stats| stats.plugin).collect();
            known.dedup();
            let why = format!("no plugin `{name}` has been loaded; there are {}", known.join(", "));
            return Err(Failed { exit: Exit::Refused, error: anyhow::Error::msg(why) });
        }
        all.retain(of_it);
    }
    let cpu = |usage: &PluginUsage| std::cmp::Reverse(usage.cpu_us);
    all.sort_by(|a, b| (cpu(&a.total), &a.plugin).cmp(&(cpu(&b.total), &b.plugin)));
    for stats in &mut all {
        stats.uses.sort_by(|a, b| (cpu(&a.usage), &a.used_by).cmp(&(cpu(&b.usage), &b.used_by)));
    }
    if json {
        print_json(&all);
        return Ok(Exit::Success);
    }
    let idle = all.iter().filter(|stats| stats.total == PluginUsage::default()).count();
    print!("{}", table(all.iter().filter(|stats| plugin.is_some() || stats.total != PluginUsage::default())));
    if plugin.is_none() && idle > 0 {
        println!("{idle} more have not been called since the master started");
    }
    Ok(Exit::Success)
}

/// A line for each component, and one below for each of its uses where there are several.
fn table<'a>(all: impl Iterator<Item = &'a PluginStats>) -> Table {
    let mut table = Table::new(&[
        "plugin",
        "digest",
        "use",
        "calls",
        "CPU",
        "a call",
        "wall",
        "peak memory",
        "host calls",
        "",
    ]);
    for stats in all {
        let (style, name) = match stats.current {
            true => (HEADING, stats.plugin.clone()),
            false => (WARN, format!("{} (replaced)", stats.plugin)),
        };
        let of = match stats.uses.as_slice() {
            [only] => only.used_by.clone(),
            [] => String::new(),
            several => format!("{} uses", several.len()),
        };
        let mut row = vec![(style, name), (FAINT, stats.digest.short()), (PLAIN, of)];
        row.extend(cells(&stats.total));
        table.row(row);
        for one in stats.uses.iter().filter(|_| stats.uses.len() > 1) {
            let mut row = vec![(PLAIN, String::new()), (PLAIN, String::new()), (FAINT, one.used_by.clone())];
            row.extend(cells(&one.usage));
            table.row(row);
        }
    }
    table
}

fn cells(usage: &PluginUsage) -> [(anstyle::Style, String); 7] {
    [
        (PLAIN, usage.calls.to_string()),
        (PLAIN, micros(usage.cpu_us)),
        (FAINT, micros(usage.cpu_us / usage.calls.max(1))),
        (FAINT, micros(usage.wall_us)),
        (FAINT, size(usage.peak_memory)),
        (FAINT, usage.host_calls.to_string()),
        (WARN, trouble(usage)),
    ]
}
