//! Schemas that are fine, and those that ask for more than there is time for.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn refused(schema: &Value) -> String {
    check(schema).expect_err("it is no schema that this host takes")
}

/// `{"x": {"x": ...}}`, so many levels of them.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!({ "x": inner }))
}

#[test]
fn ordinary_schemas_are_taken() {
    for schema in [
        json!({}),
        json!({"$id": "https://example.org/a", "type": "object"}),
        json!({"properties": {"$ref": {"type": "string", "pattern": "^[a-z]+$"}}}),
        json!({"enum": [{"$ref": "https://example.org"}]}),
        // A tree.
        json!({"$defs": {"n": {"properties": {
            "l": {"$ref": "#/$defs/n"}, "m": {"$ref": "#/$defs/n"}, "r": {"$ref": "#/$defs/n"}
        }}}, "$ref": "#/$defs/n"}),
        // Any JSON.
        json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#"}},
            {"type": "object", "additionalProperties": {"$ref": "#"}}]}),
    ] {
        assert_eq!(check(&schema), Ok(()), "{schema}");
    }
}

#[test]
fn references_stay_within_the_schema() {
    for reference in ["https://example.org/a", "file:///etc/passwd", "other.json", "#anchor"] {
        let text = refused(&json!({"items": {"$ref": reference}}));
        assert!(text.starts_with("refers to `"), "{text}");
    }
    assert!(refused(&json!({"$ref": "#/$defs/none"})).contains("which is not in it"));
}

#[test]
fn no_reference_hides_where_it_leads() {
    // An engine takes `%61` for `a`.
    let decoy = json!({"$defs": {"%61": true, "a": {"$ref": "#/$defs/%61"}}, "$ref": "#/$defs/a"});
    assert!(refused(&decoy).contains("only `#/...`"));
    let aside = json!({"aside": {"$dynamicRef": "#"}, "$ref": "#/aside"});
    assert!(refused(&aside).contains("$dynamicRef"));
}

#[test]
fn checks_without_an_end_are_refused() {
    assert!(refused(&json!({"$ref": "#"})).contains("without an end"));
    assert!(refused(&json!({"dependencies": {"x": {"$ref": "#"}}})).contains("without an end"));
    let two = json!({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]},
        "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"});
    assert!(refused(&two).contains("without an end"));
}

#[test]
fn combinations_that_explode_are_refused() {
    let mut defs = Map::new();
    for n in 0..40 {
        let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
        defs.insert(format!("d{n}"), json!({"allOf": [next, next]}));
    }
    defs.insert("d40".to_owned(), Value::Bool(true));
    assert!(refused(&json!({"$defs": defs, "$ref": "#/$defs/d0"})).contains("too long"));
    let down = json!({"anyOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]});
    assert!(refused(&down).contains("too long"));
    let many: Vec<Value> = (0..300).map(|n| json!({"pattern": format!("a{{{n}}}")})).collect();
    assert!(refused(&json!({"anyOf": many})).contains("patterns"));
}

/// Symptom: a schema of 40 `allOf`s in each other was checked for ever. Cause: each
/// `unevaluatedProperties` has what lies within it tried once more. Cure: that is counted.
#[test]
fn what_is_tried_again_for_unevaluated_members_counts() {
    let schema = (0..40).fold(json!({}), |inner, _| json!({"allOf": [inner], "unevaluatedProperties": true}));
    assert!(refused(&schema).contains("too long"));
    let one = json!({"allOf": [{"properties": {"a": true}}], "unevaluatedProperties": false});
    assert_eq!(check(&one), Ok(()));
}

/// Symptom: a step held a guest thread for ever by adding itself with deep arguments. Cause: the schema
/// doubles every two levels, which was counted for 24 of them, and 120 came. Cure: no more than 24 are
/// taken, and what given arguments cost is counted before the check.
#[test]
fn arguments_deeper_than_what_was_counted_are_refused() {
    let doubling = json!({"$ref": "#/$defs/r", "$defs": {
        "twice": {"allOf": [{"$ref": "#/$defs/r"}, {"$ref": "#/$defs/r"}]},
        "r": {"properties": {"x": {"properties": {"x": {"$ref": "#/$defs/twice"}}}}},
    }});
    assert_eq!(check(&doubling), Ok(()));
    assert_eq!(weigh(&doubling, &nested(MAX_DEPTH)), Ok(()));
    assert!(weigh(&doubling, &nested(120)).unwrap_err().contains("deeper than 24"));
    assert_eq!(weigh(&json!({}), &nested(MAX_DEPTH)), Ok(()));
    assert!(weigh(&json!({}), &nested(MAX_DEPTH + 1)).is_err());
    // Two ways down, each as deep as it may be, are more than one.
    let wide: Vec<Value> = (0..1_000).map(|_| nested(MAX_DEPTH - 2)).collect();
    let listed = json!({"items": {"$ref": "#/$defs/r"}, "$defs": doubling["$defs"]});
    assert!(weigh(&listed, &json!(wide)).unwrap_err().contains("too long"));
}

#[test]
fn ordinary_arguments_are_far_from_too_much() {
    let schema = json!({"properties": {
        "command": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "env": {"additionalProperties": {"type": "string", "pattern": "^[^\n]{0,4096}$"}},
    }});
    let args = json!({"command": vec!["x".repeat(100); 1_000], "env": {"A": "x".repeat(10_000)}});
    assert_eq!(weigh(&schema, &args), Ok(()));
}

#[test]
fn patterns_cost_by_their_states_and_the_text() {
    let patterns: Vec<Value> = (0..200).map(|n| json!({"pattern": format!("(a?{{100}}){{{n}}}b")})).collect();
    let schema = json!({"allOf": patterns});
    assert_eq!(check(&schema), Ok(()));
    assert_eq!(weigh(&schema, &json!("short")), Ok(()));
    assert!(weigh(&schema, &json!("a".repeat(200_000))).is_err());
}

proptest! {
    /// What `check` lets through costs no more than it counted, on one way down.
    #[test]
    fn a_way_down_costs_no_more_than_was_counted(seed in any::<u64>(), levels in 0..MAX_DEPTH) {
        let mut seed = seed;
        let schema = json!({"$defs": {"a": made(&mut seed, 3), "b": made(&mut seed, 3)}, "$ref": "#/$defs/a"});
        if check(&schema).is_ok() {
            let mut work = Work { root: &schema, known: BTreeMap::new() };
            let bound = work.total(&schema, MAX_DEPTH, 0).unwrap();
            let mut walk = Check { root: &schema, left: u64::MAX };
            prop_assert!(walk.tried(&schema, &nested(levels)).is_ok());
            prop_assert!(u64::MAX - walk.left <= bound, "{} > {}: {}", u64::MAX - walk.left, bound, schema);
        }
    }
}

/// Some schema.
fn made(seed: &mut u64, depth: usize) -> Value {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let pick = *seed >> 60;
    if depth == 0 {
        return [json!(true), json!({"$ref": "#/$defs/a"}), json!({"$ref": "#/$defs/b"})][pick as usize % 3]
            .clone();
    }
    let mut next = || made(seed, depth - 1);
    match pick % 8 {
        0 => json!({"allOf": [next(), next()]}),
        1 => json!({"properties": {"x": next(), "y": next()}}),
        2 => json!({"properties": {"x": next()}, "additionalProperties": next()}),
        3 => json!({"patternProperties": {"a": next(), "x": next()}}),
        4 => json!({"anyOf": [next()], "unevaluatedProperties": next()}),
        5 => json!({"if": next(), "then": next()}),
        6 => json!({"not": next(), "items": next()}),
        _ => json!({"$ref": "#/$defs/b", "properties": {"x": next()}}),
    }
}
