//! Orders to a running master: `force`, `cancel`, `stop`, `reconfig`, `poll`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use anstream::{eprintln, println};
use anstyle::Style;
use windlass_core::digest::Digest;
use windlass_master::view;
use windlass_web::client::{Client, ClientError};

use crate::args;
use crate::exit::{Exit, Failed};
use crate::output::{BAD, FAINT, GOOD, HEADING, WARN, outcome_style, outcome_word, paint, tame, tame_lines};
use crate::progress::{Progress, content};
use crate::query::print_json;

/// `windlass force`.
pub async fn force(client: &Client, order: args::Force, json: bool) -> Result<Exit, Failed> {
    let body = view::Force {
        builder: order.builder,
        branch: order.branch,
        revision: order.revision,
        repository: order.repository,
        properties: properties(&order.properties)?,
        reason: Some(order.reason),
        owner: order.owner.or_else(|| std::env::var("USER").ok()),
        patch: match &order.patch {
            Some(file) => Some(view::Patch {
                body: read_patch(file)?,
                level: order.patch_level,
                directory: order.patch_dir,
            }),
            None => None,
        },
    };
    if !order.wait {
        let forced: view::Forced = client.post("/api/v1/force", &body).await?;
        if json {
            print_json(&forced);
        } else {
            println!(
                "submitted as {}; `windlass status` shows what it waits for, `windlass builds` what becomes of it",
                named(&forced)
            );
        }
        return Ok(Exit::Success);
    }
    let mut progress = Progress::listen(client, json).await?;
    let forced: view::Forced = client.post("/api/v1/force", &body).await?;
    progress.only(&forced.requests);
    let done = progress.until_done(client, forced.buildset).await.map_err(|failed| {
        let kept = format!(
            "no more news of {}, which is built even if its master has to start again",
            named(&forced)
        );
        Failed { error: failed.error.context(kept), ..failed }
    })?;
    if json {
        print_json(&done);
    } else {
        println!("{}", paint(outcome_style(done.outcome), outcome_word(done.outcome)));
    }
    Ok(if content(done.outcome) { Exit::Success } else { Exit::Unsuccessful })
}

fn read_patch(file: &Path) -> Result<Vec<u8>, Failed> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(file).map(|read| bytes = read)
    };
    read.map_err(|error| Failed {
        exit: Exit::Refused,
        error: anyhow::Error::new(error).context(format!("failed to read the patch {}", file.display())),
    })?;
    Ok(bytes)
}

/// `request 5`.
fn named(forced: &view::Forced) -> String {
    let numbers: Vec<String> = forced.requests.iter().map(u64::to_string).collect();
    format!("request {}", numbers.join(", "))
}

/// `NAME=VALUE`, where a value that is JSON keeps its type.
fn properties(given: &[String]) -> Result<BTreeMap<String, serde_json::Value>, Failed> {
    let property = |text: &String| {
        let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            Failed { exit: Exit::Refused, error: anyhow::anyhow!("`--property {text}` is not NAME=VALUE") }
        })?;
        let value =
            serde_json::from_str(value).unwrap_or_else(|_| serde_json::Value::String(value.to_owned()));
        Ok((name.to_owned(), value))
    };
    given.iter().map(property).collect()
}

/// `windlass cancel`.
pub async fn cancel(client: &Client, request: u64, json: bool) -> Result<Exit, Failed> {
    let path = format!("/api/v1/requests/{request}/cancel");
    let done: serde_json::Value = client.post(&path, &serde_json::json!({})).await?;
    if json {
        print_json(&done);
    } else {
        println!("request {request} is withdrawn");
    }
    Ok(Exit::Success)
}

/// `windlass stop`.
pub async fn stop(client: &Client, build: u64, step: Option<String>, reason: &str) -> Result<Exit, Failed> {
    let path = format!("/api/v1/builds/{build}/stop");
    client.post::<serde_json::Value>(&path, &serde_json::json!({ "reason": reason, "step": step })).await?;
    match step {
        Some(step) => println!("step {} of build {build} is being stopped", tame(&step)),
        None => println!("build {build} is being stopped"),
    }
    Ok(Exit::Success)
}

/// `windlass poll`.
pub async fn poll(client: &Client, json: bool) -> Result<Exit, Failed> {
    let polled: Vec<view::Polled> = client.post("/api/v1/poll", &serde_json::json!({})).await?;
    if json {
        print_json(&polled);
    } else if polled.is_empty() {
        println!("no pollers are configured");
    }
    for poller in polled.iter().filter(|_| !json) {
        println!("{}: {} new changes", tame(&poller.poller), poller.changes);
    }
    Ok(Exit::Success)
}

/// `windlass reconfig`.
pub async fn reconfig(client: &Client, plan: bool, json: bool) -> Result<Exit, Failed> {
    let body = serde_json::json!({ "plan": plan });
    let mut answer = std::pin::pin!(client.post("/api/v1/reconfig", &body));
    let answer: Result<view::Reconfigured, ClientError> = match tokio::time::timeout(
        std::time::Duration::from_secs(1),
        &mut answer,
    )
    .await
    {
        Ok(answer) => answer,
        Err(_) => {
            let line = "the master loads new plugins; one that it never had is compiled first, which takes some \
                            20 s for one in Python";
            eprintln!("{}", paint(FAINT, line));
            answer.await
        }
    };
    match answer {
        Ok(done) if json => print_json(&done),
        Ok(done) => print_reconfigured(&done),
        Err(ClientError::Refused(refused)) if json => {
            print_json(&refused);
            return Ok(Failed::from(ClientError::Refused(refused)).exit);
        }
        Err(ClientError::Refused(refused)) => {
            for detail in &refused.details {
                eprintln!("{}\n", tame_lines(detail.trim_end()));
            }
            return Err(ClientError::Refused(refused).into());
        }
        Err(e) => return Err(e.into()),
    }
    Ok(Exit::Success)
}

/// What a reconfig did or would do, like a diff.
pub fn print_reconfigured(done: &view::Reconfigured) {
    let title = match (done.plan_only, done.changed) {
        (_, false) => "nothing differs".to_owned(),
        (true, true) => "would change:".to_owned(),
        (false, true) => format!("generation {} is live:", done.generation),
    };
    println!("{}", paint(HEADING, title));
    if !done.plan.is_empty() {
        for line in done.plan.to_string().lines() {
            println!("{}", paint(diff_style(line), tame(line)));
        }
    }
    let plugin = |style, sign: char, name: &str, what: String| {
        println!("{} plugin {} {}", paint(style, sign), tame(name), paint(FAINT, what));
    };
    for added in &done.plugins.added {
        plugin(GOOD, '+', &added.name, added.digest.short());
    }
    for replaced in &done.plugins.replaced {
        plugin(WARN, '~', &replaced.name, arrow(replaced.old, replaced.new));
    }
    for removed in &done.plugins.removed {
        plugin(BAD, '-', &removed.name, removed.digest.short());
    }
    for policy in &done.lifted {
        println!("{} {}", paint(GOOD, "suspension lifted:"), tame(policy));
    }
    if !done.builds_holding.is_empty() {
        let builds: Vec<String> = done.builds_holding.iter().map(u64::to_string).collect();
        println!(
            "{}",
            paint(FAINT, format_args!("builds that keep what they started with: {}", builds.join(", ")))
        );
    }
}

fn diff_style(line: &str) -> Style {
    match line.chars().next() {
        Some('+') => GOOD,
        Some('~' | '*') => WARN,
        Some('-' | '!') => BAD,
        _ => FAINT,
    }
}

fn arrow(old: Digest, new: Digest) -> String {
    format!("{} -> {}", old.short(), new.short())
}
