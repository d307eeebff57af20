//! Schemas and arguments whose check would not end.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::{Value, json};
use windlass_config::{Catalog, HookFacts, Known, check_args, step_from_json};
use windlass_core::policy::HookKind;

/// A catalog with one hook.
struct One {
    schema: Value,
    looked_up: Cell<usize>,
    known: Known,
}

impl One {
    fn new(schema: Value) -> One {
        One { schema, looked_up: Cell::new(0), known: Known::default() }
    }

    /// Adds a step with these arguments, and checks the same ones as rendered.
    fn check(&self, args: &Value) -> Result<(), String> {
        let step = json!({"use": "s", "args": args}).to_string();
        let added = step_from_json(&step, self, &BTreeMap::new()).map(drop);
        let rendered = check_args(HookKind::BuildStep, "s", &args.to_string(), self);
        assert_eq!(added.is_ok(), rendered.is_ok(), "{added:?}, {rendered:?}");
        added
    }
}

impl Catalog for One {
    fn hook(&self, _: HookKind, _: &str) -> Result<HookFacts, String> {
        self.looked_up.set(self.looked_up.get() + 1);
        Ok(HookFacts { qualified: "p:s".into(), schema: Some(self.schema.clone()), options: Vec::new() })
    }

    fn known(&self) -> Known {
        self.known.clone()
    }
}

/// A schema that is tried twice as often at each second level down.
fn doubling() -> Value {
    json!({"$ref": "#/$defs/r", "$defs": {
        "twice": {"allOf": [{"$ref": "#/$defs/r"}, {"$ref": "#/$defs/r"}]},
        "r": {"properties": {"x": {"properties": {"x": {"$ref": "#/$defs/twice"}}}}},
    }})
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!({}), |inner, _| json!({ "x": inner }))
}

/// Symptom: a step that added itself held one of the master's guest threads for ever. Cause: its schema
/// doubles on the way down, and its arguments went down 120 levels. Cure: such arguments are refused before
/// they are checked, and so are those with too many ways down.
#[test]
fn arguments_that_would_be_checked_for_ever_are_refused() {
    let hook = One::new(doubling());
    assert_eq!(hook.check(&nested(20)), Ok(()));
    assert!(hook.check(&nested(120)).unwrap_err().contains("nested deeper than 24 levels"));
    let wide = One::new(
        json!({"properties": {"l": {"items": {"$ref": "#/$defs/r"}}}, "$defs": doubling()["$defs"]}),
    );
    let args = json!({"l": vec![nested(22); 1_000]});
    assert!(wide.check(&args).unwrap_err().contains("takes too long"));
}

#[test]
fn references_that_double_in_place_are_refused_before_they_are_compiled() {
    let twice =
        |n: usize| json!({"allOf": [{"$ref": format!("#/$defs/d{n}")}, {"$ref": format!("#/$defs/d{n}")}]});
    let mut defs: serde_json::Map<String, Value> = (0..40).map(|n| (format!("d{n}"), twice(n + 1))).collect();
    defs.insert("d40".to_owned(), json!({}));
    let bomb = One::new(json!({"$ref": "#/$defs/d0", "$defs": defs}));
    assert!(bomb.check(&json!({})).unwrap_err().contains("makes so many combinations"));
}

/// A part that many refer to is compiled once, however often it would stand there written out.
#[test]
fn what_many_refer_to_is_compiled_once() {
    let level = |n: usize| -> Value {
        let refs = (0..20).map(|i| (format!("p{i}"), json!({"$ref": format!("#/$defs/d{}", n + 1)})));
        json!({"properties": refs.collect::<serde_json::Map<_, _>>()})
    };
    let mut defs: serde_json::Map<String, Value> = (0..12).map(|n| (format!("d{n}"), level(n))).collect();
    defs.insert("d12".to_owned(), json!({"type": "string"}));
    let hook = One::new(json!({"$ref": "#/$defs/d0", "$defs": defs}));
    assert_eq!(hook.check(&json!({"p1": {"p2": {}}})), Ok(()));
}

#[test]
fn what_is_wrong_everywhere_is_told_a_hundred_times_at_the_most() {
    let hook = One::new(json!({"properties": {"l": {"items": {"type": "string"}}}}));
    let why = hook.check(&json!({"l": vec![1; 10_000]})).unwrap_err();
    assert!(why.ends_with("there is more that is wrong") && why.len() < 20_000, "{why}");
}

#[test]
fn a_build_compiles_the_schema_of_a_hook_once() {
    let hook = One::new(json!({"properties": {"n": {"type": "integer"}}}));
    for _ in 0..100 {
        step_from_json(r#"{"use": "s", "args": {"n": 1}}"#, &hook, &BTreeMap::new()).unwrap();
        check_args(HookKind::BuildStep, "s", r#"{"n":"x"}"#, &hook).unwrap_err();
    }
    assert_eq!(hook.looked_up.get(), 1);
}

#[test]
fn rendered_arguments_are_checked_again() {
    let hook = One::new(json!({
        "type": "object", "required": ["command"], "additionalProperties": false,
        "properties": { "command": { "type": "array" }, "jobs": { "type": "integer", "minimum": 1 } },
    }));
    let check = |args: &str| check_args(HookKind::BuildStep, "s", args, &hook);
    assert_eq!(check(r#"{"command":[],"jobs":2}"#), Ok(()));
    assert_eq!(
        check(r#"{"jobs":"x"}"#).unwrap_err(),
        "the argument `command` is missing; at `/jobs`: this value is not of type \"integer\""
    );
}
