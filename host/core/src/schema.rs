//! What a check of arguments against a hook's schema costs. Whoever writes a plugin writes its schema, and
//! nothing interrupts a check: so [`check`] refuses schemas whose checks come to no end, when a plugin is
//! loaded, and [`weigh`] refuses arguments whose check would take too long, before it begins.
//!
//! Both count the schemas that are tried. Whatever the engine does with a keyword is counted at least as
//! often here; what it never looks at may be counted too.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// How deep arguments may be: lists and tables within one another.
pub const MAX_DEPTH: usize = 24;

/// What a regular expression of a schema may become in memory, in bytes. The engine sees to it.
pub const MAX_COMPILED: usize = 1024 * 1024;

/// Schemas within a schema.
const MAX_SCHEMAS: usize = 5_000;
/// How far references and schemas within schemas may lead without coming to an end.
const MAX_CHAIN: usize = 256;
/// Regular expressions, and the length of each.
const MAX_PATTERNS: usize = 256;
const MAX_PATTERN: usize = 512;
/// How many schemas may be tried on one way down through arguments as deep as they may be.
const MAX_WORK: u64 = 1_000_000;
/// How many schemas may be tried in one check: some tenths of a second.
const MAX_CHECK: u64 = 250_000;

/// Whether arguments can be checked against a schema. The error continues the sentence "the schema of `x` ...".
pub fn check(schema: &Value) -> Result<(), String> {
    let mut seen = Seen { root: schema, schemas: BTreeSet::new(), patterns: 0 };
    seen.look(schema, 0)?;
    let mut work = Work { root: schema, known: BTreeMap::new() };
    if work.total(schema, MAX_DEPTH, 0)? > MAX_WORK {
        return Err(format!(
            "makes so many combinations that arguments {MAX_DEPTH} levels deep take too long"
        ));
    }
    Ok(())
}

/// Whether these arguments can be checked against a schema that passed [`check`]. The error is a sentence.
pub fn weigh(schema: &Value, args: &Value) -> Result<(), String> {
    if is_deeper(args, MAX_DEPTH) {
        return Err(format!("the arguments are nested deeper than {MAX_DEPTH} levels"));
    }
    let mut check = Check { root: schema, left: MAX_CHECK };
    check.tried(schema, args).map_err(|TooLong| {
        format!("checking the arguments takes too long: more than {MAX_CHECK} parts of the schema apply")
    })
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    let deeper = |inner| levels == 0 || is_deeper(inner, levels - 1);
    match value {
        Value::Array(items) => items.iter().any(deeper),
        Value::Object(entries) => entries.values().any(deeper),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Keywords whose schemas look at the same value, at members, at elements; and those that only keep some.
const HERE: [&str; 9] =
    ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"];
const MEMBERS: [&str; 5] =
    ["patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames", "properties"];
const ELEMENTS: [&str; 5] = ["items", "additionalItems", "contains", "unevaluatedItems", "prefixItems"];
const KEPT: [&str; 2] = ["$defs", "definitions"];
/// Of those, the ones that hold a map of schemas.
const MAPS: [&str; 6] =
    ["dependentSchemas", "dependencies", "patternProperties", "properties", "$defs", "definitions"];

/// The schemas that stand under a keyword.
fn under<'a>(schema: &'a Map<String, Value>, keyword: &str) -> Vec<&'a Value> {
    schema.get(keyword).map(|within| schemas(keyword, within)).unwrap_or_default()
}

/// The same of what stands under it.
fn schemas<'a>(keyword: &str, within: &'a Value) -> Vec<&'a Value> {
    match within {
        Value::Object(map) if MAPS.contains(&keyword) => map.values().collect(),
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    }
}

/// What a reference refers to: something within the schema.
fn target<'a>(reference: &Value, root: &'a Value) -> Result<&'a Value, String> {
    let text = reference.as_str().unwrap_or_default();
    let found = match text.strip_prefix('#') {
        // An escape would name another place to whoever resolves it.
        Some(pointer) if (pointer.is_empty() || pointer.starts_with('/')) && !pointer.contains('%') => {
            root.pointer(pointer)
        }
        _ => return Err(format!("refers to {}; only `#/...` within it is taken", shown(text))),
    };
    found.ok_or_else(|| format!("refers to {}, which is not in it", shown(text)))
}

/// A text of the schema, for a message.
fn shown(text: &str) -> String {
    let text: String = text.chars().take(100).flat_map(char::escape_debug).collect();
    format!("`{text}`")
}

/// The schemas that were looked at. Each is looked at once, by where it lies in memory: it is one tree that
/// nobody changes.
struct Seen<'a> {
    root: &'a Value,
    schemas: BTreeSet<*const Value>,
    patterns: usize,
}

impl<'a> Seen<'a> {
    /// Counts, and judges every reference and pattern.
    fn look(&mut self, schema: &'a Value, depth: usize) -> Result<(), String> {
        if !self.schemas.insert(std::ptr::from_ref(schema)) {
            return Ok(());
        }
        if self.schemas.len() > MAX_SCHEMAS || depth > MAX_CHAIN {
            return Err(format!("is too large: at most {MAX_SCHEMAS} schemas are taken, {MAX_CHAIN} deep"));
        }
        let Value::Object(map) = schema else { return Ok(()) };
        let is_within = !std::ptr::eq(schema, self.root);
        if is_within && (map.contains_key("$id") || map.contains_key("$schema")) {
            return Err("has an `$id` or `$schema` within it; only its outermost part may".to_owned());
        }
        for unbounded in ["$dynamicRef", "$recursiveRef"] {
            if map.contains_key(unbounded) {
                return Err(format!("has a `{unbounded}`, which this host does not take; use `$ref`"));
            }
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
        match map.get("$ref") {
            // It may lie where no keyword leads.
            Some(reference) => self.look(target(reference, self.root)?, depth + 1),
            None => Ok(()),
        }
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
}

/// Of checking a value against a schema, or of finding out once more what of the value a schema covers:
/// `unevaluatedProperties` asks for that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Try,
    Cover,
}

/// What a check costs, if arguments have all that a schema looks for.
struct Work<'a> {
    root: &'a Value,
    /// `None`: on the way.
    known: BTreeMap<(*const Value, usize, Act), Option<Cost>>,
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

impl<'a> Work<'a> {
    fn total(&mut self, schema: &'a Value, depth: usize, chain: usize) -> Result<u64, String> {
        self.cost(schema, depth, chain, Act::Try).map(Cost::total)
    }

    /// The cost of `act` on a value with so many levels below it.
    fn cost(&mut self, schema: &'a Value, depth: usize, chain: usize, act: Act) -> Result<Cost, String> {
        let Value::Object(map) = schema else { return Ok(Cost { here: 1, ..Cost::default() }) };
        let key = (std::ptr::from_ref(schema), depth, act);
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
        let mut cost = match act {
            Act::Try => self.below(map, depth, chain)?,
            Act::Cover => self.cost(schema, depth, chain, Act::Try)?,
        };
        for inner in in_place(map, self.root)? {
            if act == Act::Try {
                cost = cost.and(self.cost(inner, depth, chain + 1, Act::Try)?);
            }
            if act == Act::Cover || asks_what_is_covered(map) {
                cost = cost.and(self.cost(inner, depth, chain + 1, Act::Cover)?);
            }
        }
        self.known.insert(key, Some(cost));
        Ok(cost)
    }

    /// The cost at a value itself and at its members or elements, without schemas that apply in place.
    fn below(&mut self, map: &'a Map<String, Value>, depth: usize, chain: usize) -> Result<Cost, String> {
        let mut cost = Cost { here: 1, ..Cost::default() };
        let Some(below) = depth.checked_sub(1) else { return Ok(cost) };
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
                "properties" => cost.members = sum,
                _ => cost.elements = sum,
            }
        }
        Ok(cost)
    }
}

/// The schemas that apply to the same value as this one.
fn in_place<'a>(map: &'a Map<String, Value>, root: &'a Value) -> Result<Vec<&'a Value>, String> {
    let referred = map.get("$ref").map(|reference| target(reference, root)).transpose()?;
    // A schema has fewer keywords than there are.
    let here = map.iter().filter(|(keyword, _)| HERE.contains(&keyword.as_str()));
    let within = here.flat_map(|(keyword, within)| schemas(keyword, within));
    Ok(referred.into_iter().chain(within).collect())
}

fn asks_what_is_covered(map: &Map<String, Value>) -> bool {
    map.contains_key("unevaluatedProperties") || map.contains_key("unevaluatedItems")
}

/// One check of given arguments, gone through without its judgements.
struct Check<'a> {
    root: &'a Value,
    left: u64,
}

/// There is nothing left.
struct TooLong;

impl<'a> Check<'a> {
    fn pay(&mut self, cost: u64) -> Result<(), TooLong> {
        self.left = self.left.checked_sub(cost).ok_or(TooLong)?;
        Ok(())
    }

    fn tried(&mut self, schema: &'a Value, value: &Value) -> Result<(), TooLong> {
        self.pay(1)?;
        let Value::Object(map) = schema else { return Ok(()) };
        self.compared(map, value)?;
        for inner in in_place(map, self.root).map_err(|_| TooLong)? {
            self.tried(inner, value)?;
            if asks_what_is_covered(map) {
                self.covered(inner, value)?;
            }
        }
        match value {
            Value::Object(entries) => {
                entries.iter().try_for_each(|(name, value)| self.member(map, name, value))
            }
            Value::Array(items) => {
                items.iter().enumerate().try_for_each(|(n, item)| self.element(map, n, item))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn covered(&mut self, schema: &'a Value, value: &Value) -> Result<(), TooLong> {
        self.tried(schema, value)?;
        let Value::Object(map) = schema else { return Ok(()) };
        for inner in in_place(map, self.root).map_err(|_| TooLong)? {
            self.covered(inner, value)?;
        }
        Ok(())
    }

    fn member(&mut self, map: &'a Map<String, Value>, name: &str, value: &Value) -> Result<(), TooLong> {
        for keyword in MEMBERS {
            match (keyword, map.get(keyword)) {
                (_, None) => {}
                ("properties", Some(Value::Object(schemas))) => {
                    if let Some(schema) = schemas.get(name) {
                        self.tried(schema, value)?;
                    }
                }
                ("patternProperties", Some(Value::Object(schemas))) => {
                    for (pattern, schema) in schemas {
                        self.pay(searching(pattern, name))?;
                        self.tried(schema, value)?;
                    }
                }
                ("propertyNames", Some(schema)) => self.tried(schema, &Value::from(name))?,
                (_, Some(schema)) => self.tried(schema, value)?,
            }
        }
        Ok(())
    }

    fn element(&mut self, map: &'a Map<String, Value>, n: usize, item: &Value) -> Result<(), TooLong> {
        for keyword in ELEMENTS {
            match (keyword, map.get(keyword)) {
                (_, None) => {}
                (_, Some(Value::Array(schemas))) => {
                    if let Some(schema) = schemas.get(n) {
                        self.tried(schema, item)?;
                    }
                }
                (_, Some(schema)) => self.tried(schema, item)?,
            }
        }
        Ok(())
    }

    /// Keywords that compare the whole value with something.
    fn compared(&mut self, map: &Map<String, Value>, value: &Value) -> Result<(), TooLong> {
        for keyword in ["enum", "const", "required", "dependentRequired"] {
            if let Some(with) = map.get(keyword) {
                self.walked(with)?;
            }
        }
        if map.get("uniqueItems") == Some(&Value::Bool(true)) {
            self.walked(value)?;
        }
        match (map.get("pattern").and_then(Value::as_str), value.as_str()) {
            (Some(pattern), Some(text)) => self.pay(searching(pattern, text)),
            _ => Ok(()),
        }
    }

    fn walked(&mut self, value: &Value) -> Result<(), TooLong> {
        self.pay(1)?;
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.walked(item)),
            Value::Object(entries) => entries.values().try_for_each(|entry| self.walked(entry)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }
}

/// What it costs to search a text for a pattern, at the worst: all states of the pattern are alive at each
/// byte. Repetitions multiply its states, as far as the engine lets them.
fn searching(pattern: &str, text: &str) -> u64 {
    const MAX_STATES: u64 = 1_000;
    const PER_TRY: u64 = 64;
    let times = pattern.split('{').skip(1).filter_map(|after| {
        let numbers = after.split_once('}')?.0.split(',');
        numbers.filter_map(|number| number.parse::<u64>().ok()).max()
    });
    let states = times.fold(pattern.len() as u64, |states, times| states.saturating_mul(times.max(1)));
    states.min(MAX_STATES) * text.len() as u64 / PER_TRY
}

#[cfg(test)]
mod tests;
