//! The masters that share a store: who is there, and whose claims are overdue.

use serde::{Deserialize, Serialize};

use crate::id::MasterId;
use crate::persist::Refusal;
use crate::request::Claim;
use crate::time::Timestamp;

/// A master is taken for dead when nothing was heard of it for so long, in milliseconds.
pub const SILENT_MS: u64 = 600_000;

/// One of the masters that share a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Master {
    /// Its number.
    pub id: MasterId,
    /// Its name, unique among them.
    pub name: String,
    /// Whether it runs, as far as the others know.
    pub active: bool,
    /// When it was heard last.
    pub last_active: Timestamp,
}

impl Master {
    /// It was heard. A word that comes late changes nothing but that it runs.
    pub fn heard(&mut self, at: Timestamp) {
        self.active = true;
        self.last_active = self.last_active.max(at);
    }

    /// It is taken for dead, unless it was heard after `silent_since`.
    pub fn bury(&mut self, silent_since: Timestamp) -> Result<(), Refusal> {
        if self.last_active > silent_since {
            return Err(Refusal::MasterAlive { master: self.id, last_active: self.last_active.0 });
        }
        self.active = false;
        Ok(())
    }
}

/// Which claims are to be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// All of a master that was not heard after this moment; no other's. It is inactive then.
    Master {
        /// The master.
        master: MasterId,
        /// Refused if it was heard after this.
        silent_since: Timestamp,
    },
    /// Those that were neither made nor renewed since this moment, whoever holds them.
    Claims {
        /// The moment.
        before: Timestamp,
    },
}

impl Overdue {
    /// Whether this claim is one of them.
    #[must_use]
    pub fn takes(&self, claim: &Claim) -> bool {
        match self {
            Overdue::Master { master, silent_since: _ } => claim.master == *master,
            Overdue::Claims { before } => claim.at < *before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Fence;

    #[test]
    fn a_master_that_was_heard_since_is_not_buried() {
        let mut master =
            Master { id: MasterId(2), name: "b".into(), active: true, last_active: Timestamp(50) };
        let alive = Refusal::MasterAlive { master: MasterId(2), last_active: 50 };
        assert_eq!(master.bury(Timestamp(49)), Err(alive));
        assert_eq!((master.bury(Timestamp(50)), master.active), (Ok(()), false));
        master.heard(Timestamp(40));
        assert_eq!((master.active, master.last_active), (true, Timestamp(50)));
    }

    #[test]
    fn another_masters_claims_are_never_overdue_with_a_dead_ones() {
        let claim = |master, at| Claim { master: MasterId(master), fence: Fence(1), at: Timestamp(at) };
        let dead = Overdue::Master { master: MasterId(2), silent_since: Timestamp(9) };
        assert_eq!([dead.takes(&claim(2, 1)), dead.takes(&claim(1, 1))], [true, false]);
        let old = Overdue::Claims { before: Timestamp(9) };
        assert_eq!([old.takes(&claim(1, 8)), old.takes(&claim(2, 9))], [true, false]);
    }
}
