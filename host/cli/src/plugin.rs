//! `plugin list`, `inspect` and `build`.

use std::path::Path;

use anstream::{eprintln, print, println};
use anstyle::Style;
use anyhow::Context as _;
use windlass_master::view;
use windlass_runtime::plugin::{Plugin, Source};
use windlass_runtime::{Options, Runtime};
use windlass_web::client::Client;

use crate::exit::{Exit, Failed};
use crate::output::{FAINT, GOOD, HEADING, Table, WARN, duration, paint, size, tame, tame_log};
use crate::query::print_json;

const PLAIN: Style = Style::new();

/// `windlass plugin list`.
pub async fn list(client: &Client, json: bool) -> Result<Exit, Failed> {
    let plugins: Vec<view::Plugin> = client.get("/api/v1/plugins").await?;
    if json {
        print_json(&plugins);
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&[
        "plugin",
        "from",
        "digest",
        "size",
        "hook",
        "calls",
        "CPU",
        "fallbacks",
        "denials",
        "used by",
    ]);
    for plugin in &plugins {
        let from = match (&plugin.file, plugin.current) {
            (_, false) => (WARN, format!("builds {:?} only", plugin.builds_holding)),
            (Some(_), true) => (PLAIN, "folder".to_owned()),
            (None, true) => (FAINT, "bundled".to_owned()),
        };
        let trouble = |count: u64| if count > 0 { WARN } else { FAINT };
        let usage = &plugin.usage;
        for (n, hook) in plugin.hooks.iter().enumerate() {
            let first = |text: String| if n == 0 { text } else { String::new() };
            table.row(vec![
                (PLAIN, first(plugin.name.clone())),
                (from.0, first(from.1.clone())),
                (FAINT, first(plugin.digest.short())),
                (FAINT, first(size(plugin.size))),
                (PLAIN, format!("{} {}", hook.kind, hook.name)),
                (FAINT, first(usage.calls.to_string())),
                (FAINT, first(duration(usage.cpu_us / 1_000))),
                (trouble(usage.fallbacks), first(usage.fallbacks.to_string())),
                (trouble(usage.denials), first(usage.denials.to_string())),
                (FAINT, first(plugin.used_by.join("; "))),
            ]);
        }
    }
    print!("{table}");
    Ok(Exit::Success)
}

/// `windlass plugin inspect`: loads a component as a master would.
pub fn inspect(file: &str, json: bool) -> Result<Exit, Failed> {
    let plugin = load(file)?;
    if json {
        let hooks: Vec<_> = plugin.hooks.iter().map(|hook| {
            serde_json::json!({ "kind": hook.kind, "name": hook.name, "summary": hook.summary, "args_schema": hook.args_schema })
        }).collect();
        let capabilities: Vec<_> = plugin
            .capabilities
            .iter()
            .map(|c| serde_json::json!({ "capability": c.capability, "scope": c.scope, "reason": c.reason }))
            .collect();
        print_json(&serde_json::json!({
            "name": plugin.name, "digest": plugin.digest, "size": plugin.bytes_len,
            "hooks": hooks, "capabilities": capabilities,
        }));
        return Ok(Exit::Success);
    }
    println!("{} {}, {}", paint(HEADING, tame(&plugin.name)), plugin.digest, size(plugin.bytes_len));
    for hook in &plugin.hooks {
        println!("\n{} {}: {}", hook.kind, paint(HEADING, tame(&hook.name)), tame(&hook.summary));
        match &hook.args_schema {
            Some(schema) => println!("{}", paint(FAINT, tame_log(&format!("{schema:#}")))),
            None => println!("{}", paint(FAINT, "takes no arguments")),
        }
    }
    for asked in &plugin.capabilities {
        let scope = if asked.scope.is_empty() { "anything".to_owned() } else { asked.scope.join(", ") };
        let reason = tame(&asked.reason);
        println!("\nasks for {} of {}: {reason}", paint(WARN, tame(&asked.capability)), tame(&scope));
    }
    Ok(Exit::Success)
}

/// Loads a file, or a bundled component by its name.
fn load(file: &str) -> Result<std::sync::Arc<Plugin>, Failed> {
    let path = Path::new(file);
    let bundled = windlass_plugins::bundled().iter().find(|b| b.name == file.trim_start_matches("windlass:"));
    let (name, source, bytes) = match bundled {
        Some(bundled) if !path.exists() => (bundled.name, Source::Bundled, bundled.bytes.into()),
        _ => {
            let bytes = std::fs::read(path).with_context(|| format!("failed to read `{file}`"))?;
            let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or(file);
            (stem, Source::File(path.to_owned()), bytes.into())
        }
    };
    let cache = tempfile::tempdir().context("failed to make a directory to compile in")?;
    let runtime = Runtime::new(Options { guest_threads: 1, ..Options::new(cache.path().join("cache")) })
        .context("failed to start the engine")?;
    runtime.load(name, source, bytes).map_err(Failed::invalid)
}

/// `windlass plugin build`.
pub fn build(project: &Path, out: &Path) -> Result<Exit, Failed> {
    let components = windlass_build::Builder::new(project)
        .progress(|line| eprintln!("{}", paint(FAINT, tame(line))))
        .build()
        .map_err(Failed::invalid)?;
    std::fs::create_dir_all(out).with_context(|| format!("failed to make `{}`", out.display()))?;
    for component in components {
        let target = out.join(format!("{}.wasm", component.name));
        // Beside its place first: a master that reloads just now sees the old file or the new one.
        let unfinished = out.join(format!(".{}.wasm.new", component.name));
        std::fs::copy(&component.path, &unfinished)
            .and_then(|_| std::fs::rename(&unfinished, &target))
            .with_context(|| format!("failed to write `{}`", target.display()))?;
        let loaded = load(&target.to_string_lossy())?;
        let hooks: Vec<String> = loaded.hooks.iter().map(|h| format!("{} {}", h.kind, h.name)).collect();
        println!("{} {}: {}", paint(GOOD, target.display()), loaded.digest.short(), hooks.join(", "));
    }
    Ok(Exit::Success)
}
