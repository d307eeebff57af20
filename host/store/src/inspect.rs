//! Looks at tables as they are, for people who look for a fault: how large each is, single rows by their keys, and all rows
//! a page at a time, with those that are damaged.
//!
//! Nothing here reads a large table in one go: each look has a bound, and a page says where the next one begins.
//!
//! - `keys`: keys as text; `said`: what a row says, and whether it can be read

mod keys;
mod said;

use std::ops::Bound;
use std::time::{Duration, Instant};

use redb::ReadOnlyTable;

use crate::fault::ReadError;
use crate::{Store, disk};

pub(crate) use keys::{Shown, Written};

/// Rows of a table that are read between two looks at the time, where only their bytes are counted.
const AT_ONCE: u64 = 1_000;

/// How large a table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Its name, as in `docs/store.md`.
    pub name: &'static str,
    /// Its rows.
    pub rows: u64,
    /// The bytes of their keys and values; none: there was no time to count them.
    pub bytes: Option<u64>,
}

/// What stands under a key.
#[derive(Clone, Debug, PartialEq)]
pub enum RawRow {
    /// No table is called so. These are.
    NoTable(&'static [&'static str]),
    /// The text is no key of this table; keys look like this.
    NoKey(&'static str),
    /// There is no such row.
    Missing,
    /// A row of bytes.
    Bytes {
        /// Its key as [`Store::rows`] lists it, however it was asked for.
        key: String,
        /// As they are.
        bytes: Vec<u8>,
        /// What it says where it has an encoding of its own.
        said: Option<String>,
        /// Why it cannot be read; none: it can.
        damage: Option<String>,
    },
    /// A row of numbers and texts.
    Plain(String),
}

/// Which rows of a table are listed.
#[derive(Clone, Copy, Debug)]
pub struct PageOf<'a> {
    /// Those behind this key; none: from the first on.
    pub after: Option<&'a str>,
    /// At most so many.
    pub limit: usize,
    /// Only those that cannot be read.
    pub damaged: bool,
    /// Rows are looked at for so long, and one at least.
    pub patience: Duration,
}

/// Rows of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Rows {
    /// No table is called so. These are.
    NoTable(&'static [&'static str]),
    /// What they are to be behind is no key of this table; keys look like this.
    NoKey(&'static str),
    /// These.
    Page(Page),
}

/// Some rows of a table, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// They themselves.
    pub rows: Vec<ListedRow>,
    /// So many were looked at.
    pub looked_at: u64,
    /// There are more behind this key; none: this was the end.
    pub more_after: Option<String>,
}

/// A row in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedRow {
    /// Its key, as [`Store::raw`] takes it.
    pub key: String,
    /// The bytes of key and value.
    pub bytes: u64,
    /// Why it cannot be read; none: it can.
    pub damage: Option<String>,
}

impl Store {
    /// How large each table is. To count bytes reads the whole table: after `patience` only rows are counted.
    pub fn tables(&self, patience: Duration) -> Result<Vec<TableSize>, ReadError> {
        self.snapshot()?.sizes(Instant::now() + patience)
    }

    /// The row of a table under a key: as [`Store::rows`] lists it, or written by hand, its parts with `,` in between.
    pub fn raw(&self, table: &str, key: &str) -> Result<RawRow, ReadError> {
        let row = self.snapshot()?.raw(table, key)?;
        let RawRow::Bytes { key, bytes, .. } = row else { return Ok(row) };
        let (said, damage) = match said::said(table, &key, &bytes) {
            Ok(said) => (said, None),
            Err(damage) => (None, Some(damage.to_string())),
        };
        Ok(RawRow::Bytes { key, bytes, said, damage })
    }

    /// Rows of a table, from one key on.
    pub fn rows(&self, table: &str, of: PageOf<'_>) -> Result<Rows, ReadError> {
        let until = Instant::now() + of.patience;
        let (mut page, mut last, mut is_end) = (Page::default(), None, true);
        let walk = self.snapshot()?.walk(table, of.after, &mut |row| {
            if page.rows.len() >= of.limit || (page.looked_at > 0 && Instant::now() >= until) {
                is_end = false;
                return false;
            }
            page.looked_at += 1;
            let damage = row.value.and_then(|value| said::said(table, &row.key, value).err());
            let damage = damage.map(|damage| damage.to_string());
            last = Some(row.key.clone());
            if damage.is_some() || !of.damaged {
                page.rows.push(ListedRow { key: row.key, bytes: row.bytes, damage });
            }
            true
        })?;
        page.more_after = last.filter(|_| !is_end);
        Ok(match walk {
            Walk::NoTable(names) => Rows::NoTable(names),
            Walk::NoKey(form) => Rows::NoKey(form),
            Walk::Done => Rows::Page(page),
        })
    }

    /// How many bytes are left on the disk of the state; none: nobody can say.
    #[must_use]
    pub fn room(&self) -> Option<u64> {
        disk(self.folder()).ok()
    }
}

/// A row that is walked by.
pub(crate) struct Passed<'r> {
    key: String,
    bytes: u64,
    /// None: there is nothing to read.
    value: Option<&'r [u8]>,
}

/// How a walk went.
pub(crate) enum Walk {
    NoTable(&'static [&'static str]),
    NoKey(&'static str),
    Done,
}

/// Goes through the rows of a table behind a key, until `take` has had enough of them.
pub(crate) fn walk<K: Written, V: Shown>(
    table: &ReadOnlyTable<K, V>,
    after: Option<&str>,
    take: &mut dyn FnMut(Passed<'_>) -> bool,
) -> Result<Walk, ReadError> {
    let after = match after.map(K::read) {
        None => None,
        Some(Some(read)) => Some(read),
        Some(None) => return Ok(Walk::NoKey(K::FORM)),
    };
    let first = after.as_ref().map_or(Bound::Unbounded, |read| Bound::Excluded(K::key(read)));
    for row in table.range::<K::SelfType<'_>>((first, Bound::Unbounded))? {
        let (key, value) = row?;
        let (key, value) = (key.value(), value.value());
        let bytes = K::as_bytes(&key).as_ref().len() + V::as_bytes(&value).as_ref().len();
        let passed = Passed { key: K::write(&key), bytes: bytes as u64, value: V::encoded(&value) };
        if !take(passed) {
            break;
        }
    }
    Ok(Walk::Done)
}

/// The bytes of all keys and values of a table; none: there was no time to count them.
pub(crate) fn bytes_of<K: Written, V: Shown>(
    table: &ReadOnlyTable<K, V>,
    until: Instant,
) -> Result<Option<u64>, ReadError> {
    let (mut rows, mut bytes) = (0_u64, 0);
    for row in table.range::<K::SelfType<'_>>(..)? {
        if rows.is_multiple_of(AT_ONCE) && Instant::now() >= until {
            return Ok(None);
        }
        let (key, value) = row?;
        let (key, value) = (key.value(), value.value());
        bytes += (K::as_bytes(&key).as_ref().len() + V::as_bytes(&value).as_ref().len()) as u64;
        rows += 1;
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use windlass_core::id::{BuildId, Fence, StepId};
    use windlass_core::master::Master;
    use windlass_core::outcome::Outcome;
    use windlass_core::persist::Persist;
    use windlass_core::time::Timestamp;

    use super::*;
    use crate::Options;
    use crate::test_rows::*;

    #[tokio::test]
    async fn rows_are_found_by_keys_as_text_and_tables_counted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let state = Persist::PutState { owner: "o".into(), key: "k".into(), value: Some(b"v".to_vec()) };
        store.commit(vec![buildset(1, &[1, 2]), token(3), state]).await.unwrap();
        let sizes = store.tables(Duration::from_secs(60)).unwrap();
        let rows = |name: &str| sizes.iter().find(|table| table.name == name).unwrap().clone();
        assert_eq!((rows("waiting").rows, rows("builds").rows), (2, 0));
        assert!(rows("waiting").bytes.is_some_and(|bytes| bytes > 80));
        let hurried = store.tables(Duration::ZERO).unwrap();
        assert!(hurried.iter().all(|table| table.rows == 0 || table.bytes.is_none()));

        let raw = |table: &str, key: &str| store.raw(table, key).unwrap();
        for asked in ["o,k", " o , k", "%6f,%6B"] {
            let (key, bytes) = ("o,k".to_owned(), b"v".to_vec());
            let row = RawRow::Bytes { key, bytes, said: None, damage: None };
            assert_eq!(raw("state", asked), row, "{asked}");
        }
        let RawRow::Bytes { said: Some(said), .. } = raw("waiting", "2") else { panic!("it waits") };
        assert!(said.contains("RequestId(2)"), "{said}");
        let RawRow::Bytes { bytes, said: Some(said), .. } = raw("worker_tokens", "w1,3") else {
            panic!("it is there")
        };
        assert!(bytes.len() == 50 && said.contains("number: TokenId(3)"), "{said}");
        assert_eq!(raw("pending_counts", "check"), RawRow::Plain("2".into()));
        assert_eq!(raw("waiting", "9"), RawRow::Missing);
        assert_eq!(raw("waiting", "nine"), RawRow::NoKey("NUMBER"));
        assert_eq!(raw("state", "o"), RawRow::NoKey("two parts, as `1,2`"));
        assert_eq!(raw("plans", &"0".repeat(64)), RawRow::Missing);
        assert_eq!(raw("plans", "0"), RawRow::NoKey("DIGEST"));
        assert!(matches!(raw("tables", "1"), RawRow::NoTable(names) if names.contains(&"waiting")));
    }

    fn page(
        store: &Store,
        table: &str,
        after: Option<&str>,
        limit: usize,
        damaged: bool,
    ) -> (Vec<String>, Option<String>) {
        let of = PageOf { after, limit, damaged, patience: Duration::from_secs(60) };
        let Rows::Page(page) = store.rows(table, of).unwrap() else { panic!("there is such a table") };
        (page.rows.into_iter().map(|row| row.key).collect(), page.more_after)
    }

    /// Symptom: who looked for a damaged row got an error in its place, or waited for a table of any length. Cure: a page
    /// has an end and says where the next one begins, and a damaged row is shown as one.
    #[tokio::test]
    async fn rows_come_by_pages_and_damaged_ones_are_shown_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        store.commit(vec![buildset(1, &(1..=7).collect::<Vec<_>>()), token(3)]).await.unwrap();
        let transaction = crate::writer::begin(&store.0.database).unwrap();
        {
            use crate::tables::{BUILDSETS, WAITING};
            transaction.open_table(WAITING).unwrap().insert(5, b"?".as_slice()).unwrap();
            transaction.open_table(BUILDSETS).unwrap().insert(1, [1, 2].as_slice()).unwrap();
        }
        transaction.commit().unwrap();
        let texts = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        let page = |table, after, limit, damaged| page(&store, table, after, limit, damaged);
        assert_eq!(page("waiting", None, 4, false), (texts(&["1", "2", "3", "4"]), Some("4".to_owned())));
        assert_eq!(page("waiting", Some("4"), 4, false), (texts(&["5", "6", "7"]), None));
        assert_eq!(page("waiting", None, 3, false).1.as_deref(), Some("3"));
        assert_eq!(page("waiting", None, 7, false).1, None, "no page is empty");
        assert_eq!(page("waiting", None, 4, true), (texts(&["5"]), None));
        assert_eq!(page("buildsets", None, 4, true), (texts(&["1"]), None));
        assert_eq!(page("pending", None, 1, false).1.as_deref(), Some("check,2147483647,1,1"));
        assert_eq!(
            page("pending", Some("check,2147483647,1,6"), 9, false),
            (texts(&["check,2147483647,1,7"]), None)
        );
        assert_eq!(page("worker_tokens", None, 9, false), (texts(&["w1,3"]), None));

        // Where time is short, one row is looked at.
        let of = PageOf { after: None, limit: 9, damaged: true, patience: Duration::ZERO };
        let Rows::Page(short) = store.rows("waiting", of).unwrap() else { panic!("there is such a table") };
        assert_eq!((short.rows.len(), short.looked_at, short.more_after.as_deref()), (0, 1, Some("1")));
        assert!(
            matches!(store.rows("tables", of).unwrap(), Rows::NoTable(names) if names.contains(&"waiting"))
        );
        let of = PageOf { after: Some("x"), ..of };
        assert_eq!(store.rows("waiting", of).unwrap(), Rows::NoKey("NUMBER"));

        let RawRow::Bytes { bytes, said: None, damage: Some(damage), .. } =
            store.raw("waiting", "5").unwrap()
        else {
            panic!("it is damaged")
        };
        assert!(bytes == b"?" && damage.contains("the row 5 of table `waiting`"), "{damage}");
        let RawRow::Bytes { damage: Some(damage), .. } = store.raw("buildsets", "1").unwrap() else {
            panic!("it is damaged")
        };
        assert!(damage.contains("the row 1 of table `buildsets`"), "{damage}");
    }

    #[tokio::test]
    async fn a_list_goes_on_behind_each_key_that_it_showed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let state = |owner: &str| {
            let (owner, key) = (owner.to_owned(), "k".to_owned());
            Persist::PutState { owner, key, value: Some(Vec::new()) }
        };
        store.commit(["a,b", "a ", "a", " a"].map(state).into()).await.unwrap();
        let (mut keys, mut after) = page(&store, "state", None, 1, false);
        while let Some(last) = after {
            let (next, more) = page(&store, "state", Some(&last), 1, false);
            keys.extend(next);
            after = more;
        }
        assert_eq!(keys, ["%20a,k", "a,k", "a%20,k", "a%2cb,k"]);
    }

    /// A row of each kind is read as what it is: none of them counts as damaged.
    #[tokio::test]
    async fn whole_rows_of_all_tables_are_none_that_are_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        store.report_to(vec![crate::reports_tests::reader("all", &[])]);
        let (plan, (fence, build, step)) = (plan("check"), (Fence(1), BuildId(1), StepId(1)));
        let master = Master { id: ME, name: "m".into(), active: true, last_active: Timestamp(1) };
        let new =
            [Persist::PutMaster(master), Persist::AddChange(change(1)), buildset(1, &[1, 2, 3]), token(3)];
        store.commit(new.into()).await.unwrap();
        let begun =
            [claim(&[1], 1), put_plan(&plan), build_by(1, &[1], 1, &plan), decided(decision(1, 1, 5))];
        store.commit(begun.into()).await.unwrap();
        let mut rows = tests(1, 1, 0, 1);
        rows.swap(0, 1);
        rows.extend([added(1, 1, 1), stop(1, true, None, "why", 1)]);
        rows.extend([log(1, 1, false, 1), artifact(1, 1, "app", 5, 1)]);
        rows.push(Persist::PutMark { fence, build, step, command: 1, mark: mark() });
        let entries = Arc::new(entries());
        rows.push(Persist::AppendJournal { fence, build, step, piece: 0, entries });
        rows.push(Persist::PutStatistic { fence, build, step, name: "a,b".into(), value: 0.5 });
        store.commit(rows).await.unwrap();
        let end = complete(&[2], 2, Outcome::Success);
        store.commit(vec![append(1, 1, 1, 0, "hello\n"), claim(&[2], 2), end]).await.unwrap();
        for table in store.tables(Duration::from_secs(60)).unwrap() {
            let (damaged, more) = page(&store, table.name, None, 9, true);
            assert_eq!((damaged, more), (vec![], None), "{}", table.name);
            let (rows, _) = page(&store, table.name, None, 99, false);
            assert_eq!(rows.len() as u64, table.rows, "{}", table.name);
            for key in rows {
                assert_ne!(store.raw(table.name, &key).unwrap(), RawRow::Missing, "{} {key}", table.name);
            }
        }
    }
}
