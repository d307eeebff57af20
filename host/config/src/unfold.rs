//! How large a schema is once its `$ref`s are followed. Whoever writes a plugin writes its schema: a few lines
//! that refer to each other can ask for more checks than there is time for.

use serde_json::Value;

/// Parts that a schema may have, each counted as often as it is referred to.
const MAX_PARTS: usize = 100_000;

/// References that are followed one after the other. One that comes back to itself is followed so often.
const MAX_DEPTH: usize = 64;

/// Whether a schema can be checked against in reasonable time; `Err`: not, in words.
pub(crate) fn check(schema: &Value) -> Result<(), String> {
    let mut room = MAX_PARTS;
    walk(schema, schema, 0, &mut room)
}

fn walk(part: &Value, whole: &Value, depth: usize, room: &mut usize) -> Result<(), String> {
    *room = room.checked_sub(1).ok_or_else(|| {
        format!(
            "with every `$ref` followed, it has more than {MAX_PARTS} parts: let fewer refer to the same part"
        )
    })?;
    match part {
        Value::Array(items) => items.iter().try_for_each(|item| walk(item, whole, depth, room)),
        Value::Object(entries) => {
            for (name, entry) in entries {
                match (name.as_str(), entry) {
                    ("$ref", Value::String(to)) => {
                        let target = target(to, whole)?;
                        if depth < MAX_DEPTH {
                            walk(target, whole, depth + 1, room)?;
                        }
                    }
                    ("$dynamicRef" | "$recursiveRef", _) => {
                        return Err(format!("`{name}` is not supported: use `$ref`"));
                    }
                    // It would change where `$ref`s below it lead.
                    ("$id" | "id", Value::String(_)) if !std::ptr::eq(part, whole) => {
                        return Err(format!("`{name}` is supported at the top alone"));
                    }
                    (_, entry) => walk(entry, whole, depth, room)?,
                }
            }
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn target<'a>(to: &str, whole: &'a Value) -> Result<&'a Value, String> {
    let found = to.strip_prefix('#').and_then(|pointer| whole.pointer(pointer));
    found.ok_or_else(|| {
        let shown: String = to.chars().take(100).collect();
        format!("`$ref` leads to `{shown}`: it has to be `#` or a place in this schema, like `#/$defs/path`")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_refers_to_itself_once_is_fine() {
        let list = json!({ "properties": { "next": { "$ref": "#" }, "name": { "type": "string" } } });
        assert_eq!(check(&list), Ok(()));
        let shared = json!({
            "properties": { "a": { "$ref": "#/$defs/path" }, "b": { "$ref": "#/$defs/path" } },
            "$defs": { "path": { "type": "string" } },
        });
        assert_eq!(check(&shared), Ok(()));
    }

    #[test]
    fn what_doubles_with_every_reference_is_refused_at_once() {
        let twice = |n: usize| json!({ "allOf": [{ "$ref": format!("#/$defs/d{n}") }, { "$ref": format!("#/$defs/d{n}") }] });
        let mut defs: serde_json::Map<String, Value> =
            (0..40).map(|n| (format!("d{n}"), twice(n + 1))).collect();
        defs.insert("d40".to_owned(), json!({}));
        let bomb = json!({ "$ref": "#/$defs/d0", "$defs": defs });
        assert!(check(&bomb).unwrap_err().contains("100000 parts"));
        assert!(check(&twice_itself()).unwrap_err().contains("100000 parts"));
    }

    fn twice_itself() -> Value {
        json!({ "properties": { "a": { "allOf": [{ "$ref": "#" }, { "$ref": "#" }] } } })
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for to in ["http://example.org/x.json", "file:///etc/passwd", "#/$defs/none", "other", "#anchor"] {
            assert!(check(&json!({ "$ref": to })).unwrap_err().contains("`$ref` leads to"), "{to}");
        }
        assert!(check(&json!({ "$dynamicRef": "#x" })).is_err());
        assert!(check(&json!({ "items": { "$id": "x", "$ref": "#/a" }, "a": {} })).is_err());
        assert_eq!(check(&json!({ "$id": "x", "properties": { "id": { "type": "string" } } })), Ok(()));
    }
}
