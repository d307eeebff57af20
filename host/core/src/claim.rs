//! Who may work on a request: claims, their fences, and how a request ends.
//!
//! A claim is all or nothing and carries a fence, larger than every fence its requests have seen.
//! Each later write of the build shows that fence, so a straggler whose claim has passed on is
//! refused by number, never by timing. The functions here change the rows they are given; the store
//! calls them within one transaction, a test or a simulator on a map.
//!
//! A claim stays in a completed request, as history. A claim since moment 0 counts as none.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{BuildId, Fence, MasterId, RequestId};
use crate::outcome::Outcome;
use crate::persist::Refusal;
use crate::request::{Claim, Completed, Request};
use crate::time::Timestamp;

/// Requests by id. A function is given those of its requests that exist; more do no harm.
pub type Rows = BTreeMap<RequestId, Request>;

/// Returns who holds the request: its claim, unless it is complete.
#[must_use]
pub fn holder(request: &Request) -> Option<&Claim> {
    match (&request.claim, &request.complete) {
        (Some(claim), None) if claim.at != Timestamp(0) => Some(claim),
        (Some(_), None | Some(_)) | (None, None | Some(_)) => None,
    }
}

/// Returns whether the request waits to be claimed.
#[must_use]
pub fn is_pending(request: &Request) -> bool {
    request.complete.is_none() && holder(request).is_none()
}

/// Claims all of `requests`, or none: each must exist, be pending, be named once, and have seen no
/// fence as large as this.
pub fn claim(
    rows: &mut Rows,
    requests: &[RequestId],
    master: MasterId,
    fence: Fence,
    at: Timestamp,
) -> Result<(), Refusal> {
    for (i, id) in requests.iter().enumerate() {
        let row = rows.get(id).filter(|row| is_pending(row)).ok_or(Refusal::AlreadyClaimed(*id))?;
        if requests[..i].contains(id) {
            return Err(Refusal::AlreadyClaimed(*id));
        }
        if fence <= row.last_fence {
            return Err(Refusal::OldFence { request: *id, offered: fence, newest: row.last_fence });
        }
    }
    for id in requests {
        let row = rows.get_mut(id).expect("looked up above");
        row.claim = Some(Claim { master, fence, at });
        row.last_fence = fence;
    }
    Ok(())
}

/// Gives back those of `requests` that are held under `fence`, and returns them. The others are left
/// alone: to give back what one no longer has is no error.
pub fn unclaim(rows: &mut Rows, requests: &[RequestId], fence: Fence) -> Vec<RequestId> {
    let mut freed = Vec::new();
    for id in requests {
        if let Some(row) = rows.get_mut(id)
            && holder(row).is_some_and(|claim| claim.fence == fence)
        {
            row.claim = None;
            freed.push(*id);
        }
    }
    freed
}

/// Renews the claim of all of `requests`, or of none: each must be held under `fence`. Its `at` is now
/// this moment.
pub fn renew(rows: &mut Rows, requests: &[RequestId], fence: Fence, at: Timestamp) -> Result<(), Refusal> {
    for id in requests {
        if rows.get(id).and_then(holder).is_none_or(|claim| claim.fence != fence) {
            return Err(Refusal::NotClaimed { request: *id, fence });
        }
    }
    for id in requests {
        let row = rows.get_mut(id).expect("looked up above");
        row.claim = Some(Claim { at, ..row.claim.expect("held, as looked up above") });
    }
    Ok(())
}

/// Gives all of `requests` this priority, or none: each must exist and not be complete. A row that has
/// another priority than before is a new version.
pub fn prioritize(rows: &mut Rows, requests: &[RequestId], priority: i32) -> Result<(), Refusal> {
    if let Some(id) = requests.iter().find(|id| rows.get(id).is_none_or(|row| row.complete.is_some())) {
        return Err(Refusal::NotOpen(*id));
    }
    for id in requests {
        let row = rows.get_mut(id).expect("looked up above");
        if row.priority != priority {
            row.priority = priority;
            row.version += 1;
        }
    }
    Ok(())
}

/// Takes away every claim of `rows` that is `overdue`, with all that its master holds under the same fence,
/// and returns the requests by that fence. They have seen `fence` then, so that whoever held them is refused
/// by number from now on, even before somebody else claims them.
pub fn expire(
    rows: &mut Rows,
    overdue: impl Fn(&Claim) -> bool,
    fence: Fence,
) -> Result<BTreeMap<Fence, Vec<RequestId>>, Refusal> {
    let held = |row: &Request| holder(row).copied();
    let claims: BTreeSet<(MasterId, Fence)> =
        rows.values().filter_map(held).filter(&overdue).map(|claim| (claim.master, claim.fence)).collect();
    let mut freed: BTreeMap<Fence, Vec<RequestId>> = BTreeMap::new();
    for row in rows.values() {
        if let Some(claim) = held(row).filter(|claim| claims.contains(&(claim.master, claim.fence))) {
            if fence <= row.last_fence {
                return Err(Refusal::OldFence { request: row.id, offered: fence, newest: row.last_fence });
            }
            freed.entry(claim.fence).or_default().push(row.id);
        }
    }
    for id in freed.values().flatten() {
        let row = rows.get_mut(id).expect("it came from there");
        row.claim = None;
        row.last_fence = fence;
    }
    Ok(freed)
}

/// Completes all of `requests`, or none: each must be held under `fence` and be named once.
pub fn complete(
    rows: &mut Rows,
    requests: &[RequestId],
    fence: Fence,
    outcome: Outcome,
    at: Timestamp,
) -> Result<(), Refusal> {
    for (i, id) in requests.iter().enumerate() {
        let held = rows.get(id).and_then(holder).is_some_and(|claim| claim.fence == fence);
        if !held || requests[..i].contains(id) {
            return Err(Refusal::NotClaimed { request: *id, fence });
        }
        if outcome == Outcome::Retry {
            return Err(Refusal::RetryIsNoEnd(*id));
        }
    }
    for id in requests {
        rows.get_mut(id).expect("looked up above").complete = Some(Completed { outcome, at });
    }
    Ok(())
}

/// Checks that a write of `build`, which serves `requests`, may go through under `fence`.
///
/// The newest fence of its requests counts, not whether they are still held: a build that has given
/// its requests back or completed them may still write its last row, until somebody claims them anew.
pub fn may_write(rows: &Rows, build: BuildId, requests: &[RequestId], fence: Fence) -> Result<(), Refusal> {
    for id in requests {
        let newest = rows.get(id).map_or(Fence(0), |row| row.last_fence);
        if fence < newest {
            return Err(Refusal::StaleFence { build, offered: fence, current: newest });
        }
        if fence > newest {
            return Err(Refusal::NotClaimed { request: *id, fence });
        }
    }
    Ok(())
}

/// How far a buildset is, without a look at its other requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Requests that are not complete.
    pub open: u64,
    /// The worst outcome so far; success where there is none worse.
    pub worst: Outcome,
}

impl Progress {
    /// A new buildset of `requests` requests.
    #[must_use]
    pub fn new(requests: usize) -> Progress {
        Progress { open: requests as u64, worst: Outcome::Success }
    }

    /// One more request is complete.
    pub fn add(&mut self, outcome: Outcome) {
        self.open = self.open.checked_sub(1).expect("BUG: more requests were completed than a buildset has");
        self.worst = self.worst.worst(outcome);
    }

    /// How the buildset ended, once no request is open.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        (self.open == 0).then_some(self.worst)
    }
}

#[cfg(test)]
mod tests;
