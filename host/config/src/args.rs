//! Arguments of plugins against the schemas that the plugins give.
//!
//! A text with a template in it passes any type here: only when it is rendered, at run time, is it
//! known what it becomes, and then [`check_args`] looks again.

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::{Draft, ValidationError, Validator};
use serde_json::Value;
use windlass_core::policy::HookKind;
use windlass_core::render;
use windlass_core::schema;

use crate::catalog::{Catalog, Hooks};
use crate::diagnostic::Report;
use crate::node::{Node, Span, Tree};
use crate::templates;

/// Whether templates are rendered before the plugin sees its arguments.
#[derive(Clone, Copy)]
pub(crate) enum Templates<'a> {
    /// They are: arguments of steps, and of renderers, which stand among these hooks.
    Rendered(&'a Hooks<'a>),
    /// They are not, and are texts like any other: arguments of policies.
    Plain,
}

/// Checks rendered arguments (JSON text) of a hook once more, before a run. The error lists all that is
/// wrong.
pub fn check_args(kind: HookKind, name: &str, args: &str, catalog: &dyn Catalog) -> Result<(), String> {
    let args: Value = serde_json::from_str(args).map_err(|e| format!("the arguments are not JSON: {e}"))?;
    let hook = Hooks::new(catalog).find(kind, name)?;
    let allowed = hook.schema.as_ref().map_err(Clone::clone)?;
    let problems: Vec<String> = allowed
        .problems(&args, Templates::Plain)
        .into_iter()
        .map(|p| if p.at.is_empty() { p.message } else { format!("at `{}`: {}", p.at, p.message) })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

/// Reads the arguments of a hook that the configuration calls `name` at `used_at`. Returns JSON text
/// with sorted keys and no spaces.
pub(crate) fn read(
    name: &str,
    used_at: &Span,
    schema: &Result<Schema, String>,
    args: Option<&Node>,
    templates: Templates<'_>,
    report: &mut Report,
) -> String {
    if let (Some(node), Templates::Rendered(hooks)) = (args, templates) {
        // The arguments as a whole are a table of their own, whatever their names.
        node.entries().iter().for_each(|entry| templates::check(&entry.node, hooks, report));
    }
    let facts = schema.as_ref().ok().and_then(Schema::json);
    let json = args.map_or_else(|| Value::Object(serde_json::Map::new()), |node| settled(node, facts));
    let problems = match schema {
        Ok(schema) => match (templates, &json) {
            (Templates::Rendered(_), Value::Object(entries)) => {
                let masked =
                    entries.iter().map(|(name, value)| (name.clone(), templates::masked(value.clone())));
                schema.problems(&masked.collect(), templates)
            }
            _ => schema.problems(&json, templates),
        },
        Err(broken) => {
            report.error("bad-schema", used_at, format!("the schema of `{name}` is not usable: {broken}"));
            Vec::new()
        }
    };
    for problem in problems {
        let (span, node) = args.map_or((used_at, None), |node| problem.place(node));
        let finding = report.error("bad-argument", span, format!("`{name}`: {}", problem.message));
        if let (Some(node), true) = (node, problem.is_of_type) {
            finding.label(format!("this is {}", node.kind()));
        }
        if let Some((name, known)) = &problem.unexpected {
            let all = match &known[..] {
                [] => "it takes no arguments".to_owned(),
                known => format!("its arguments: `{}`", known.join("`, `")),
            };
            finding.near(name, known.iter().map(String::as_str), &all);
        }
    }
    json.to_string()
}

/// The arguments as a JSON document, in which texts of the environment are what the schema asks for.
fn settled(node: &Node, schema: Option<&Value>) -> Value {
    match &node.value {
        Tree::Table(entries) => {
            entries.iter().map(|e| (e.key.clone(), settled(&e.node, of_entry(schema, &e.key)))).collect()
        }
        Tree::List(items) => items.iter().map(|item| settled(item, of_items(schema))).collect(),
        Tree::Text(_) if node.is_loose && schema.is_some_and(is_no_text) => {
            node.settled().map_or_else(|| node.to_json(), |value| Node::new(0..0, value).to_json())
        }
        _ => node.to_json(),
    }
}

/// What a table's schema says of the entry with this key.
pub(crate) fn of_entry<'s>(schema: Option<&'s Value>, key: &str) -> Option<&'s Value> {
    let own = schema?.get("properties").and_then(|properties| properties.get(key));
    own.or_else(|| schema?.get("additionalProperties"))
}

/// What a list's schema says of its items.
pub(crate) fn of_items(schema: Option<&Value>) -> Option<&Value> {
    schema?.get("items")
}

/// Whether a schema names types, and a text is none of them.
fn is_no_text(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::String(one)) => one != "string",
        Some(Value::Array(all)) => !all.iter().any(|one| one == "string"),
        _ => false,
    }
}

/// The most that is told of one table of arguments. A schema may find something at every turn.
const MAX_PROBLEMS: usize = 100;

/// Something that a schema does not allow.
struct Problem {
    /// As a JSON pointer.
    at: String,
    message: String,
    /// Whether it is what kind of value it is that is wrong.
    is_of_type: bool,
    /// An argument that the schema does not know, and those that it knows.
    unexpected: Option<(String, Vec<String>)>,
}

impl Problem {
    /// Of the arguments as a whole.
    fn of_all(message: String) -> Problem {
        Problem { at: String::new(), message, is_of_type: false, unexpected: None }
    }

    fn unexpected(at: &str, name: &str, known: &[String]) -> Problem {
        let message = format!("there is no argument `{name}`");
        let unexpected = Some((name.to_owned(), known.to_vec()));
        Problem { at: at.to_owned(), message, is_of_type: false, unexpected }
    }

    /// Where it is in the tree; an unexpected argument is to blame by its key.
    fn place<'a>(&self, root: &'a Node) -> (&'a Span, Option<&'a Node>) {
        let mut node = root;
        for segment in self.at.split('/').skip(1) {
            match node.child(&segment.replace("~1", "/").replace("~0", "~")) {
                Some(child) => node = child,
                None => break,
            }
        }
        let key = self.unexpected.as_ref().map(|(name, _)| name);
        let entry = node.entries().iter().find(|entry| Some(&entry.key) == key);
        entry.map_or((&node.span, Some(node)), |entry| (&entry.key_span, None))
    }
}

/// A hook's schema, compiled.
pub(crate) enum Schema {
    /// It takes no arguments.
    Nothing,
    /// It takes what this allows.
    Some { json: Value, validator: Box<Validator> },
}

impl Schema {
    pub(crate) fn compile(schema: Option<&Value>) -> Result<Schema, String> {
        match schema.filter(|schema| !takes_nothing(schema)) {
            None => Ok(Schema::Nothing),
            Some(json) => {
                schema::check(json).map_err(|why| format!("it {why}"))?;
                // An engine without backtracking: a pattern takes the time that its text and the value's allow.
                let patterns = jsonschema::PatternOptions::regex().size_limit(schema::MAX_COMPILED);
                let options =
                    jsonschema::options().with_draft(Draft::Draft202012).with_pattern_options(patterns);
                let validator = options.build(json).map_err(|e| e.to_string())?;
                Ok(Schema::Some { json: json.clone(), validator: Box::new(validator) })
            }
        }
    }

    /// As it was given.
    fn json(&self) -> Option<&Value> {
        match self {
            Schema::Nothing => None,
            Schema::Some { json, .. } => Some(json),
        }
    }

    fn problems(&self, args: &Value, templates: Templates<'_>) -> Vec<Problem> {
        let mut problems = Vec::new();
        match self {
            Schema::Nothing => {
                let names = args.as_object().into_iter().flat_map(|entries| entries.keys());
                problems.extend(names.map(|name| Problem::unexpected("", name, &[])));
            }
            Schema::Some { json, validator } => {
                if let Err(why) = schema::weigh(json, args) {
                    return vec![Problem::of_all(why)];
                }
                let mut errors = validator.iter_errors(args);
                while problems.len() < MAX_PROBLEMS
                    && let Some(error) = errors.next()
                {
                    if matches!(templates, Templates::Plain) || !is_excused(&error) {
                        describe(&error, json, &mut problems);
                    }
                }
                problems.sort_by(|a, b| a.at.cmp(&b.at));
                if errors.next().is_some() {
                    problems.push(Problem::of_all("there is more that is wrong".to_owned()));
                }
            }
        }
        problems
    }
}

/// Whether a schema allows an empty table only. jsonschema refuses the first entry then without
/// naming it.
fn takes_nothing(schema: &Value) -> bool {
    let empty = |keyword: &str| {
        schema.get(keyword).is_none_or(|entries| entries.as_object().is_some_and(serde_json::Map::is_empty))
    };
    schema.get("additionalProperties") == Some(&Value::Bool(false))
        && empty("properties")
        && empty("patternProperties")
}

/// Whether the error may be gone once templates are rendered.
fn is_excused(error: &ValidationError<'_>) -> bool {
    match error.kind() {
        // Rendering changes neither the keys of a table nor the length of a list.
        Kind::Required { .. }
        | Kind::AdditionalProperties { .. }
        | Kind::UnevaluatedProperties { .. }
        | Kind::MinItems { .. }
        | Kind::MaxItems { .. } => false,
        Kind::Type { .. } => error.instance().as_str().is_some_and(render::is_template),
        _ => has_template(error.instance()),
    }
}

fn has_template(json: &Value) -> bool {
    match json {
        Value::String(text) => render::is_template(text),
        Value::Array(items) => items.iter().any(has_template),
        Value::Object(entries) => entries.values().any(has_template),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn describe(error: &ValidationError<'_>, schema: &Value, problems: &mut Vec<Problem>) {
    let at = error.instance_path().as_str().to_owned();
    let message = match error.kind() {
        Kind::Required { property } => {
            format!("the argument `{}` is missing", property.as_str().unwrap_or_default())
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let known = known_arguments(error, schema);
            for name in unexpected {
                problems.push(Problem::unexpected(&at, name, &known));
            }
            return;
        }
        Kind::OneOfNotValid { context } | Kind::AnyOf { context } => {
            let first = |errors: &Vec<ValidationError<'_>>| errors.first().map(in_words);
            let reasons: Vec<String> = context.iter().filter_map(first).collect();
            format!("this value fits none of the possible forms: {}", reasons.join("; or "))
        }
        _ => in_words(error),
    };
    let is_of_type = matches!(error.kind(), Kind::Type { .. });
    problems.push(Problem { at, message, is_of_type, unexpected: None });
}

/// Without the value itself, which may be long; the place shows it.
fn in_words(error: &ValidationError<'_>) -> String {
    error.masked_with("this value").to_string()
}

/// The properties that stand beside the keyword which refused.
fn known_arguments(error: &ValidationError<'_>, schema: &Value) -> Vec<String> {
    let path = error.schema_path().as_str();
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let properties = schema.pointer(parent).and_then(|s| s.get("properties")).and_then(Value::as_object);
    properties.map(|p| p.keys().cloned().collect()).unwrap_or_default()
}
