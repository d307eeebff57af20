//! `plugin inspect`: what a component offers, asks for, and is made of.

use std::path::Path;

use anstream::println;
use windlass_core::policy::HookKind;
use windlass_runtime::plugin::{Hook, Plugin};

use super::anatomy::{Anatomy, anatomy};
use super::{File, Loader};
use crate::exit::{Exit, Failed};
use crate::output::{FAINT, HEADING, WARN, paint, size, tame, tame_lines};
use crate::query::print_json;

/// `windlass plugin inspect`: loads a component as a master would.
pub fn inspect(file: &str, json: bool) -> Result<Exit, Failed> {
    let file = find(file)?;
    let made = anatomy(&file.bytes);
    let plugin = Loader::start()?.load(file).map_err(Failed::invalid)?;
    let made = made.map_err(|error| Failed::invalid(anyhow::Error::from(error)))?;
    if json {
        print_json(&as_json(&plugin, &made))
    } else {
        show(&plugin, &made)
    }
    Ok(Exit::Success)
}

/// A file, or a bundled component by its name.
fn find(file: &str) -> Result<File, Failed> {
    let path = Path::new(file);
    let name = file.strip_prefix("windlass:").unwrap_or(file);
    match windlass_plugins::bundled().iter().find(|b| b.name == name) {
        Some(bundled) if !path.exists() => Ok(File::bundled(bundled)),
        _ if path.is_dir() => Err(refused(format!(
            "`{file}` is a folder; `windlass plugin build {file}` makes a component of a project, `windlass plugin \
             check {file}` looks at all in it"
        ))),
        None if !path.exists() => {
            let bundled: Vec<_> = windlass_plugins::bundled().iter().map(|b| b.name).collect();
            Err(refused(format!(
                "there is no file `{file}`, and the bundled components are {}",
                bundled.join(", ")
            )))
        }
        _ => File::read(path),
    }
}

fn refused(why: String) -> Failed {
    Failed { exit: Exit::Refused, error: anyhow::Error::msg(why) }
}

fn as_json(plugin: &Plugin, made: &Anatomy) -> serde_json::Value {
    let hook = |hook: &Hook| {
        serde_json::json!({
            "kind": hook.kind, "name": hook.name, "summary": hook.summary, "args_schema": hook.args_schema,
            "options": hook.options,
        })
    };
    let capabilities = plugin
        .capabilities
        .iter()
        .map(|c| serde_json::json!({ "capability": c.capability, "scope": c.scope, "reason": c.reason }));
    serde_json::json!({
        "name": plugin.name, "digest": plugin.digest, "size": plugin.bytes_len,
        "hooks": plugin.hooks.iter().map(hook).collect::<Vec<_>>(),
        "capabilities": capabilities.collect::<Vec<_>>(),
        "imports": made.imports, "exports": made.exports, "languages": made.languages, "tools": made.tools,
        "initial_memory": made.initial_memory,
    })
}

fn show(plugin: &Plugin, made: &Anatomy) {
    let list =
        |names: &mut dyn Iterator<Item = &String>| tame(&names.cloned().collect::<Vec<_>>().join(", "));
    println!("{} {}, {}", paint(HEADING, tame(&plugin.name)), plugin.digest, size(plugin.bytes_len));
    let side = match plugin.hooks.first().map(|hook| hook.kind) {
        Some(HookKind::SlaveCommand) => "a worker",
        _ => "the master",
    };
    println!("runs on {side}; an instance begins with {} of memory", size(made.initial_memory));
    if !made.languages.is_empty() {
        println!("{}", paint(FAINT, format_args!("written in {}", list(&mut made.languages.iter()))));
    }
    if !made.tools.is_empty() {
        println!("{}", paint(FAINT, format_args!("made by {}", list(&mut made.tools.iter()))));
    }
    for hook in &plugin.hooks {
        println!("\n{} {}: {}", hook.kind, paint(HEADING, tame(&hook.name)), tame(&hook.summary));
        match &hook.args_schema {
            Some(schema) => println!("{}", paint(FAINT, tame_lines(&format!("{schema:#}")))),
            None => println!("{}", paint(FAINT, "takes no arguments")),
        }
        for option in &hook.options {
            println!("{}", paint(FAINT, tame(&format!("{}: {:?}", option.name, option.value))));
        }
    }
    println!();
    if plugin.capabilities.is_empty() {
        println!("asks for no capability");
    }
    for asked in &plugin.capabilities {
        let scope = if asked.scope.is_empty() { "anything".to_owned() } else { asked.scope.join(", ") };
        let reason = tame(&asked.reason);
        println!("asks for {} of {}: {reason}", paint(WARN, tame(&asked.capability)), tame(&scope));
    }
    println!("{}", paint(FAINT, format_args!("imports {}", list(&mut made.imports.iter()))));
}
