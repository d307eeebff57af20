//! Reporter `my-plugin`: posts a line about each event of a build to a granted host.

use serde::Deserialize;
use serde_json::{Value, json};
use windlass_sdk::fetch::{self, Request};
use windlass_sdk::{Capability, Failure, Hook, Reporter};

struct Teller;

impl Hook for Teller {
    // What master.toml says, in `[[reporters]]`: `use = "my-plugin:my-plugin"` and `args = { url = "…" }`.
    const NAME: &'static str = "my-plugin";
    const SUMMARY: &'static str = "posts a line about each build that begins or ends";
    const ARGS_SCHEMA: Option<&'static str> = Some(
        r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["url"],
  "properties": {
    "url": { "type": "string", "description": "Where each line is sent." }
  }
}"#,
    );
    // Asking is not having: master.toml grants hosts under [grants."my-plugin:my-plugin"].
    const CAPABILITIES: &'static [Capability] = &[Capability {
        capability: "fetch",
        scope: &["*"],
        reason: "tells the host that its configuration names",
    }];
    type Args = Args;
}

#[derive(Deserialize)]
struct Args {
    url: String,
}

impl Reporter for Teller {
    // Called for each event, in order and at least once: one that comes again has the same `event_id`. What
    // stands in `event` is in docs/reporters.md. An error that is `retryable` has it told again later; after
    // another one the event is lost.
    fn report(args: Args, event_id: String, kind: String, event: String) -> Result<(), Failure> {
        let event: Value = serde_json::from_str(&event)
            .map_err(|error| Failure::new("bad-event", format!("the event is not JSON: {error}")))?;
        let body = json!({ "id": event_id, "text": line(&kind, &event["build"]) });
        let request = Request {
            method: "POST".to_owned(),
            url: args.url,
            headers: vec![("content-type".to_owned(), b"application/json".to_vec())],
            body: body.to_string().into_bytes(),
            timeout_ms: None,
            max_response: 1024 * 1024,
        };
        let answer = fetch::send(&request).map_err(|failure| Failure {
            // A grant that is missing comes with a reconfig; until then the event waits.
            retryable: failure.retryable || failure.code == "denied",
            ..failure
        })?;
        match answer.status {
            200..=299 => Ok(()),
            // The receiver may be well again later.
            status @ (429 | 500..) => Err(Failure::retryable("refused", refused(status))),
            status => Err(Failure::new("refused", refused(status))),
        }
    }
}

/// `ci #4: build-started`, `ci #4: failure, make check: exit code 2`.
fn line(kind: &str, build: &Value) -> String {
    let text = |name: &str| build[name].as_str().unwrap_or_default();
    let what = format!("{} #{}", text("builder"), build["number"]);
    match kind {
        "build-finished" => format!("{what}: {}, {}", text("outcome"), text("state")),
        other => format!("{what}: {other}"),
    }
}

fn refused(status: u16) -> String {
    format!("the receiver answered with status {status}")
}

windlass_sdk::export!(reporter: Teller);
