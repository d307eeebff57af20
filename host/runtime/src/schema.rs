//! Whether the schema of a hook's arguments is one, and can be checked in a bounded time: arguments are
//! checked against it by the master itself, where nothing interrupts a check that has no end.

use std::collections::BTreeMap;

use jsonschema::{Draft, PatternOptions};
use serde_json::{Map, Value};

use crate::bounds::quoted;

/// The only dialect, as the contract says.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Schemas within a schema.
const MAX_SCHEMAS: usize = 5_000;
/// How far references and schemas within schemas may lead without coming to an end.
const MAX_CHAIN: usize = 256;
/// Regular expressions, the length of each, and what one may become in memory.
const MAX_PATTERNS: usize = 256;
const MAX_PATTERN: usize = 512;
const MAX_COMPILED: usize = 1024 * 1024;
/// How deep arguments are taken to be, and how many schemas may then be tried on one way down.
const DEPTH: usize = 24;
const MAX_WORK: u64 = 1_000_000;

/// Reads a schema. The error continues the sentence "the schema of `x` ...".
pub(crate) fn read(text: &str) -> Result<Value, String> {
    let schema: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    let Value::Object(root) = &schema else { return Err("is not a JSON object".to_owned()) };
    if let Some(dialect) = root.get("$schema")
        && dialect.as_str().map(|dialect| dialect.trim_end_matches('#')) != Some(DIALECT)
    {
        let named = quoted(dialect.as_str().unwrap_or_default());
        return Err(format!("is of the dialect {named}, and this host has {DIALECT} only"));
    }
    let mut work = Work { root: &schema, known: BTreeMap::new(), schemas: 0, patterns: 0 };
    work.look(&schema, 0)?;
    if work.total(&schema, DEPTH, 0)? > MAX_WORK {
        return Err(format!("makes so many combinations that arguments {DEPTH} levels deep take too long"));
    }
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex().size_limit(MAX_COMPILED))
        .offline()
        .build(&schema)
        .map_err(|error| format!("is no JSON Schema: {}", quoted(&error.to_string())))?;
    Ok(schema)
}

/// Looked up by where a schema lies in memory: it is one tree that nobody changes.
type Known = BTreeMap<(*const Value, usize), Option<Cost>>;

struct Work<'a> {
    root: &'a Value,
    known: Known,
    schemas: usize,
    patterns: usize,
}

/// What checking one value costs: at the value itself, and at the costliest of its members or elements.
#[derive(Clone, Copy, Default)]
struct Cost {
    here: u64,
    members: u64,
    elements: u64,
}

impl Cost {
    /// A value has members or elements, never both.
    fn total(self) -> u64 {
        self.here.saturating_add(self.members.max(self.elements))
    }

    fn and(self, other: Cost) -> Cost {
        Cost {
            here: self.here.saturating_add(other.here),
            members: self.members.saturating_add(other.members),
            elements: self.elements.saturating_add(other.elements),
        }
    }
}

/// Keywords whose schemas look at the same value, at members, at elements; and those that only keep some.
const HERE: [&str; 8] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"];
const MEMBERS: [&str; 5] =
    ["patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames", "properties"];
const ELEMENTS: [&str; 4] = ["items", "contains", "unevaluatedItems", "prefixItems"];
const KEPT: [&str; 2] = ["$defs", "definitions"];
/// Of those, the ones that hold a map of schemas.
const MAPS: [&str; 5] = ["dependentSchemas", "patternProperties", "properties", "$defs", "definitions"];

/// The schemas that stand under a keyword.
fn under<'a>(schema: &'a Map<String, Value>, keyword: &str) -> Vec<&'a Value> {
    match schema.get(keyword) {
        Some(Value::Object(map)) if MAPS.contains(&keyword) => map.values().collect(),
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    }
}

impl<'a> Work<'a> {
    /// Counts, and judges every reference and pattern.
    fn look(&mut self, schema: &'a Value, depth: usize) -> Result<(), String> {
        self.schemas += 1;
        if self.schemas > MAX_SCHEMAS || depth > MAX_CHAIN {
            return Err(format!("is too large: at most {MAX_SCHEMAS} schemas are taken, {MAX_CHAIN} deep"));
        }
        let Value::Object(map) = schema else { return Ok(()) };
        if depth > 0 && (map.contains_key("$id") || map.contains_key("$schema")) {
            return Err("has an `$id` or `$schema` within it; only its outermost part may".to_owned());
        }
        for unbounded in ["$dynamicRef", "$recursiveRef"] {
            if map.contains_key(unbounded) {
                return Err(format!("has a `{unbounded}`, which this host does not take; use `$ref`"));
            }
        }
        if let Some(reference) = map.get("$ref") {
            self.target(reference)?;
        }
        if let Some(pattern) = map.get("pattern") {
            self.pattern(pattern.as_str().unwrap_or_default())?;
        }
        if let Some(Value::Object(patterns)) = map.get("patternProperties") {
            patterns.keys().try_for_each(|pattern| self.pattern(pattern))?;
        }
        for keyword in HERE.iter().chain(&MEMBERS).chain(&ELEMENTS).chain(&KEPT) {
            for inner in under(map, keyword) {
                self.look(inner, depth + 1)?;
            }
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: &str) -> Result<(), String> {
        self.patterns += 1;
        if self.patterns > MAX_PATTERNS || pattern.len() > MAX_PATTERN {
            return Err(format!(
                "has too many patterns: at most {MAX_PATTERNS} of {MAX_PATTERN} bytes are taken"
            ));
        }
        Ok(())
    }

    /// What a reference refers to: something within the schema.
    fn target(&self, reference: &Value) -> Result<&'a Value, String> {
        let text = reference.as_str().unwrap_or_default();
        let found = match text.strip_prefix('#') {
            Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => self.root.pointer(pointer),
            _ => return Err(format!("refers to {}; only `#/...` within it is taken", quoted(text))),
        };
        found.ok_or_else(|| format!("refers to {}, which is not in it", quoted(text)))
    }

    fn total(&mut self, schema: &'a Value, depth: usize, chain: usize) -> Result<u64, String> {
        self.cost(schema, depth, chain).map(Cost::total)
    }

    /// The cost of trying `schema` on a value with so many levels below it.
    fn cost(&mut self, schema: &'a Value, depth: usize, chain: usize) -> Result<Cost, String> {
        let Value::Object(map) = schema else { return Ok(Cost { here: 1, ..Cost::default() }) };
        let key = (std::ptr::from_ref(schema), depth);
        match self.known.get(&key) {
            Some(Some(cost)) => return Ok(*cost),
            // On the way here already, and the value is still the same.
            Some(None) => return Err("refers to itself without an end".to_owned()),
            None => {}
        }
        if chain > 2 * MAX_CHAIN {
            return Err(format!("is too deep: its references lead on for more than {MAX_CHAIN}"));
        }
        self.known.insert(key, None);
        let mut cost = Cost { here: 1, ..Cost::default() };
        if let Some(reference) = map.get("$ref") {
            cost = cost.and(self.cost(self.target(reference)?, depth, chain + 1)?);
        }
        for keyword in HERE {
            for inner in under(map, keyword) {
                cost = cost.and(self.cost(inner, depth, chain + 1)?);
            }
        }
        if let Some(below) = depth.checked_sub(1) {
            for (keywords, each) in [(&MEMBERS[..], "properties"), (&ELEMENTS[..], "prefixItems")] {
                let mut sum = 0_u64;
                for &keyword in keywords {
                    // Of these, each is for another member or element.
                    let mut most = 0_u64;
                    for inner in under(map, keyword) {
                        let total = self.total(inner, below, chain + 1)?;
                        most = if keyword == each { most.max(total) } else { most.saturating_add(total) };
                    }
                    sum = sum.saturating_add(most);
                }
                match each {
                    "properties" => cost.members = cost.members.saturating_add(sum),
                    _ => cost.elements = cost.elements.saturating_add(sum),
                }
            }
        }
        self.known.insert(key, Some(cost));
        Ok(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(schema: &Value) -> String {
        read(&schema.to_string()).expect_err("it is no schema that this host takes")
    }

    #[test]
    fn ordinary_schemas_are_taken() {
        for schema in [
            serde_json::json!({}),
            serde_json::json!({"$schema": DIALECT, "$id": "https://example.org/a", "type": "object"}),
            serde_json::json!({"properties": {"$ref": {"type": "string", "pattern": "^[a-z]+$"}}}),
            serde_json::json!({"enum": [{"$ref": "https://example.org"}]}),
            // A tree.
            serde_json::json!({"$defs": {"n": {"properties": {
                "l": {"$ref": "#/$defs/n"}, "m": {"$ref": "#/$defs/n"}, "r": {"$ref": "#/$defs/n"}
            }}}, "$ref": "#/$defs/n"}),
            // Any JSON.
            serde_json::json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#"}},
                {"type": "object", "additionalProperties": {"$ref": "#"}}]}),
        ] {
            assert_eq!(read(&schema.to_string()), Ok(schema));
        }
    }

    #[test]
    fn what_is_no_schema_is_called_so() {
        assert!(read("{").unwrap_err().starts_with("is not JSON"));
        assert_eq!(read("[]").unwrap_err(), "is not a JSON object");
        assert!(refused(&serde_json::json!({"type": "strnig"})).starts_with("is no JSON Schema"));
        assert!(refused(&serde_json::json!({"pattern": "("})).starts_with("is no JSON Schema"));
        assert!(
            refused(&serde_json::json!({"$schema": "http://json-schema.org/draft-04/schema#"}))
                .contains("dialect")
        );
        let deep = format!("{}{}", "{\"not\":".repeat(120), "{}".to_owned() + &"}".repeat(120));
        assert!(read(&deep).is_ok());
        let deeper = format!("{}{}", "{\"not\":".repeat(5_000), "{}".to_owned() + &"}".repeat(5_000));
        assert!(read(&deeper).unwrap_err().starts_with("is not JSON"));
    }

    #[test]
    fn references_stay_within_the_schema() {
        for reference in ["https://example.org/a", "file:///etc/passwd", "other.json", "#anchor"] {
            let text = refused(&serde_json::json!({"items": {"$ref": reference}}));
            assert!(text.starts_with("refers to `"), "{text}");
        }
        assert!(refused(&serde_json::json!({"$ref": "#/$defs/none"})).contains("which is not in it"));
    }

    #[test]
    fn checks_without_an_end_are_refused() {
        assert!(refused(&serde_json::json!({"$ref": "#"})).contains("without an end"));
        let two = serde_json::json!({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]},
            "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"});
        assert!(refused(&two).contains("without an end"));
    }

    #[test]
    fn combinations_that_explode_are_refused() {
        let mut defs = Map::new();
        for n in 0..40 {
            let next = serde_json::json!({"$ref": format!("#/$defs/d{}", n + 1)});
            defs.insert(format!("d{n}"), serde_json::json!({"allOf": [next, next]}));
        }
        defs.insert("d40".to_owned(), Value::Bool(true));
        let flat = serde_json::json!({"$defs": defs, "$ref": "#/$defs/d0"});
        assert!(refused(&flat).contains("too long"));
        let down = serde_json::json!({"anyOf": [{"properties": {"a": {"$ref": "#"}}},
            {"properties": {"a": {"$ref": "#"}}}]});
        assert!(refused(&down).contains("too long"));
        let many: Vec<Value> =
            (0..300).map(|n| serde_json::json!({"pattern": format!("a{{{n}}}")})).collect();
        assert!(refused(&serde_json::json!({"anyOf": many})).contains("patterns"));
        assert!(
            refused(&serde_json::json!({"pattern": "((a{100}){100}){100}"})).contains("is no JSON Schema")
        );
    }
}
