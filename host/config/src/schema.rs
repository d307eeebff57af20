//! JSON schemas of `master.toml` and `worker.toml`, made of [`crate::attributes`]: for editors, which check while one
//! types. `windlass check` is stricter, since it knows names, plugins and what belongs together.

use serde_json::{Map, Value as Json, json};

use crate::attributes::{
    Attribute, BUILDER, CONFIGURATION, DEPENDENT, Default, OF_MASTER, SCHEDULER, SINGLE_BRANCH, State, Table,
    WORKER_FILE, key,
};

/// The schema of `master.toml`.
#[must_use]
pub fn of_master() -> Json {
    let mut schema = object("#", &[&CONFIGURATION]);
    let tables = OF_MASTER.iter().skip(1).map(|table| {
        let parts: &[&Table] = match key(table) == key(&SCHEDULER) {
            // What belongs to its type only is allowed in all.
            true => &[&SCHEDULER, &SINGLE_BRANCH, &DEPENDENT],
            false => &[table],
        };
        (key(table), object(&format!("#/$defs/{}", key(table)), parts))
    });
    let mut definitions: Map<String, Json> = tables.collect();
    definitions.insert("stands-for-a-value".to_owned(), stands_for_a_value());
    begin(&mut schema, "master.toml of Windlass");
    schema["$defs"] = definitions.into();
    schema
}

/// The schema of `worker.toml`.
#[must_use]
pub fn of_worker() -> Json {
    let mut schema = object("#", &[&WORKER_FILE]);
    begin(&mut schema, "worker.toml of Windlass");
    // Nothing does there.
    schema["$defs"] = json!({ "stands-for-a-value": false });
    schema
}

fn begin(schema: &mut Json, title: &str) {
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
}

/// A variable of the environment, or an axis of a matrix.
fn stands_for_a_value() -> Json {
    json!({ "anyOf": [
        {
            "type": "object", "required": ["from_env"], "additionalProperties": false,
            "properties": { "from_env": { "type": "string" }, "default": true },
        },
        { "type": "string", "pattern": "^%\\(matrix:[^)]*\\)s$" },
    ] })
}

/// A table with the settings of these, which stands `at` this place of the schema. Editors offer the usual spellings of a
/// setting, and take the others that the reader takes.
fn object(at: &str, tables: &[&Table]) -> Json {
    let (mut properties, mut patterns) = (Map::new(), Map::new());
    let mut needed = Vec::new();
    for attribute in tables.iter().flat_map(|table| table.attributes) {
        if let State::Refused(_) = attribute.state {
            continue;
        }
        let schema = property(attribute);
        let spellings: Vec<String> = attribute.names().flat_map(spellings).collect();
        let others: Vec<String> = attribute.names().flat_map(other_spellings).collect();
        // What a builder must have may come from a template, and `upstream` belongs to one type.
        let may_lack = std::ptr::eq(tables[0], &BUILDER) || attribute.name == "upstream";
        if attribute.default == Default::Needed && !may_lack {
            let one = |name: &String| json!({ "required": [name] });
            needed.push(json!({ "anyOf": spellings.iter().chain(&others).map(one).collect::<Vec<_>>() }));
        }
        let same = json!({ "$ref": format!("{at}/properties/{}", attribute.name) });
        patterns.insert(format!("^(?:{})$", others.join("|")), same);
        properties.extend(spellings.into_iter().map(|name| (name, schema.clone())));
    }
    let mut schema = json!({
        "type": "object", "additionalProperties": false, "properties": properties, "patternProperties": patterns,
    });
    if !needed.is_empty() {
        schema["allOf"] = needed.into();
    }
    schema
}

fn property(attribute: &Attribute) -> Json {
    let description = match attribute.state {
        State::Works => attribute.effect.to_owned(),
        State::WorksAs(place) => format!("{}; works as {place}", attribute.effect),
        State::Warns(instead) | State::Refused(instead) => format!("has no effect: {instead}"),
    };
    let mut schema = json!({
        "anyOf": [attribute.kind.schema(), { "$ref": "#/$defs/stands-for-a-value" }], "description": description,
    });
    if let (State::Works, Default::Is(default)) = (attribute.state, attribute.default) {
        schema["description"] = json!(format!("{description}. Without it: {default}"));
    }
    if let State::Warns(_) = attribute.state {
        schema["deprecated"] = json!(true);
    }
    schema
}

/// `halt_on_failure`, `haltOnFailure`, `halt-on-failure`.
fn spellings(name: &'static str) -> impl Iterator<Item = String> {
    let mut camel = String::new();
    let mut begins_word = false;
    for character in name.chars() {
        match character {
            '_' => begins_word = true,
            other if begins_word => {
                camel.push(other.to_ascii_uppercase());
                begins_word = false;
            }
            other => camel.push(other),
        }
    }
    // As Buildbot writes it.
    let url = camel.strip_suffix("Url").map(|begin| format!("{begin}URL"));
    let mut all = vec![name.to_owned(), camel, name.replace('_', "-")];
    all.extend(url);
    all.dedup();
    all.into_iter()
}

/// `HaltOnFailure`, `Halt-On-Failure`, `Halt_On_Failure`, `HALT-ON-FAILURE`, `HALT_ON_FAILURE`; `TitleURL`.
fn other_spellings(name: &'static str) -> impl Iterator<Item = String> {
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    let with_url = |word: &str| if word == "url" { "URL".to_owned() } else { capital(word) };
    let spelled = |each: &dyn Fn(&str) -> String, between: &str| {
        name.split('_').map(each).collect::<Vec<_>>().join(between)
    };
    let mut all: Vec<String> = ["", "-", "_"]
        .into_iter()
        .flat_map(|between| [spelled(&capital, between), spelled(&with_url, between)])
        .chain(["-", "_"].map(|between| spelled(&str::to_ascii_uppercase, between)))
        .collect();
    all.sort();
    all.dedup();
    all.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::canonical;

    #[test]
    fn every_spelling_is_one_that_the_reader_takes() {
        for table in OF_MASTER.iter().copied().chain([&WORKER_FILE]) {
            for name in table.attributes.iter().flat_map(Attribute::names) {
                for spelling in spellings(name).chain(other_spellings(name)) {
                    assert_eq!(canonical(&spelling), name, "{spelling}");
                }
            }
        }
        assert!(spellings("title_url").any(|spelling| spelling == "titleURL"));
        let others: Vec<String> = other_spellings("title_url").collect();
        let expected = [
            "TITLE-URL",
            "TITLE_URL",
            "Title-URL",
            "Title-Url",
            "TitleURL",
            "TitleUrl",
            "Title_URL",
            "Title_Url",
        ];
        assert_eq!(others, expected);
    }
}
