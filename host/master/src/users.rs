//! Who wrote what: authors of changes as users. Rows stay as they came; users are those of the configuration of now.

use std::collections::BTreeMap;

use windlass_core::change::Change;
use windlass_core::record::BuildRow;
use windlass_core::user::Users;
use windlass_store::{ReadError, Store};

use crate::build_driver;
use crate::view;

/// So many of a build's newest changes are looked at for its authors.
const CHANGES_LOOKED_AT: usize = 20;

/// So many of the newest changes are looked at for what users wrote.
const RECENT: usize = 1_000;

/// Who wrote a build's changes, or else who forced it; each once, the newest change's first.
pub(crate) fn authors(store: &Store, row: &BuildRow, users: &Users) -> Vec<String> {
    named(&build_driver::changes(store, row, CHANGES_LOOKED_AT), row, users)
}

/// The same of changes that are at hand, the newest last.
pub(crate) fn named(changes: &[Change], row: &BuildRow, users: &Users) -> Vec<String> {
    let name = |author: &str| users.find(author).map_or_else(|| author.to_owned(), |user| user.name.clone());
    let mut authors: Vec<String> = Vec::new();
    for change in changes.iter().rev() {
        let author = name(&change.author);
        if !authors.contains(&author) {
            authors.push(author);
        }
    }
    if authors.is_empty()
        && let Some(owner) = row.properties.get("owner").map(windlass_core::value::Value::to_text)
        && !owner.is_empty()
    {
        authors.push(name(&owner));
    }
    authors
}

/// Users with what they wrote lately: one, or all. Empty: nobody is called so.
pub(crate) fn list(store: &Store, users: &Users, name: Option<&str>) -> Result<Vec<view::User>, ReadError> {
    let mut recent: BTreeMap<&str, (u64, Option<view::UserChange>)> = BTreeMap::new();
    for change in store.changes(RECENT)? {
        let Some(user) = users.find(&change.author) else { continue };
        let (count, last) = recent.entry(&user.name).or_default();
        *count += 1;
        // The newest come first.
        last.get_or_insert_with(|| view::UserChange {
            id: change.id.0,
            author: change.author.clone(),
            revision: change.revision.clone(),
            when: change.when,
        });
    }
    let asked = users.list().iter().filter(|user| name.is_none_or(|name| user.name == name));
    let shown = asked.map(|user| {
        let (count, last) = recent.remove(user.name.as_str()).unwrap_or_default();
        let user = user.clone();
        view::User {
            name: user.name,
            full_name: user.full_name,
            emails: user.emails,
            identities: user.identities,
            recent: count,
            last,
        }
    });
    Ok(shown.collect())
}
