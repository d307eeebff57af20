//! Who wrote what: authors of changes as users. Rows stay as they came; users are those of the configuration of now.

use std::collections::BTreeMap;

use windlass_core::id::ChangeId;
use windlass_core::record::BuildRow;
use windlass_core::user::Users;
use windlass_store::{ReadError, Store};

use crate::build_driver;
use crate::view;

/// So many of a build's newest changes are looked at for its authors.
const CHANGES_LOOKED_AT: usize = 20;

/// So many of the newest changes are looked at for what users wrote.
const RECENT: usize = 1_000;

/// Who wrote the changes of each of these builds, or else who forced it; each once, the newest change's first. Changes are read
/// once for all builds that have them.
pub(crate) fn authors(store: &Store, rows: &[BuildRow], users: &Users) -> Vec<Vec<String>> {
    let of_builds: Vec<Vec<ChangeId>> =
        rows.iter().map(|row| build_driver::newest_changes(row, CHANGES_LOOKED_AT)).collect();
    let mut authors = BTreeMap::new();
    build_driver::each_change(store, of_builds.iter().flatten().copied(), |change| {
        authors.insert(change.id, change.author);
    });
    let one = |(ids, row): (&Vec<ChangeId>, &BuildRow)| {
        named(ids.iter().filter_map(|id| authors.get(id)).map(String::as_str), row, users)
    };
    of_builds.iter().zip(rows).map(one).collect()
}

/// The same of the authors of one build's changes, the newest last.
pub(crate) fn named<'a>(
    authors: impl DoubleEndedIterator<Item = &'a str>,
    row: &BuildRow,
    users: &Users,
) -> Vec<String> {
    let name = |author: &str| users.find(author).map_or_else(|| author.to_owned(), |user| user.name.clone());
    let mut names: Vec<String> = Vec::new();
    for author in authors.rev() {
        let author = name(author);
        if !names.contains(&author) {
            names.push(author);
        }
    }
    if names.is_empty()
        && let Some(owner) = row.properties.get("owner").map(windlass_core::value::Value::to_text)
        && !owner.is_empty()
    {
        names.push(name(&owner));
    }
    names
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

#[cfg(test)]
mod tests {
    use windlass_core::change::SourceStamp;
    use windlass_core::id::BuildId;
    use windlass_core::persist::Persist;
    use windlass_core::value::Value;

    use super::*;
    use crate::intake::tests::change;

    #[tokio::test]
    async fn builds_of_a_list_have_their_own_authors_the_newest_change_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), windlass_store::Options::default()).unwrap();
        let names = ["ana", "ben", "ana", "eve"];
        let changes = (1..).zip(names).map(|(id, name)| Persist::AddChange(change(id, name))).collect();
        store.commit(changes).await.unwrap();
        let build = |id: u64, changes: &[u64], owner: &str| {
            let changes = changes.iter().copied().map(ChangeId).collect();
            let stamps = vec![SourceStamp { changes, ..SourceStamp::default() }];
            let mut row = BuildRow { id: BuildId(id), stamps, ..build_driver::tests::row() };
            row.properties.set("owner", Value::Text(owner.to_owned()), "Force");
            row
        };
        // The third change is in two of them; the last of the second build is gone.
        let rows =
            [build(4, &[1, 2, 3], ""), build(3, &[3, 4, 9], ""), build(2, &[], "zoe"), build(1, &[9], "")];
        let expected: [&[&str]; 4] = [&["ana", "ben"], &["eve", "ana"], &["zoe"], &[]];
        assert_eq!(authors(&store, &rows, &Users::default()), expected);
    }
}
