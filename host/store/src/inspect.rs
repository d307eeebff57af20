//! Looks at tables as they are, for people who look for a fault: how large each is, and single rows by their keys.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use redb::{Key, Value};
use windlass_core::digest::Digest;

use crate::encode;
use crate::fault::ReadError;
use crate::tokens::to_token;
use crate::{Store, disk};

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
    /// A row of bytes, and what it says where it has an encoding of its own.
    Bytes(Vec<u8>, Option<String>),
    /// A row of numbers and texts.
    Plain(String),
}

impl Store {
    /// How large each table is. To count bytes reads the whole table: after `patience` only rows are counted.
    pub fn tables(&self, patience: Duration) -> Result<Vec<TableSize>, ReadError> {
        self.snapshot()?.sizes(Instant::now() + patience)
    }

    /// The row of a table under a key: its parts as text, with `,` in between.
    pub fn raw(&self, table: &str, key: &str) -> Result<RawRow, ReadError> {
        let row = self.snapshot()?.raw(table, &key.split(',').map(str::trim).collect::<Vec<_>>())?;
        let RawRow::Bytes(bytes, _) = row else { return Ok(row) };
        let said = explicit(table, key, &bytes)?;
        Ok(RawRow::Bytes(bytes, said))
    }

    /// How many bytes are left on the disk of the state; none: nobody can say.
    #[must_use]
    pub fn room(&self) -> Option<u64> {
        disk(self.folder()).ok()
    }
}

/// What a row says that has an encoding of its own.
fn explicit(table: &str, key: &str, bytes: &[u8]) -> Result<Option<String>, ReadError> {
    let number = || key.trim().parse().unwrap_or_default();
    Ok(match table {
        "waiting" => Some(format!("{:?}", encode::to_request("waiting", number(), bytes)?)),
        "held" => Some(format!("{:?}", encode::to_request("held", number(), bytes)?)),
        "done" => Some(format!("{:?}", encode::to_request("done", number(), bytes)?)),
        "buildset_states" => Some(format!("{:?}", encode::to_buildset_state(number(), bytes)?)),
        "live" => Some(format!("{:?}", encode::to_live(number(), bytes)?)),
        "log_pieces" => Some(format!("{:?}", encode::to_piece((0, 0), bytes)?)),
        "worker_tokens" => {
            let (worker, token) = key.split_once(',').unwrap_or((key, ""));
            let token = to_token((worker.trim(), token.trim().parse().unwrap_or_default()), bytes)?;
            Some(format!("{token:?}"))
        }
        _ => None,
    })
}

/// Where a key of a table is put together.
pub(crate) type Scratch = OnceCell<[u8; 32]>;

/// A key, or a part of one, that is written as text.
pub(crate) trait Written: Key + 'static {
    /// How it is written.
    const FORM: &'static str;

    fn read<'k>(parts: &[&'k str], scratch: &'k Scratch) -> Option<Self::SelfType<'k>>;
}

macro_rules! parsed {
    ($($number:ty => $form:literal),*) => {$(
        impl Written for $number {
            const FORM: &'static str = $form;

            fn read<'k>(parts: &[&'k str], _: &'k Scratch) -> Option<Self::SelfType<'k>> {
                let [part] = parts else { return None };
                part.parse().ok()
            }
        }
    )*};
}

parsed!(u64 => "NUMBER", u32 => "NUMBER");

impl Written for &'static str {
    const FORM: &'static str = "TEXT";

    fn read<'k>(parts: &[&'k str], _: &'k Scratch) -> Option<Self::SelfType<'k>> {
        let [part] = parts else { return None };
        Some(part)
    }
}

impl Written for &'static [u8; 32] {
    const FORM: &'static str = "DIGEST";

    fn read<'k>(parts: &[&'k str], scratch: &'k Scratch) -> Option<Self::SelfType<'k>> {
        let [part] = parts else { return None };
        let digest: Digest = part.parse().ok()?;
        Some(scratch.get_or_init(|| *digest.as_bytes()))
    }
}

macro_rules! tuples {
    ($($form:literal: $($name:ident $at:tt),*;)*) => {$(
        impl<$($name: Written),*> Written for ($($name,)*) {
            const FORM: &'static str = $form;

            fn read<'k>(parts: &[&'k str], scratch: &'k Scratch) -> Option<Self::SelfType<'k>> {
                const LENGTH: usize = [$($at),*].len();
                if parts.len() != LENGTH {
                    return None;
                }
                Some(($($name::read(&parts[$at..=$at], scratch)?,)*))
            }
        }
    )*};
}

tuples! {
    "two parts, as `1,2`": A 0, B 1;
    "three parts, as `1,2,3`": A 0, B 1, C 2;
    "four parts, as `builder,1,2,3`": A 0, B 1, C 2, D 3;
}

/// A value that is shown.
pub(crate) trait Shown: Value + 'static {
    fn shown(value: Self::SelfType<'_>) -> RawRow;
}

impl Shown for &'static [u8] {
    fn shown(value: Self::SelfType<'_>) -> RawRow {
        RawRow::Bytes(value.to_vec(), None)
    }
}

macro_rules! plain {
    ($($value:ty),*) => {$(
        impl Shown for $value {
            fn shown(value: Self::SelfType<'_>) -> RawRow {
                RawRow::Plain(format!("{value:?}"))
            }
        }
    )*};
}

plain!((), u64, f64, (u64, u64), (u64, u64, u64), (u64, &'static str));

#[cfg(test)]
mod tests {
    use windlass_core::persist::Persist;

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
        assert!(store.tables(Duration::ZERO).unwrap().iter().all(|table| table.bytes.is_none()));

        let raw = |table: &str, key: &str| store.raw(table, key).unwrap();
        assert_eq!(raw("state", "o, k"), RawRow::Bytes(b"v".to_vec(), None));
        let RawRow::Bytes(_, Some(said)) = raw("waiting", "2") else { panic!("it waits") };
        assert!(said.contains("RequestId(2)"), "{said}");
        let RawRow::Bytes(bytes, Some(said)) = raw("worker_tokens", "w1,3") else { panic!("it is there") };
        assert!(bytes.len() == 50 && said.contains("number: TokenId(3)"), "{said}");
        assert_eq!(raw("pending_counts", "check"), RawRow::Plain("2".into()));
        assert_eq!(raw("waiting", "9"), RawRow::Missing);
        assert_eq!(raw("waiting", "nine"), RawRow::NoKey("NUMBER"));
        assert_eq!(raw("state", "o"), RawRow::NoKey("two parts, as `1,2`"));
        assert_eq!(raw("plans", &"0".repeat(64)), RawRow::Missing);
        assert_eq!(raw("plans", "0"), RawRow::NoKey("DIGEST"));
        assert!(matches!(raw("tables", "1"), RawRow::NoTable(names) if names.contains(&"waiting")));
    }
}
