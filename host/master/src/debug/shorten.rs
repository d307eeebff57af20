//! Makes what the console shows short enough to be read: it is looked at, not worked with.

use serde_json::Value as Json;

/// A text has so many characters at most.
const TEXT: usize = 2_000;

/// A list of numbers alone, as bytes are, so many.
const NUMBERS: usize = 16;

/// Any other list so many.
const LIST: usize = 1_000;

/// Cuts what is long, and says so in its place.
pub(super) fn shorten(value: &mut Json) {
    match value {
        Json::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(TEXT) {
                let more = text.len() - end;
                text.truncate(end);
                text.push_str(&format!("... and {more} bytes more"));
            }
        }
        Json::Array(items) => {
            if items.len() > NUMBERS && items.iter().all(Json::is_number) {
                *value = format!("{} numbers", items.len()).into();
                return;
            }
            let more = items.len().saturating_sub(LIST);
            items.truncate(LIST);
            items.iter_mut().for_each(shorten);
            if more > 0 {
                items.push(format!("... and {more} more").into());
            }
        }
        Json::Object(entries) => entries.values_mut().for_each(shorten),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_long_is_cut_and_what_is_short_stays() {
        let mut value = json!({ "bytes": vec![1; 100], "few": [1, 2], "text": "ä".repeat(3_000), "list": vec!["x"; 1_002] });
        shorten(&mut value);
        assert_eq!((&value["bytes"], &value["few"]), (&json!("100 numbers"), &json!([1, 2])));
        let text = value["text"].as_str().unwrap();
        assert!(text.ends_with("ä... and 2000 bytes more"), "{text}");
        let list = value["list"].as_array().unwrap();
        assert_eq!((list.len(), &list[1_000]), (1_001, &json!("... and 2 more")));
    }
}
