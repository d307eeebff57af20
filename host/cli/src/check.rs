//! `check`: the same reading as a start, with every fault shown, and nothing changed.

use std::path::Path;

use anstream::{eprintln, println};
use anyhow::Context as _;
use windlass_config::Diagnostics;
use windlass_master::{Faults, Grant};

use crate::exit::{Exit, Failed};
use crate::output::{BAD, GOOD, count, paint, tame, tame_lines};
use crate::place::{MASTER_FILE, WORKER_FILE, file_in, read};
use crate::query::print_json;

/// `windlass check`: of a master's directory or file, or of a worker's.
pub async fn check(path: &Path, json: bool) -> Result<Exit, Failed> {
    if path.extension().is_some_and(|ending| ending == "wasm") {
        let shown = path.display();
        let why = format!("`{shown}` is no configuration; `windlass plugin check {shown}` checks components");
        return Err(Failed { exit: Exit::Refused, error: anyhow::Error::msg(why) });
    }
    let is_of_worker = path.file_name().is_some_and(|n| n == WORKER_FILE)
        || (!path.join(MASTER_FILE).exists() && path.join(WORKER_FILE).exists());
    let file = file_in(path, if is_of_worker { WORKER_FILE } else { MASTER_FILE });
    let text = read(&file)?;
    if is_of_worker || windlass_config::is_of_worker(&text) {
        let checked = windlass_config::check_worker(&file, &text);
        if let Ok(config) = &checked.config {
            let token = file.parent().unwrap_or(Path::new("")).join(&config.token_file);
            std::fs::metadata(&token).with_context(|| {
                let (file, token) = (file.display(), token.display());
                format!(
                    "there is no token in `{token}`, which {file} names; `windlass token {token}` makes one"
                )
            })?;
        }
        let faults = checked.config.err().map(Faults::from);
        return report(&file, faults, checked.warnings, "a worker's configuration", &[], json);
    }
    let cache = crate::compile::Cache::open()?;
    let checked = windlass_master::check(&file, cache.folder(), crate::compile::compiler())
        .await
        .map_err(crate::daemon::start_failed)?;
    let what = format!("{}, {}", count(checked.builders, "builder"), count(checked.plugins, "plugin"));
    report(&file, checked.faults, checked.warnings, &what, &checked.grants, json)
}

fn report(
    file: &Path,
    faults: Option<Faults>,
    warnings: Option<Diagnostics>,
    what: &str,
    grants: &[Grant],
    json: bool,
) -> Result<Exit, Failed> {
    if json {
        let none = || serde_json::json!([]);
        print_json(&serde_json::json!({
            "file": file, "errors": faults.as_ref().map_or_else(none, Faults::to_json),
            "warnings": warnings.as_ref().map_or_else(none, Diagnostics::to_json), "grants": grants,
        }));
        return Ok(if faults.is_some() { Exit::Invalid } else { Exit::Success });
    }
    warnings.into_iter().for_each(draw);
    if let Some(Faults { plugins, config }) = faults {
        for bad in &plugins {
            eprintln!("{} {}\n", paint(BAD, "error:"), tame_lines(&bad.message));
        }
        config.into_iter().for_each(draw);
        return Ok(Exit::Invalid);
    }
    println!("{} {}: {what}", paint(GOOD, "good:"), file.display());
    if !grants.is_empty() {
        println!(
            "\nwhat commands and steps ask for, and are granted (commands need the leave of their worker, too):"
        );
    }
    for grant in grants {
        println!("  {}", tame(&told(grant)));
    }
    Ok(Exit::Success)
}

/// One capability in one line.
fn told(Grant { hook, capability, asked, granted }: &Grant) -> String {
    let asks = if asked.is_empty() { String::new() } else { format!(" (asks for {})", asked.join(", ")) };
    match granted {
        Some(granted) => format!("{hook}: {capability} {}{asks}", granted.join(", ")),
        None => format!("{hook}: {capability}: not granted in [grants.\"{hook}\"]{asks}"),
    }
}

/// Draws diagnostics on standard error: with lines and carets, in colour where that is wanted.
pub fn draw(diagnostics: Diagnostics) {
    eprintln!("{:?}", miette::Report::new(diagnostics));
}

/// What is wrong with a configuration, drawn; then the error that says so.
pub fn invalid(diagnostics: Diagnostics) -> Failed {
    let summary = diagnostics.to_string();
    draw(diagnostics);
    Failed::invalid(anyhow::Error::msg(summary))
}
