//! Texts in JSON. A whole JSON writer for the few places that need one would be a tenth of the component.

/// Appends a text in quotes.
pub fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_backslashes_and_control_characters_are_written_out() {
        let mut out = String::new();
        quote(&mut out, "a\"b\\c\nä");
        assert_eq!(out, "\"a\\\"b\\\\c\\u000aä\"");
    }
}
