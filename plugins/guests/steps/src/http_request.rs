//! `http-request`: one request to a host that was granted, judged by the status of its answer.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;
use windlass_sdk::fetch::{self, Request};
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{BuildStep, Capability, Failure, Hook, Origin, Outcome, Value, bad_argument};

use crate::remote::{ended, milliseconds};

/// The hook.
pub struct HttpRequest;

impl Hook for HttpRequest {
    const NAME: &'static str = "http-request";
    const SUMMARY: &'static str = "sends a request to a granted host; a status of 400 or more is a failure";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("http-request.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = &[("flunk-on-failure", true)];
    const CAPABILITIES: &'static [Capability] = &[
        Capability {
            capability: "fetch",
            scope: &["*"],
            reason: "asks the hosts that its configuration names",
        },
        Capability { capability: "secret", scope: &["*"], reason: "a header may hold a token" },
    ];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    url: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    json: Option<Json>,
    #[serde(default = "half_a_minute")]
    timeout: f64,
    #[serde(default = "a_megabyte")]
    max_response: u32,
    #[serde(default)]
    expect: Vec<u16>,
    property: Option<String>,
    #[serde(default)]
    hide_body: bool,
}

fn get() -> String {
    "GET".to_owned()
}

fn half_a_minute() -> f64 {
    30.0
}

fn a_megabyte() -> u32 {
    1024 * 1024
}

impl BuildStep for HttpRequest {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let title = format!("{} {}", args.method, without_query(&args.url));
        step::log_text("stdio", Origin::Header, &format!("{title}\n"))?;
        let response = match fetch::send(&args.request()?) {
            Ok(response) => response,
            // Nobody there is what the step was to find out, not an accident.
            Err(failure) if matches!(failure.code.as_str(), "io" | "too-large") => {
                step::log_text("stdio", Origin::Stderr, &format!("{}\n", failure.message))?;
                return Ok(StepResult::new(Outcome::Failure, failure.message));
            }
            Err(failure) if failure.code == "interrupted" => {
                return Ok(ended(&title, Outcome::Cancelled, "interrupted"));
            }
            Err(failure) => return Err(failure),
        };
        let mut head = format!("status {}\n", response.status);
        for (name, value) in &response.headers {
            head += &format!("{name}: {}\n", String::from_utf8_lossy(value));
        }
        step::log_text("stdio", Origin::Header, &head)?;
        if !args.hide_body {
            for part in response.body.chunks(1 << 16) {
                step::log_chunk("stdio", Origin::Stdout, part)?;
            }
        }
        let judged = judged(&title, response.status, &args.expect);
        match &args.property {
            // What an error page says is nobody's property.
            Some(name) if judged.outcome == Outcome::Success => keep(name, &response.body, judged),
            Some(_) | None => Ok(judged),
        }
    }
}

/// Sets the property that gets the body. The request had its effect by now, whether the body fits or not.
fn keep(name: &str, body: &[u8], judged: StepResult) -> Result<StepResult, Failure> {
    let text = String::from_utf8_lossy(body);
    let parsed = text.parse::<Json>().ok().filter(|json| json.is_object() || json.is_array());
    let value =
        parsed.map_or_else(|| Value::Text(text.trim().to_owned()), |json| Value::Json(json.to_string()));
    match step::set_property(name, &value) {
        Ok(()) => Ok(judged),
        Err(failure) if matches!(failure.code.as_str(), "too-large" | "quota") => {
            let line = judged.summary.unwrap_or_default();
            let why = format!(
                "{line}; its body of {} bytes is kept by no property: {}",
                body.len(),
                failure.message
            );
            Ok(StepResult::new(Outcome::Failure, why))
        }
        Err(failure) => Err(failure),
    }
}

impl Args {
    fn request(&self) -> Result<Request, Failure> {
        let mut headers: Vec<(String, Vec<u8>)> =
            self.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
        let body = match (&self.body, &self.json) {
            (Some(_), Some(_)) => return Err(bad_argument("`body` and `json` exclude each other")),
            (Some(body), None) => body.clone().into_bytes(),
            (None, Some(json)) => {
                if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                    headers.push(("content-type".to_owned(), b"application/json".to_vec()));
                }
                json.to_string().into_bytes()
            }
            (None, None) => Vec::new(),
        };
        Ok(Request {
            method: self.method.to_uppercase(),
            url: self.url.clone(),
            headers,
            body,
            timeout_ms: Some(milliseconds(self.timeout)),
            max_response: self.max_response,
        })
    }
}

fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

fn judged(title: &str, status: u16, expected: &[u16]) -> StepResult {
    let fits = if expected.is_empty() { status < 400 } else { expected.contains(&status) };
    let outcome = if fits { Outcome::Success } else { Outcome::Failure };
    ended(title, outcome, &format!("status {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(json: &str) -> Args {
        serde_json::from_str(json).expect("the arguments fit")
    }

    #[test]
    fn the_status_decides_unless_others_are_expected() {
        let outcome = |status, expected: &[u16]| judged("GET x", status, expected).outcome;
        assert_eq!(outcome(204, &[]), Outcome::Success);
        assert_eq!(outcome(302, &[]), Outcome::Success);
        assert_eq!(outcome(404, &[]), Outcome::Failure);
        assert_eq!(outcome(404, &[404, 410]), Outcome::Success);
        assert_eq!(outcome(200, &[404]), Outcome::Failure);
    }

    #[test]
    fn json_has_its_type_unless_a_header_says_otherwise() {
        let request =
            args(r#"{"url":"http://x/","method":"post","json":{"a":1}}"#).request().expect("complete");
        assert_eq!((request.method.as_str(), request.body.as_slice()), ("POST", &b"{\"a\":1}"[..]));
        assert_eq!(request.headers, [("content-type".to_owned(), b"application/json".to_vec())]);
        let own = args(r#"{"url":"http://x/","json":1,"headers":{"Content-Type":"text/plain"}}"#);
        assert_eq!(own.request().expect("complete").headers.len(), 1);
        let both = args(r#"{"url":"http://x/","json":1,"body":"x"}"#).request();
        assert_eq!(both.expect_err("not both").code, "bad-argument");
    }

    #[test]
    fn a_query_is_not_shown() {
        assert_eq!(without_query("https://x/y?token=z#a"), "https://x/y");
    }
}
