//! What to say of a name that nothing has.

/// Names that are like this one, or all if they are few; to be put behind a sentence.
pub(crate) fn hint<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let list = |names: &[&str]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let is_near = |other: &&str| !name.is_empty() && other.to_lowercase().contains(&name.to_lowercase());
    let near: Vec<&str> = names.iter().copied().filter(is_near).collect();
    match (near.is_empty(), names.len()) {
        (false, _) => format!("; did you mean {}?", list(&near)),
        (true, 0) => "; none is configured".to_owned(),
        (true, 1..=20) => format!("; there are {}", list(&names)),
        (true, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_contain_it_are_hinted_at_or_all_where_they_are_few() {
        assert_eq!(hint("UNI", ["unit", "docs"]), "; did you mean `unit`?");
        assert_eq!(hint("x", ["unit", "docs"]), "; there are `unit`, `docs`");
        assert_eq!((hint("x", []), hint("x", ["y"; 21])), ("; none is configured".to_owned(), String::new()));
    }
}
