//! Records of decisions: in the order of their numbers, found by request, within a budget of age and size.
//!
//! A commit that adds some takes the oldest away that are beyond the budget, a few at a time, so that no commit
//! has much to do; a budget that was lowered is met little by little.

use redb::ReadableTable;
use windlass_core::decision::{Budget, Decision};
use windlass_core::id::{DecisionId, RequestId};
use windlass_core::time::Timestamp;

use crate::Store;
use crate::batch::Group;
use crate::encode::{self, unpack};
use crate::fault::ReadError;
use crate::tables::Snapshot;

/// So many are taken away in one commit, or twice as many as it adds if that is more.
const TRIMMED: usize = 32;

/// The row of `sums` with the bytes of all records.
pub(crate) const BYTES: &str = "decisions";

/// What a group adds to the records.
#[derive(Debug, Default)]
pub(crate) struct Added {
    count: usize,
    bytes: u64,
    newest: Timestamp,
}

impl Store {
    /// Returns the record of a decision.
    pub fn decision(&self, id: DecisionId) -> Result<Option<Decision>, ReadError> {
        read(&self.snapshot()?, id.0)
    }

    /// Returns the newest `limit` decisions that touched a request, oldest first.
    pub fn decisions_of_request(&self, id: RequestId, limit: usize) -> Result<Vec<Decision>, ReadError> {
        let snapshot = self.snapshot()?;
        let mut decisions = Vec::new();
        for row in snapshot.decisions_by_request()?.range((id.0, 0)..=(id.0, u64::MAX))?.rev().take(limit) {
            decisions.extend(read(&snapshot, row?.0.value().1)?);
        }
        decisions.reverse();
        Ok(decisions)
    }

    /// Returns the newest `limit` decisions, or those before one of them, newest first.
    pub fn decisions_before(
        &self,
        before: Option<DecisionId>,
        limit: usize,
    ) -> Result<Vec<Decision>, ReadError> {
        let end = before.map_or(u64::MAX, |before| before.0);
        let mut decisions = Vec::new();
        for row in self.snapshot()?.decisions()?.range(..end)?.rev().take(limit) {
            let (id, row) = row?;
            decisions.push(unpack("decisions", id.value(), row.value())?);
        }
        Ok(decisions)
    }
}

fn read(snapshot: &Snapshot, id: u64) -> Result<Option<Decision>, ReadError> {
    let row = snapshot.decisions()?.get(id)?;
    row.map(|row| unpack("decisions", id, row.value())).transpose()
}

impl Group<'_> {
    /// Puts a record with its place in the index. One that is there stays as it is.
    pub(crate) fn put_decision(&mut self, decision: &Decision) -> Result<(), ReadError> {
        if self.tables.decisions.read()?.get(decision.id.0)?.is_some() {
            return Ok(());
        }
        let row = encode::pack_lean(decision);
        self.marks.decision(decision.id);
        self.decided.count += 1;
        self.decided.bytes += row.len() as u64;
        self.decided.newest = self.decided.newest.max(decision.at);
        self.tables.decisions.write()?.insert(decision.id.0, row.as_slice())?;
        for request in decision.about() {
            self.tables.decisions_by_request.write()?.insert((request.0, decision.id.0), ())?;
        }
        Ok(())
    }

    /// Takes the oldest away that are beyond the budget, if any were added.
    pub(crate) fn trim_decisions(&mut self, budget: Budget) -> Result<(), ReadError> {
        let Added { count, bytes, newest } = std::mem::take(&mut self.decided);
        if count == 0 {
            return Ok(());
        }
        let before = self.tables.sums.read()?.get(BYTES)?.map_or(0, |bytes| bytes.value());
        let mut held = before + bytes;
        for _ in 0..TRIMMED.max(2 * count) {
            let Some((id, row)) = self.oldest()? else { break };
            let record = unpack::<Decision>("decisions", id, &row);
            let is_old = record.as_ref().is_ok_and(|r| r.at.plus_ms(budget.max_age_ms) < newest);
            if held <= budget.max_bytes && !is_old {
                break;
            }
            held = held.saturating_sub(row.len() as u64);
            self.tables.decisions.write()?.remove(id)?;
            match record {
                Ok(record) => {
                    for request in record.about() {
                        self.tables.decisions_by_request.write()?.remove((request.0, id))?;
                    }
                }
                // It goes all the same: whoever looks for it by a request finds that it is gone.
                Err(error) => tracing::error!(%error, "a damaged record of a decision was removed"),
            }
        }
        self.tables.sums.write()?.insert(BYTES, held)?;
        Ok(())
    }

    /// The oldest record, unless it is the only one.
    fn oldest(&mut self) -> Result<Option<(u64, Vec<u8>)>, ReadError> {
        let table = self.tables.decisions.read()?;
        let mut rows = table.iter()?;
        let oldest = rows.next().transpose()?;
        let another = rows.next().transpose()?;
        Ok(oldest.zip(another).map(|((id, row), _)| (id.value(), row.value().to_owned())))
    }
}
