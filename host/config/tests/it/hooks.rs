//! A catalog with hooks like the bundled ones, and a second plugin that offers one of the same name.

use std::path::Path;

use serde_json::{Value as Json, json};
use windlass_config::config::{Secret, SecretSource};
use windlass_config::{Answer, Catalog, HookFacts, Included, Severity, Unusable};
use windlass_core::policy::HookKind;
use windlass_core::value::{Pair, Value};

pub struct Hooks;

const KNOWN: [(HookKind, &str, &str); 36] = [
    (HookKind::SlaveCommand, "windlass", "shell"),
    (HookKind::SlaveCommand, "windlass", "mkdir"),
    (HookKind::SlaveCommand, "windlass", "rmdir"),
    (HookKind::SlaveCommand, "windlass", "stat"),
    (HookKind::SlaveCommand, "windlass", "cpdir"),
    (HookKind::SlaveCommand, "windlass", "rmfile"),
    (HookKind::SlaveCommand, "windlass", "glob"),
    (HookKind::SlaveCommand, "windlass", "listdir"),
    (HookKind::SlaveCommand, "windlass", "upload-file"),
    (HookKind::SlaveCommand, "windlass", "upload-directory"),
    (HookKind::SlaveCommand, "windlass", "download-file"),
    (HookKind::BuildStep, "windlass", "shell-command"),
    (HookKind::BuildStep, "windlass", "git"),
    (HookKind::BuildStep, "windlass", "compile"),
    (HookKind::BuildStep, "windlass", "test"),
    (HookKind::BuildStep, "windlass", "mkdir"),
    (HookKind::BuildStep, "windlass", "trigger"),
    (HookKind::NextSlave, "windlass", "least-loaded"),
    (HookKind::NextSlave, "windlass", "sticky"),
    (HookKind::NextSlave, "mine", "sticky"),
    (HookKind::NextSlave, "mine", "fastest"),
    (HookKind::NextBuild, "mine", "newest"),
    (HookKind::PrioritizeBuilders, "windlass", "oldest-first"),
    (HookKind::MergeRequests, "windlass", "same-branch"),
    (HookKind::CanStartBuild, "windlass", "working-hours"),
    (HookKind::CanStartBuild, "mine", "night"),
    (HookKind::CodebaseGenerator, "windlass", "by-repository"),
    (HookKind::BuildStep, "mine", "broken-schema"),
    (HookKind::BuildStep, "mine", "deploy"),
    (HookKind::BuildStep, "mine", "loud"),
    (HookKind::Renderer, "mine", "stamp"),
    (HookKind::Configurator, "mine", "make"),
    (HookKind::Configurator, "mine", "other"),
    (HookKind::Reporter, "windlass", "http-status-push"),
    (HookKind::Reporter, "mine", "tell"),
    (HookKind::Reporter, "mine", "post"),
];

impl Catalog for Hooks {
    fn hook(&self, kind: HookKind, name: &str) -> Result<HookFacts, String> {
        let found: Vec<String> = KNOWN
            .iter()
            .filter(|(k, plugin, hook)| *k == kind && (*hook == name || format!("{plugin}:{hook}") == name))
            .map(|(_, plugin, hook)| format!("{plugin}:{hook}"))
            .collect();
        match found.as_slice() {
            [one] => Ok(HookFacts { qualified: one.clone(), schema: schema(one), options: options(one) }),
            [] => Err(format!("no plugin offers a {kind} `{name}`")),
            several => Err(format!("`{name}` is offered by several plugins: {}", several.join(", "))),
        }
    }

    fn include(&self, pattern: &str, room: usize) -> Result<Vec<Included>, String> {
        let text = match pattern {
            "more.toml" => "title = \"More\"\n",
            "broken.toml" => "title = More\n",
            "builders/*.toml" => "[[builders]]\nname = \"included\"\nworkers = [\"w1\", \"w9\"]\n",
            "again.toml" => "title = \"Again\"\n[locks]\ndb = {}\n[master]\nlisten = \"a:1\"\n",
            "old.toml" => {
                "[[slaves]]\nname = \"w2\"\ntoken_hash = \"blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\"\n"
            }
            "ports.toml" => "slavePortnum = 9999\nprotocols = { pb = { port = 9999 } }\n",
            "users.toml" => {
                "[[users]]\nname = \"jo\"\nfull_name = \"Jo Doe\"\nemails = [\"jo@x.org\"]\nidentities = \"jdoe\"\n"
            }
            "more-users.toml" => "[[users]]\nname = \"ann\"\nemails = \"ann@x.org\"\n",
            "clashing-users.toml" => {
                "[[users]]\nname = \"ann\"\nmail = \"a\"\n[[users]]\nname = \"jo\"\nemails = [\"JO@x.org\", \"\"]\n\
                 [[users]]\nidentities = [\"jdoe\", \"jdoe\"]\n[[users]]\nname = \"mo\"\nidentities = [\"jo\"]\n"
            }
            "broken-users.toml" => "[[users]\nname = \"jo\"\n",
            "./more.toml" => "title = \"More\"\n",
            "/root/*" => return Err("permission denied".to_owned()),
            _ => return Ok(Vec::new()),
        };
        assert!(text.len() < room, "there is room for it");
        let path = pattern.trim_start_matches("./").into();
        Ok(vec![Included { name: pattern.replace('*', "one"), path, text: text.to_owned() }])
    }

    /// Says what it is told to; without that, a lock.
    fn configure(&self, hook: &str, args: &str) -> Result<Answer, String> {
        assert!(["mine:make", "mine:other"].contains(&hook), "{hook}");
        let args: Json = serde_json::from_str(args).unwrap();
        match (args["say"].as_str(), args["of"].as_array()) {
            (Some("nothing"), _) => Err("it answered: told to".to_owned()),
            (Some(text), _) => Ok(text.to_owned().into()),
            (None, Some(names)) => {
                let lock = |name: &Json| format!("[locks.{name}]\n");
                if hook == "mine:other" {
                    return Ok(names.iter().map(lock).collect::<String>().into());
                }
                let one = |name: &Json| format!("[[builders]]\nname = {name}\nworkers = \"w1\"\n");
                Ok(names.iter().map(one).collect::<String>().into())
            }
            (None, None) => Ok("[locks]\nmade = {}\n".to_owned().into()),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "PATTERN" => Some("builders/*.toml".to_owned()),
            "NO" => Some("false".to_owned()),
            "FRACTION" => Some("1.5".to_owned()),
            "TITLE" => Some("from the environment".to_owned()),
            "SLOTS" => Some("4".to_owned()),
            _ => None,
        }
    }

    fn secret(&self, secret: Secret) -> Result<Secret, Unusable> {
        let unusable = |message: &str, help: &str, severity| {
            Err(Unusable { message: message.to_owned(), help: help.to_owned(), severity })
        };
        match &secret.source {
            SecretSource::File(path) if path.ends_with("missing") => {
                unusable("cannot be read", "write the file", Severity::Error)
            }
            SecretSource::Env(name) if name == "UNSET" => {
                unusable("is not set here", "set it", Severity::Warning)
            }
            SecretSource::File(_) | SecretSource::Env(_) | SecretSource::Command { .. } => Ok(secret),
        }
    }
}

fn options(hook: &str) -> Vec<Pair> {
    let names: &[&str] = match hook {
        "windlass:git" | "windlass:compile" => &["halt-on-failure", "flunk-on-failure"],
        "windlass:test" => &["flunk-on-failure", "warn-on-failure"],
        _ => &[],
    };
    names.iter().map(|name| Pair { name: (*name).into(), value: Value::Boolean(true) }).collect()
}

/// The schemas of the bundled hooks, as their plugins give them.
fn schema(hook: &str) -> Option<Json> {
    let given = match hook {
        "windlass:shell-command" => runs_a_program(json!(["command"])),
        "windlass:compile" | "windlass:test" => runs_a_program(json!([])),
        "windlass:git" => bundled("steps/src/git.schema.json"),
        "windlass:trigger" => bundled("steps/src/trigger.schema.json"),
        "windlass:working-hours" => bundled("working-hours/src/working-hours.schema.json"),
        "windlass:by-repository" => json!({
            "type": "object", "additionalProperties": false,
            "properties": {
                "repositories": { "type": "object", "additionalProperties": { "type": "string" } },
                "default": { "type": "string" },
            },
        }),
        "mine:loud" => json!({
            "type": "object", "additionalProperties": false,
            "properties": {
                "color\u{1b}]0;OWNED\u{7}": { "type": "string" },
                "path": { "type": "string", "x-no-secrets": "\u{1b}[2Jit is a \u{202e}path" },
            },
        }),
        "mine:make" | "mine:other" => json!({
            "type": "object", "additionalProperties": false,
            "properties": { "say": { "type": "string" }, "of": { "type": "array", "items": { "type": "string" } } },
        }),
        "mine:stamp" => json!({
            "type": "object", "additionalProperties": false, "properties": { "format": { "type": "string" } },
        }),
        "windlass:http-status-push" => bundled("reporters/src/http-status-push.schema.json"),
        "mine:tell" => json!({ "type": "object" }),
        "mine:broken-schema" => json!({ "type": "nonsense" }),
        _ => return None,
    };
    Some(given)
}

fn bundled(file: &str) -> Json {
    serde_json::from_str(&text_of(file)).unwrap()
}

/// What steps that run a program have in common, and `command`, which each of them puts in front.
fn runs_a_program(required: Json) -> Json {
    let common: Json =
        serde_json::from_str(&format!("{{{}}}", text_of("steps/src/shell.properties"))).unwrap();
    let mut schema = json!({
        "type": "object", "additionalProperties": false, "required": required, "properties": common,
    });
    schema["properties"]["command"] = json!({
        "x-no-secrets": "every process can read a command line; put it into `env`, and name the variable in the command, or into `initial_stdin`",
        "oneOf": [
            { "type": "string", "minLength": 1 },
            { "type": "array", "items": { "type": ["string", "number", "boolean", "array", "null"] }, "minItems": 1 },
        ],
    });
    schema
}

fn text_of(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/guests").join(file);
    std::fs::read_to_string(path).unwrap()
}
