//! What a plugin says of itself, checked: hooks that it really has, names that configurations can use,
//! schemas that are schemas. All errors are collected.

use std::collections::BTreeSet;

use windlass_core::capability;
use windlass_core::policy::HookKind;
use windlass_core::text::is_unseen;
use windlass_core::value::{Pair, Value};

use crate::bindings::master::exports::windlass::base::plugin as wit;
use crate::bounds::quoted;
use crate::convert::list;
use crate::load::Problem;
use crate::plugin::{CapabilityRequest, Hook};
use crate::schema;

/// Booleans that a build step may set; what they mean stands in `wit/`, and who runs steps reads them.
const STEP_OPTIONS: [&str; 7] = [
    "durable",
    "halt-on-failure",
    "flunk-on-failure",
    "flunk-on-warnings",
    "warn-on-failure",
    "warn-on-warnings",
    "always-run",
];

/// What a description may hold: it stays in memory for as long as the plugin does.
const MAX_HOOKS: usize = 256;
const MAX_CAPABILITIES: usize = 64;
const MAX_SCOPE: usize = 1_024;
const MAX_SCHEMA: usize = 256 * 1024;
const MAX_LINE: usize = 1_024;

/// A description that holds.
pub(crate) struct Described {
    pub(crate) hooks: Vec<Hook>,
    pub(crate) capabilities: Vec<CapabilityRequest>,
}

/// Checks `description` against the hooks that the component exports.
pub(crate) fn check(
    plugin: &str,
    description: wit::Description,
    exported: &[HookKind],
) -> Result<Described, Vec<Problem>> {
    too_large(&description)?;
    let (mut hooks, mut problems, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for described in description.hooks {
        match check_hook(plugin, described, exported) {
            Ok(hook) if seen.insert((hook.kind, hook.name.clone())) => hooks.push(hook),
            Ok(hook) => problems.push(format!("it describes the {} `{}` twice", hook.kind, hook.name)),
            Err(more) => problems.extend(more),
        }
    }
    for kind in exported {
        if problems.is_empty() && !hooks.iter().any(|hook| hook.kind == *kind) {
            problems.push(format!("it exports `{kind}` and describes no hook of that kind"));
        }
    }
    let capabilities: Vec<CapabilityRequest> =
        description.capabilities.into_iter().map(CapabilityRequest::from).collect();
    problems.extend(capabilities.iter().flat_map(check_capability));
    if problems.is_empty() {
        Ok(Described { hooks, capabilities })
    } else {
        Err(problems.into_iter().map(Problem::Description).collect())
    }
}

/// Before anything of it is parsed or repeated in a message.
fn too_large(description: &wit::Description) -> Result<(), Vec<Problem>> {
    let line = |text: &str| text.len() <= MAX_LINE;
    let fits_hook = |hook: &wit::Hook| {
        line(&hook.kind)
            && line(&hook.name)
            && line(&hook.summary)
            && hook.args_schema.as_ref().is_none_or(|schema| schema.len() <= MAX_SCHEMA)
            && hook.options.len() <= MAX_SCOPE
    };
    let fits_request = |request: &wit::Request| {
        line(&request.capability)
            && line(&request.reason)
            && request.scope.len() <= MAX_SCOPE
            && request.scope.iter().all(|one| line(one))
    };
    let fits = description.hooks.len() <= MAX_HOOKS
        && description.capabilities.len() <= MAX_CAPABILITIES
        && description.hooks.iter().all(fits_hook)
        && description.capabilities.iter().all(fits_request);
    if fits {
        return Ok(());
    }
    let message = format!(
        "its description is too large: at most {MAX_HOOKS} hooks, schemas of {MAX_SCHEMA} bytes, names of \
         {MAX_LINE} bytes, {MAX_CAPABILITIES} capabilities and {MAX_SCOPE} entries in a list are taken"
    );
    Err(vec![Problem::Description(message)])
}

fn check_hook(plugin: &str, described: wit::Hook, exported: &[HookKind]) -> Result<Hook, Vec<String>> {
    let mut problems = Vec::new();
    let name = described.name;
    let kind = exported.iter().copied().find(|kind| kind.as_str() == described.kind);
    if kind.is_none() {
        let has = exported.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        problems.push(format!(
            "it describes {} as a {}, which it does not export; it exports {has}",
            quoted(&name),
            quoted(&described.kind),
        ));
    }
    if !is_kebab_case(&name) {
        let name = quoted(&name);
        problems.push(format!("the hook's name {name} is not in kebab-case, like `least-loaded`"));
    }
    let summary = described.summary.trim();
    if let Err(why) = check_line(summary) {
        problems.push(format!("the summary of {} {why}", quoted(&name)));
    }
    let args_schema = match described.args_schema.as_deref().map(schema::read).transpose() {
        Ok(schema) => schema,
        Err(why) => {
            problems.push(format!("the schema of {} {why}", quoted(&name)));
            None
        }
    };
    let options: Vec<Pair> = list(described.options);
    problems.extend(options.iter().filter_map(|option| check_option(plugin, &name, kind, option)));
    match kind {
        Some(kind) if problems.is_empty() => {
            Ok(Hook { kind, name, summary: summary.to_owned(), args_schema, options })
        }
        _ => Err(problems),
    }
}

/// Unknown options are reported and ignored: a later host may know them.
fn check_option(plugin: &str, hook: &str, kind: Option<HookKind>, option: &Pair) -> Option<String> {
    match (option.name.as_str(), &option.value) {
        (known, Value::Boolean(_)) if STEP_OPTIONS.contains(&known) => match kind {
            Some(HookKind::BuildStep) | None => None,
            Some(_) => Some(format!("the option `{known}` of `{hook}` is for build steps only")),
        },
        (known, _) if STEP_OPTIONS.contains(&known) => {
            Some(format!("the option `{known}` of `{hook}` is not a boolean"))
        }
        (unknown, _) => {
            tracing::warn!(plugin, hook, option = unknown, "an unknown option of a hook is ignored");
            None
        }
    }
}

/// One line that people read, wherever it is shown.
fn check_line(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("is empty")
    } else if text.chars().any(is_unseen) {
        Err("has characters in it that do not show: a line break, an escape, a change of direction")
    } else {
        Ok(())
    }
}

fn check_capability(request: &CapabilityRequest) -> Vec<String> {
    let asked = quoted(&request.capability);
    if !capability::ALL.contains(&request.capability.as_str()) {
        let known = capability::ALL.join(", ");
        return vec![format!("it asks for the capability {asked}, and this host knows {known}")];
    }
    let mut problems = Vec::new();
    match (capability::is_scoped(&request.capability), request.scope.is_empty()) {
        (true, true) => problems.push(format!("it asks for {asked} and names nothing in the scope")),
        (false, false) => {
            problems.push(format!("it asks for {asked} with a scope, which that does not have"))
        }
        (true, false) | (false, true) => {}
    }
    for scope in &request.scope {
        if let Err(why) = check_line(scope) {
            problems.push(format!("the scope {} of its {asked} {why}", quoted(scope)));
        }
    }
    if !request.reason.is_empty()
        && let Err(why) = check_line(&request.reason)
    {
        problems.push(format!("the reason for its {asked} {why}"));
    }
    problems
}

fn is_kebab_case(name: &str) -> bool {
    let word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.split('-').all(word)
}

impl From<wit::Request> for CapabilityRequest {
    fn from(request: wit::Request) -> CapabilityRequest {
        let reason = request.reason.trim().to_owned();
        CapabilityRequest { capability: request.capability, scope: request.scope, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::master::windlass::base::types as base;

    fn hook(kind: &str, name: &str, schema: Option<&str>) -> wit::Hook {
        wit::Hook {
            kind: kind.to_owned(),
            name: name.to_owned(),
            summary: " one ".to_owned(),
            args_schema: schema.map(str::to_owned),
            options: Vec::new(),
        }
    }

    fn judge(hooks: Vec<wit::Hook>) -> Result<Described, String> {
        let description = wit::Description { hooks, capabilities: Vec::new() };
        check("test", description, &[HookKind::NextSlave])
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_description_that_holds_is_taken_over() {
        let described = judge(vec![hook("next-slave", "least-loaded", Some("{}"))]).ok().unwrap();
        assert_eq!(described.hooks[0].summary, "one");
        assert_eq!(described.hooks[0].args_schema, Some(serde_json::json!({})));
    }

    #[test]
    fn every_error_of_a_description_is_reported() {
        let refused = judge(vec![
            hook("next-build", "a", None),
            hook("next-slave", "Bad_Name", None),
            hook("next-slave", "b", Some("[]")),
            hook("next-slave", "c", Some("{")),
            hook("next-slave", "d", None),
            hook("next-slave", "d", None),
        ])
        .err()
        .unwrap();
        let expected = [
            "it describes `a` as a `next-build`, which it does not export; it exports next-slave",
            "the hook's name `Bad_Name` is not in kebab-case",
            "the schema of `b` is not a JSON object",
            "the schema of `c` is not JSON",
            "it describes the next-slave `d` twice",
        ];
        for (line, expected) in refused.lines().zip(expected) {
            assert!(line.starts_with(expected), "{line}");
        }
        assert_eq!(refused.lines().count(), expected.len());
    }

    #[test]
    fn a_description_without_measure_is_refused() {
        let large = format!("{{\"a\": \"{}\"}}", "x".repeat(MAX_SCHEMA));
        assert!(judge(vec![hook("next-slave", "a", Some(&large))]).err().unwrap().contains("too large"));
        let many = (0..=MAX_HOOKS).map(|n| hook("next-slave", &format!("a{n}"), None)).collect();
        assert!(judge(many).err().unwrap().contains("too large"));
    }

    #[test]
    fn lies_and_tricks_are_refused_and_shown_as_what_they_are() {
        let with = |change: &dyn Fn(&mut wit::Hook)| {
            let mut described = hook("next-slave", "a", None);
            change(&mut described);
            judge(vec![described]).err().unwrap()
        };
        for name in ["", "<b>a</b>", "a\x1b[31m", "a\u{202e}b", "A", "a b", "-a", "a-", &"a".repeat(65)] {
            let text = with(&|hook| hook.name = name.to_owned());
            assert!(text.contains("kebab-case") && !text.contains(is_unseen), "{text:?}");
            assert!(text.len() < 500, "{text}");
        }
        for summary in ["", "  ", "one\ntwo", "\x1b]0;title\x07", "left\u{202e}right"] {
            assert!(with(&|hook| hook.summary = summary.to_owned()).contains("the summary of `a`"));
        }
        let text = with(&|hook| hook.kind = "\x1b[2J".to_owned());
        assert!(text.contains("`\\u{1b}[2J`"), "{text}");
    }

    #[test]
    fn capabilities_are_known_and_name_what_they_are_about() {
        let ask = |capability: &str, scope: &[&str]| {
            let request = wit::Request {
                capability: capability.to_owned(),
                scope: scope.iter().map(|&scope| scope.to_owned()).collect(),
                reason: String::new(),
            };
            let hooks = vec![hook("next-slave", "a", None)];
            let description = wit::Description { hooks, capabilities: vec![request] };
            check("test", description, &[HookKind::NextSlave])
                .map(drop)
                .map_err(|problems| problems[0].to_string())
        };
        assert!(ask("exec", &["git", "*"]).is_ok() && ask("files", &[]).is_ok());
        assert!(ask("root", &[]).unwrap_err().contains("this host knows exec, env"));
        assert!(ask("exec", &[]).unwrap_err().contains("names nothing"));
        assert!(ask("files", &["/"]).unwrap_err().contains("does not have"));
        assert!(ask("exec", &[""]).unwrap_err().contains("is empty"));
        assert!(ask("env", &["A\nB"]).unwrap_err().contains("do not show"));
    }

    #[test]
    fn a_hook_without_a_description_is_refused() {
        assert!(judge(Vec::new()).err().unwrap().contains("describes no hook of that kind"));
    }

    #[test]
    fn durable_is_a_boolean_of_build_steps() {
        let mut described = hook("next-slave", "a", None);
        let value = base::Value::Boolean(true);
        described.options = vec![base::Pair { name: "durable".to_owned(), value }];
        assert!(judge(vec![described]).err().unwrap().contains("for build steps only"));
    }
}
