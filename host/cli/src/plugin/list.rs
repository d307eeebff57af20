//! `plugin list`: what the running master has, and what builds still hold.

use anstream::print;
use windlass_master::view;
use windlass_web::client::Client;

use super::PLAIN;
use crate::exit::{Exit, Failed};
use crate::output::{FAINT, Table, WARN, count, micros, size};
use crate::query::print_json;

/// `windlass plugin list`.
pub async fn list(client: &Client, json: bool) -> Result<Exit, Failed> {
    let plugins: Vec<view::Plugin> = client.get("/api/v1/plugins").await?;
    if json {
        print_json(&plugins);
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["plugin", "hook", "digest", "size", "calls", "CPU", "", "used by"]);
    for plugin in &plugins {
        let (style, name) = match (&plugin.file, plugin.current) {
            (_, false) => (WARN, format!("{} (replaced)", plugin.name)),
            (Some(_), true) => (PLAIN, plugin.name.clone()),
            (None, true) => (FAINT, plugin.name.clone()),
        };
        let mut hooks = plugin.hooks.iter().map(|hook| format!("{} {}", hook.kind, hook.name));
        table.row(vec![
            (style, name),
            (PLAIN, hooks.next().unwrap_or_default()),
            (FAINT, plugin.digest.short()),
            (FAINT, size(plugin.size)),
            (FAINT, plugin.usage.calls.to_string()),
            (FAINT, micros(plugin.usage.cpu_us)),
            (WARN, trouble(&plugin.usage)),
            (FAINT, users(plugin)),
        ]);
        for hook in hooks {
            table.row(vec![(PLAIN, String::new()), (PLAIN, hook)]);
        }
    }
    print!("{table}");
    Ok(Exit::Success)
}

/// What deserves a look, if anything does.
pub fn trouble(usage: &view::PluginUsage) -> String {
    let counts = [(usage.traps, "trap"), (usage.denials, "denial"), (usage.fallbacks, "fallback")];
    let said = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| count(*n as usize, what));
    said.collect::<Vec<_>>().join(", ")
}

fn users(plugin: &view::Plugin) -> String {
    if plugin.current {
        // The first says of what kind they are; --json has all.
        return match plugin.used_by.as_slice() {
            [] => String::new(),
            [only] => only.clone(),
            [first, others @ ..] => format!("{first} and {} more", others.len()),
        };
    }
    let builds: Vec<String> = plugin.builds_holding.iter().map(u64::to_string).collect();
    format!("held by builds {}", builds.join(", "))
}
