//! Tokens of workers that commands made.

use redb::ReadableTable;
use windlass_core::digest::Digest;
use windlass_core::id::TokenId;
use windlass_core::time::Timestamp;
use windlass_core::worker_token::WorkerToken;

use crate::Store;
use crate::batch::Group;
use crate::encode::{Reader, VERSION, damaged};
use crate::fault::ReadError;

const TABLE: &str = "worker_tokens";

impl Store {
    /// Returns all tokens of workers, by worker and number, and those whose rows are damaged: nobody can connect with them.
    pub fn worker_tokens(&self) -> Result<(Vec<WorkerToken>, Vec<Damaged>), ReadError> {
        let (mut tokens, mut damaged) = (Vec::new(), Vec::new());
        for row in self.snapshot()?.worker_tokens()?.iter()? {
            let (key, row) = row?;
            match to_token(key.value(), row.value()) {
                Ok(token) => tokens.push(token),
                Err(_) => damaged.push((key.value().0.to_owned(), TokenId(key.value().1))),
            }
        }
        Ok((tokens, damaged))
    }
}

/// A token that cannot be read: its worker and its number.
type Damaged = (String, TokenId);

impl Group<'_> {
    pub(crate) fn put_token(&mut self, token: &WorkerToken) -> Result<(), ReadError> {
        self.marks.token(token.number);
        let key = (token.worker.as_str(), token.number.0);
        self.tables.worker_tokens.write()?.insert(key, encode(token).as_slice())?;
        Ok(())
    }

    pub(crate) fn use_token(
        &mut self,
        worker: &str,
        number: TokenId,
        at: Timestamp,
    ) -> Result<(), ReadError> {
        let key = (worker, number.0);
        let row = match self.tables.worker_tokens.read()?.get(key)? {
            Some(row) => match to_token(key, row.value()) {
                Ok(token) => token,
                // Nobody came by it.
                Err(_) => return Ok(()),
            },
            // It was revoked meanwhile.
            None => return Ok(()),
        };
        self.put_token(&WorkerToken { used: Some(at), ..row })
    }

    pub(crate) fn drop_tokens(&mut self, tokens: &[(String, TokenId)]) -> Result<(), ReadError> {
        for (worker, number) in tokens {
            self.tables.worker_tokens.write()?.remove((worker.as_str(), number.0))?;
        }
        Ok(())
    }
}

/// All of a token but its key.
fn encode(token: &WorkerToken) -> [u8; 50] {
    let mut bytes = [0; 50];
    bytes[0] = VERSION;
    bytes[1..33].copy_from_slice(token.hash.as_bytes());
    bytes[33..41].copy_from_slice(&token.made.0.to_le_bytes());
    if let Some(used) = token.used {
        bytes[41] = 1;
        bytes[42..50].copy_from_slice(&used.0.to_le_bytes());
    }
    bytes
}

pub(crate) fn to_token(key: (&str, u64), bytes: &[u8]) -> Result<WorkerToken, ReadError> {
    let decode = || {
        let mut from = Reader(bytes);
        from.version()?;
        let hash = Digest::from_bytes(from.bytes()?);
        let made = Timestamp(from.u64()?);
        let (was_used, at) = (from.u8()? == 1, Timestamp(from.u64()?));
        let (worker, number) = (key.0.to_owned(), TokenId(key.1));
        Some(WorkerToken { number, worker, hash, made, used: was_used.then_some(at) })
    };
    decode().ok_or_else(|| damaged(TABLE, key))
}

#[cfg(test)]
mod tests {
    use windlass_core::persist::Persist;

    use super::*;
    use crate::Options;

    fn token(worker: &str, number: u64) -> WorkerToken {
        let hash = Digest::of(&number.to_le_bytes());
        WorkerToken { number: TokenId(number), worker: worker.into(), hash, made: Timestamp(7), used: None }
    }

    #[tokio::test]
    async fn tokens_are_kept_used_and_taken_away_and_no_number_comes_twice() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let ids: Vec<u64> = (0..3).map(|_| store.ids().next_token().0).collect();
        assert_eq!(ids, [1, 2, 3]);
        let add = |worker, number| Persist::AddToken(token(worker, number));
        store.commit(vec![add("w2", 1), add("w1", 2), add("w1", 3)]).await.unwrap();
        let used = |worker: &str, token| Persist::UseToken {
            worker: worker.into(),
            token: TokenId(token),
            at: Timestamp(9),
        };
        // The last one is nobody's, and stays so.
        store.commit(vec![used("w1", 2), used("w1", 1)]).await.unwrap();
        store
            .commit(vec![Persist::DropTokens(vec![("w1".into(), TokenId(3)), ("w9".into(), TokenId(1))])])
            .await
            .unwrap();
        let rows = [WorkerToken { used: Some(Timestamp(9)), ..token("w1", 2) }, token("w2", 1)];
        assert_eq!(store.worker_tokens().unwrap(), (rows.to_vec(), vec![]));
        drop(store);
        let store = Store::open(folder.path(), Options::default()).unwrap();
        assert_eq!(store.worker_tokens().unwrap(), (rows.to_vec(), vec![]));
        assert_eq!(store.ids().next_token(), TokenId(4), "3 is gone, and its number with it");
        assert_eq!(store.verify().unwrap(), [""; 0]);
    }

    /// Symptom: no master started. Cause: the damaged row of one token. Cure: that token counts nowhere.
    #[tokio::test]
    async fn a_damaged_row_costs_its_own_token() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        store
            .commit(vec![Persist::AddToken(token("w1", 1)), Persist::AddToken(token("w1", 2))])
            .await
            .unwrap();
        drop(store);
        {
            let database = redb::Database::open(folder.path().join("store.redb")).unwrap();
            let write = database.begin_write().unwrap();
            let table = crate::tables::WORKER_TOKENS;
            write.open_table(table).unwrap().insert(("w1", 1), b"?".as_slice()).unwrap();
            write.commit().unwrap();
        }
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let used = Persist::UseToken { worker: "w1".into(), token: TokenId(1), at: Timestamp(9) };
        store.commit(vec![used]).await.unwrap();
        let damaged = vec![("w1".to_owned(), TokenId(1))];
        assert_eq!(store.worker_tokens().unwrap(), (vec![token("w1", 2)], damaged.clone()));
        assert_eq!(store.verify().unwrap(), ["token 1 of worker `w1` cannot be read"]);
        store.commit(vec![Persist::DropTokens(damaged)]).await.unwrap();
        assert_eq!(store.verify().unwrap(), [""; 0]);
    }

    #[test]
    fn a_short_or_foreign_row_is_an_error_that_names_it() {
        for bytes in [&[][..], &[1; 49], &[9; 50]] {
            let error = to_token(("w1", 4), bytes).unwrap_err().to_string();
            assert!(error.contains("`worker_tokens`"), "{error}");
        }
    }
}
