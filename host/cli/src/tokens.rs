//! `workers token`, `workers tokens` and `workers revoke`: which tokens workers may connect by.

use std::path::Path;

use anstream::{eprintln, print, println};
use anstyle::Style;
use windlass_master::view::{NewToken, RevokeTokens, RevokedTokens, WorkerToken};
use windlass_web::client::{Client, ClientError};

use crate::exit::{Exit, Failed};
use crate::init::new_token;
use crate::output::{FAINT, GOOD, HEADING, Table, WARN, duration, paint, tame};
use crate::place::now_ms;
use crate::query::{encode, print_json};

/// `windlass workers token`. The token is in the file, and durable, before the master hears its hash: whatever is killed, no
/// token works that nobody has.
pub async fn token(client: &Client, worker: &str, file: &Path, json: bool) -> Result<Exit, Failed> {
    let token_hash = new_token(file)?;
    let path = format!("/api/v1/workers/{}/tokens", encode(worker));
    let made: WorkerToken = match client.post(&path, &NewToken { token_hash }).await {
        Ok(made) => made,
        Err(error @ (ClientError::Refused(_) | ClientError::NoMaster { .. })) => {
            // It counts nowhere.
            if let Err(left) = std::fs::remove_file(file) {
                eprintln!("{} `{}` stays behind: {left}", paint(WARN, "warning:"), file.display());
            }
            return Err(error.into());
        }
        Err(error) => {
            let failed = Failed::from(error);
            let left = format!(
                "the token in `{}` may count or not; `windlass workers tokens {worker}` shows it as the newest if it does",
                file.display()
            );
            return Err(Failed { error: failed.error.context(left), ..failed });
        }
    };
    if json {
        print_json(&serde_json::json!({ "file": file, "token": made }));
    } else {
        println!(
            "{} of worker {} is in `{}`; it counts from now on. `windlass workers revoke {} {}` ends that",
            paint(HEADING, format_args!("token {}", made.number)),
            tame(&made.worker),
            file.display(),
            tame(&made.worker),
            made.number
        );
    }
    Ok(Exit::Success)
}

/// `windlass workers tokens`.
pub async fn tokens(client: &Client, worker: Option<&str>, json: bool) -> Result<Exit, Failed> {
    let path = match worker {
        Some(worker) => format!("/api/v1/workers/{}/tokens", encode(worker)),
        None => "/api/v1/tokens".to_owned(),
    };
    let tokens: Vec<WorkerToken> = client.get(&path).await?;
    if json {
        print_json(&tokens);
    } else if tokens.is_empty() {
        println!("commands made no tokens; hashes that stand in master.toml are not listed");
    } else {
        print!("{}", table(&tokens, now_ms()));
    }
    Ok(Exit::Success)
}

fn table(tokens: &[WorkerToken], now: u64) -> Table {
    let mut table = Table::new(&["worker", "token", "made", "used last", ""]);
    let ago = |at: u64| format!("{} ago", duration(now.saturating_sub(at)));
    for token in tokens {
        let state = match token {
            WorkerToken { revoked: true, .. } => (WARN, "revoked"),
            WorkerToken { connected: true, .. } => (GOOD, "connected"),
            WorkerToken { .. } => (Style::new(), ""),
        };
        table.row(vec![
            (Style::new(), token.worker.clone()),
            (HEADING, token.number.to_string()),
            (FAINT, ago(token.made.0)),
            (FAINT, token.used.map_or("never".to_owned(), |at| ago(at.0))),
            (state.0, state.1.to_owned()),
        ]);
    }
    table
}

/// `windlass workers revoke`.
pub async fn revoke(client: &Client, worker: &str, number: Option<u64>, json: bool) -> Result<Exit, Failed> {
    let path = format!("/api/v1/workers/{}/revoke", encode(worker));
    let done: RevokedTokens = client.post(&path, &RevokeTokens { number }).await?;
    if json {
        print_json(&done);
        return Ok(Exit::Success);
    }
    let name = tame(&done.worker);
    let numbers: Vec<String> = done.revoked.iter().map(u64::to_string).collect();
    match numbers.len() {
        0 => println!("commands made no tokens for worker {name}"),
        1 => println!("token {} of worker {name} is revoked", numbers[0]),
        _ => println!("tokens {} of worker {name} are revoked", numbers.join(", ")),
    }
    if done.closed {
        println!("its link was closed; what runs there waits for it to come by another token");
    }
    if done.configured {
        println!("{}", paint(WARN, "the token whose hash stands in master.toml still counts"));
    }
    Ok(Exit::Success)
}
