//! How much a plan lists.

use super::{Change, Field};

/// So many things.
const MOST_CHANGES: usize = 10_000;
/// So many fields of each.
const MOST_FIELDS: usize = 100;
/// So many bytes of a value.
const MOST_OF_VALUE: usize = 2_000;
/// So many bytes of names and values in all.
const MOST_BYTES: usize = 8 << 20;

/// What changes, as far as there is room.
#[derive(Default)]
pub(super) struct Changes {
    pub listed: Vec<Change>,
    /// How many there was no room for.
    pub left_out: u64,
    bytes: usize,
}

impl Changes {
    /// Adds one, or counts it. Once one was left out all that follow are, so that what is listed has no gaps.
    pub fn add(&mut self, mut change: Change) {
        change.fields_left_out = change.fields.len().saturating_sub(MOST_FIELDS) as u64;
        change.fields.truncate(MOST_FIELDS);
        for Field { old, new, .. } in &mut change.fields {
            old.iter_mut().chain(new).for_each(|value| *value = cut(value, MOST_OF_VALUE).into_owned());
        }
        self.bytes += change.name.len() + change.fields.iter().map(bytes).sum::<usize>();
        match self.left_out == 0 && self.listed.len() < MOST_CHANGES && self.bytes <= MOST_BYTES {
            true => self.listed.push(change),
            false => self.left_out += 1,
        }
    }
}

fn bytes(Field { name, old, new }: &Field) -> usize {
    let of = |value: &Option<String>| value.as_ref().map_or(0, String::len);
    name.len() + of(old) + of(new)
}

/// A value, or its beginning.
pub(super) fn cut(value: &str, most: usize) -> std::borrow::Cow<'_, str> {
    match value.len() > most {
        true => format!("{}…", &value[..value.floor_char_boundary(most)]).into(),
        false => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::How;

    fn change(fields: usize, value: &str) -> Change {
        let field = |n: usize| Field { name: n.to_string(), old: None, new: Some(value.to_owned()) };
        Change {
            how: How::Changed,
            what: "builder".to_owned(),
            name: "b".to_owned(),
            why: Vec::new(),
            effect: String::new(),
            fields: (0..fields).map(field).collect(),
            fields_left_out: 0,
        }
    }

    fn listed(changes: impl Iterator<Item = Change>) -> (usize, u64) {
        let mut all = Changes::default();
        changes.for_each(|change| all.add(change));
        (all.listed.len(), all.left_out)
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        assert_eq!(listed((0..MOST_CHANGES).map(|_| change(1, "1"))), (MOST_CHANGES, 0));
        assert_eq!(listed((0..MOST_CHANGES + 7).map(|_| change(1, "1"))), (MOST_CHANGES, 7));
        let large = "x".repeat(MOST_OF_VALUE * 2);
        let (some, others) = listed((0..1_000).map(|_| change(MOST_FIELDS, &large)).chain([change(0, "")]));
        assert!((30..50).contains(&some) && some as u64 + others == 1_001, "{some} {others}");
    }

    #[test]
    fn a_change_has_so_many_fields_and_so_much_of_their_values() {
        let mut all = Changes::default();
        all.add(change(MOST_FIELDS + 3, &"ä".repeat(MOST_OF_VALUE)));
        let change = &all.listed[0];
        assert_eq!((change.fields.len(), change.fields_left_out), (MOST_FIELDS, 3));
        let value = change.fields[0].new.as_ref().unwrap();
        assert!(value.ends_with("ä…") && value.len() == MOST_OF_VALUE + "…".len(), "{}", value.len());
    }
}
