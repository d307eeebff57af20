//! A catalog with hooks like the bundled ones, and a second plugin that offers one of the same name.

use serde_json::{Value as Json, json};
use windlass_config::{Catalog, HookFacts};
use windlass_core::policy::HookKind;
use windlass_core::value::{Pair, Value};

pub struct Hooks;

const KNOWN: [(HookKind, &str, &str); 20] = [
    (HookKind::SlaveCommand, "windlass", "shell"),
    (HookKind::SlaveCommand, "windlass", "mkdir"),
    (HookKind::SlaveCommand, "windlass", "rmdir"),
    (HookKind::SlaveCommand, "windlass", "stat"),
    (HookKind::BuildStep, "windlass", "shell-command"),
    (HookKind::BuildStep, "windlass", "git"),
    (HookKind::BuildStep, "windlass", "compile"),
    (HookKind::BuildStep, "windlass", "test"),
    (HookKind::BuildStep, "windlass", "mkdir"),
    (HookKind::NextSlave, "windlass", "least-loaded"),
    (HookKind::NextSlave, "windlass", "sticky"),
    (HookKind::NextSlave, "mine", "sticky"),
    (HookKind::NextSlave, "mine", "fastest"),
    (HookKind::NextBuild, "mine", "newest"),
    (HookKind::PrioritizeBuilders, "windlass", "oldest-first"),
    (HookKind::MergeRequests, "windlass", "same-branch"),
    (HookKind::CanStartBuild, "windlass", "working-hours"),
    (HookKind::CodebaseGenerator, "windlass", "by-repository"),
    (HookKind::BuildStep, "mine", "broken-schema"),
    (HookKind::BuildStep, "mine", "deploy"),
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
}

fn options(hook: &str) -> Vec<Pair> {
    let names: &[&str] = match hook {
        "windlass:git" | "windlass:compile" => &["halt-on-failure", "flunk-on-failure"],
        "windlass:test" => &["flunk-on-failure", "warn-on-failure"],
        _ => &[],
    };
    names.iter().map(|name| Pair { name: (*name).into(), value: Value::Boolean(true) }).collect()
}

fn schema(hook: &str) -> Option<Json> {
    let command = json!({ "oneOf": [
        { "type": "string", "minLength": 1 },
        { "type": "array", "items": { "type": "string" }, "minItems": 1 },
    ]});
    let object = |required: Json, properties: Json| {
        Some(json!({
            "type": "object", "required": required, "additionalProperties": false, "properties": properties,
        }))
    };
    match hook {
        "windlass:shell-command" | "windlass:compile" | "windlass:test" => object(
            json!(["command"]),
            json!({
                "command": command, "workdir": { "type": "string" },
                "env": { "type": "object", "additionalProperties": { "type": "string" } },
                "timeout": { "type": "integer", "minimum": 0 },
            }),
        ),
        "windlass:git" => object(
            json!(["repourl"]),
            json!({
                "repourl": { "type": "string" }, "branch": { "type": "string" },
                "mode": { "enum": ["incremental", "full"] }, "shallow": { "type": "boolean" },
            }),
        ),
        "windlass:mkdir" => object(json!(["dir"]), json!({ "dir": { "type": "string" } })),
        "windlass:working-hours" => {
            let clock = json!({ "type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$" });
            let days = json!({ "type": "array", "items": { "type": "string" } });
            object(json!(["from", "to"]), json!({ "from": clock, "to": clock, "days": days }))
        }
        "windlass:by-repository" => {
            let repositories = json!({ "type": "object", "additionalProperties": { "type": "string" } });
            object(json!([]), json!({ "repositories": repositories, "default": { "type": "string" } }))
        }
        "mine:broken-schema" => Some(json!({ "type": "nonsense" })),
        _ => None,
    }
}
