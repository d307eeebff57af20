//! A request as Buildbot's connector shows it, and which of them somebody asks for: values only, so that
//! any store can stand behind them.
//!
//! [`Wanted`] has the connector's own conditions, [`ResultSpec`] what a reader of an API adds: filters,
//! order, a page and fields. [`Wanted::takes`] and [`ResultSpec::page`] say what is meant; a store may find
//! the same answer in a shorter way.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::change::SourceStamp;
use crate::id::{BuilderId, BuildsetId, MasterId, RequestId};
use crate::outcome::Outcome;
use crate::request::Request;
use crate::time::Timestamp;

/// A request, field by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number.
    pub buildrequestid: RequestId,
    /// The buildset it belongs to.
    pub buildsetid: BuildsetId,
    /// Its builder's number, the same for good.
    pub builderid: BuilderId,
    /// Its builder's name.
    pub buildername: String,
    /// Larger is sooner.
    pub priority: i32,
    /// Whether somebody claimed it; true of a complete one that was.
    pub claimed: bool,
    /// When it was claimed last, or the claim renewed.
    pub claimed_at: Option<Timestamp>,
    /// Who claimed it.
    pub claimed_by_masterid: Option<MasterId>,
    /// Whether it is complete.
    pub complete: bool,
    /// When it was completed.
    pub complete_at: Option<Timestamp>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// How it ended.
    pub results: Option<Outcome>,
    /// Whether a running build waits for it.
    pub waited_for: bool,
}

impl Record {
    /// The record of a request of the builder with this number.
    #[must_use]
    pub fn of(request: &Request, builderid: BuilderId) -> Record {
        // A claim since moment 0 counts as none.
        let claim = request.claim.filter(|claim| claim.at != Timestamp(0));
        Record {
            buildrequestid: request.id,
            buildsetid: request.buildset,
            builderid,
            buildername: request.builder.clone(),
            priority: request.priority,
            claimed: claim.is_some(),
            claimed_at: claim.map(|claim| claim.at),
            claimed_by_masterid: claim.map(|claim| claim.master),
            complete: request.complete.is_some(),
            complete_at: request.complete.map(|complete| complete.at),
            submitted_at: request.submitted,
            results: request.complete.map(|complete| complete.outcome),
            waited_for: request.waited_for,
        }
    }

    /// One of its fields.
    #[must_use]
    pub fn get(&self, field: Field) -> Datum {
        let number = |n: u64| Datum::Number(i64::try_from(n).unwrap_or(i64::MAX));
        let moment = |at: Option<Timestamp>| at.map_or(Datum::Nothing, |at| number(at.0));
        match field {
            Field::Buildrequestid => number(self.buildrequestid.0),
            Field::Buildsetid => number(self.buildsetid.0),
            Field::Builderid => number(self.builderid.0),
            Field::Buildername => Datum::Text(self.buildername.clone()),
            Field::Priority => Datum::Number(self.priority.into()),
            Field::Claimed => Datum::Flag(self.claimed),
            Field::ClaimedAt => moment(self.claimed_at),
            Field::ClaimedByMasterid => self.claimed_by_masterid.map_or(Datum::Nothing, |id| number(id.0)),
            Field::Complete => Datum::Flag(self.complete),
            Field::CompleteAt => moment(self.complete_at),
            Field::SubmittedAt => number(self.submitted_at.0),
            Field::Results => self.results.map_or(Datum::Nothing, |outcome| number(outcome.code().into())),
            Field::WaitedFor => Datum::Flag(self.waited_for),
        }
    }
}

/// The fields of a [`Record`], under its names for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is the field of `Record` with its name")]
pub enum Field {
    Buildrequestid,
    Buildsetid,
    Builderid,
    Buildername,
    Priority,
    Claimed,
    ClaimedAt,
    ClaimedByMasterid,
    Complete,
    CompleteAt,
    SubmittedAt,
    Results,
    WaitedFor,
}

impl Field {
    /// All, in the order of [`Record`].
    pub const ALL: [Field; 13] = [
        Field::Buildrequestid,
        Field::Buildsetid,
        Field::Builderid,
        Field::Buildername,
        Field::Priority,
        Field::Claimed,
        Field::ClaimedAt,
        Field::ClaimedByMasterid,
        Field::Complete,
        Field::CompleteAt,
        Field::SubmittedAt,
        Field::Results,
        Field::WaitedFor,
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Field::Buildrequestid => "buildrequestid",
            Field::Buildsetid => "buildsetid",
            Field::Builderid => "builderid",
            Field::Buildername => "buildername",
            Field::Priority => "priority",
            Field::Claimed => "claimed",
            Field::ClaimedAt => "claimed_at",
            Field::ClaimedByMasterid => "claimed_by_masterid",
            Field::Complete => "complete",
            Field::CompleteAt => "complete_at",
            Field::SubmittedAt => "submitted_at",
            Field::Results => "results",
            Field::WaitedFor => "waited_for",
        }
    }

    /// The field with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Field> {
        Field::ALL.into_iter().find(|field| field.as_str() == name)
    }
}

/// What a field holds, and what it is compared with. Moments are milliseconds since 1970, results are
/// [`Outcome::code`]s. Nothing sorts first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Datum {
    /// It has none.
    Nothing,
    /// Yes or no.
    Flag(bool),
    /// A number.
    Number(i64),
    /// Text.
    Text(String),
}

impl Datum {
    /// As a JSON value.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Datum::Nothing => serde_json::Value::Null,
            Datum::Flag(flag) => (*flag).into(),
            Datum::Number(number) => (*number).into(),
            Datum::Text(text) => text.as_str().into(),
        }
    }

    /// How it compares with another of its kind.
    fn against(&self, other: &Datum) -> Option<Ordering> {
        match (self, other) {
            (Datum::Flag(a), Datum::Flag(b)) => Some(a.cmp(b)),
            (Datum::Number(a), Datum::Number(b)) => Some(a.cmp(b)),
            (Datum::Text(a), Datum::Text(b)) => Some(a.cmp(b)),
            (Datum::Nothing | Datum::Flag(_) | Datum::Number(_) | Datum::Text(_), _) => None,
        }
    }
}

/// How a field must stand to the values of a filter. Those of order hold for one of the values, and never
/// where the field holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// It is one of them.
    Eq,
    /// It is none of them.
    Ne,
    /// It is less.
    Lt,
    /// It is less, or equal.
    Le,
    /// It is greater.
    Gt,
    /// It is greater, or equal.
    Ge,
    /// Its text contains one of them.
    Contains,
}

/// A condition on one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The field.
    pub field: Field,
    /// How it must stand to the values.
    pub operator: Operator,
    /// The values.
    pub values: Vec<Datum>,
}

impl Filter {
    /// Whether `record` passes.
    #[must_use]
    pub fn takes(&self, record: &Record) -> bool {
        let held = record.get(self.field);
        let compares = |wanted: fn(Ordering) -> bool| {
            self.values.iter().any(|value| held.against(value).is_some_and(wanted))
        };
        match self.operator {
            Operator::Eq => self.values.contains(&held),
            Operator::Ne => !self.values.contains(&held),
            Operator::Lt => compares(Ordering::is_lt),
            Operator::Le => compares(Ordering::is_le),
            Operator::Gt => compares(Ordering::is_gt),
            Operator::Ge => compares(Ordering::is_ge),
            Operator::Contains => self.values.iter().any(|value| match (&held, value) {
                (Datum::Text(text), Datum::Text(part)) => text.contains(part.as_str()),
                (Datum::Nothing | Datum::Flag(_) | Datum::Number(_) | Datum::Text(_), _) => false,
            }),
        }
    }
}

/// One key of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The field.
    pub field: Field,
    /// The largest first.
    pub descending: bool,
}

/// What a reader adds to what it wants: all filters hold; then the order, by number where it leaves two
/// equal; then a page of it; of each record these fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResultSpec {
    /// All of them hold.
    pub filters: Vec<Filter>,
    /// The first key counts most.
    pub order: Vec<Order>,
    /// So many are left out at the beginning.
    pub offset: usize,
    /// At most so many; none: all.
    pub limit: Option<usize>,
    /// Which fields are shown; empty: all.
    pub fields: Vec<Field>,
}

impl ResultSpec {
    /// Whether all filters take the record.
    #[must_use]
    pub fn takes(&self, record: &Record) -> bool {
        self.filters.iter().all(|filter| filter.takes(record))
    }

    /// The values of a filter that this field must be one of, if there is one.
    #[must_use]
    pub fn equal_to(&self, field: Field) -> Option<&[Datum]> {
        let of = |filter: &&Filter| filter.field == field && filter.operator == Operator::Eq;
        self.filters.iter().find(of).map(|filter| filter.values.as_slice())
    }

    /// Whether the order is that of the numbers, and then whether the largest comes first: whoever finds
    /// records so may stop when the page is full.
    #[must_use]
    pub fn by_number(&self) -> Option<bool> {
        match self.order.as_slice() {
            [] => Some(false),
            [first, ..] => (first.field == Field::Buildrequestid).then_some(first.descending),
        }
    }

    /// How many of the first records in its order hold the whole page.
    #[must_use]
    pub fn reach(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit.saturating_add(self.offset))
    }

    /// The page of these records.
    #[must_use]
    pub fn page(&self, mut records: Vec<Record>) -> Vec<Record> {
        records.sort_by(|a, b| {
            let keys = self.order.iter().map(|order| {
                let ascending = a.get(order.field).cmp(&b.get(order.field));
                if order.descending { ascending.reverse() } else { ascending }
            });
            keys.fold(Ordering::Equal, Ordering::then).then(a.buildrequestid.cmp(&b.buildrequestid))
        });
        records.into_iter().skip(self.offset).take(self.limit.unwrap_or(usize::MAX)).collect()
    }

    /// The fields of a record that are to be shown, as a JSON object.
    #[must_use]
    pub fn shown(&self, record: &Record) -> serde_json::Map<String, serde_json::Value> {
        let fields = if self.fields.is_empty() { &Field::ALL[..] } else { &self.fields };
        fields.iter().map(|field| (field.as_str().to_owned(), record.get(*field).to_json())).collect()
    }
}

/// Whether and by whom a request is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claimed {
    /// Nobody claimed it, and it is not complete.
    No,
    /// Somebody did, be it complete or not.
    Yes,
    /// This master did, be it complete or not.
    By(MasterId),
}

/// Which requests: all conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of this builder.
    pub buildername: Option<String>,
    /// Complete, or not.
    pub complete: Option<bool>,
    /// Claimed, or not.
    pub claimed: Option<Claimed>,
    /// Of this buildset.
    pub bsid: Option<BuildsetId>,
    /// With a source stamp of this branch.
    pub branch: Option<String>,
    /// With a source stamp of this repository.
    pub repository: Option<String>,
    /// Filters, order, page and fields.
    pub spec: ResultSpec,
}

impl Wanted {
    /// Whether the record is one of them, but for its source.
    #[must_use]
    pub fn takes(&self, record: &Record) -> bool {
        let claimed = |claimed: Claimed| match claimed {
            Claimed::No => !record.claimed && !record.complete,
            Claimed::Yes => record.claimed,
            Claimed::By(master) => record.claimed_by_masterid == Some(master),
        };
        self.buildername.as_ref().is_none_or(|name| *name == record.buildername)
            && self.complete.is_none_or(|complete| complete == record.complete)
            && self.claimed.is_none_or(claimed)
            && self.bsid.is_none_or(|id| id == record.buildsetid)
            && self.spec.takes(record)
    }

    /// Whether [`Wanted::takes_source`] asks for anything.
    #[must_use]
    pub fn asks_for_source(&self) -> bool {
        self.branch.is_some() || self.repository.is_some()
    }

    /// Whether a buildset of these source stamps is one of them: each condition holds for one of the stamps.
    #[must_use]
    pub fn takes_source(&self, stamps: &[SourceStamp]) -> bool {
        let any = |holds: &dyn Fn(&SourceStamp) -> bool| stamps.iter().any(holds);
        self.branch.as_ref().is_none_or(|branch| any(&|stamp| stamp.branch.as_ref() == Some(branch)))
            && self.repository.as_ref().is_none_or(|wanted| any(&|stamp| stamp.repository == *wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Fence;
    use crate::request::{Claim, Completed};

    /// Request `id` of builder `b<id % 2>`, priority `id % 3`; every fourth is complete.
    fn record(id: u64) -> Record {
        let complete =
            id.is_multiple_of(4).then_some(Completed { outcome: Outcome::Failure, at: Timestamp(9) });
        let request = Request {
            id: RequestId(id),
            buildset: BuildsetId(1),
            builder: format!("b{}", id % 2),
            priority: i32::try_from(id % 3).unwrap(),
            version: 1,
            submitted: Timestamp(1_000 + id),
            waited_for: false,
            claim: complete.map(|_| Claim { master: MasterId(7), fence: Fence(1), at: Timestamp(5) }),
            last_fence: Fence(1),
            complete,
        };
        Record::of(&request, BuilderId(id % 2 + 1))
    }

    fn page(spec: ResultSpec) -> Vec<u64> {
        let taken = (1..=9).map(record).filter(|record| spec.takes(record)).collect();
        spec.page(taken).iter().map(|record| record.buildrequestid.0).collect()
    }

    fn filtered(field: Field, operator: Operator, values: &[Datum]) -> Vec<u64> {
        let filters = vec![Filter { field, operator, values: values.to_vec() }];
        page(ResultSpec { filters, ..ResultSpec::default() })
    }

    #[test]
    fn filters_compare_fields_with_values_of_their_kind() {
        let number = Datum::Number;
        let text = |text: &str| Datum::Text(text.to_owned());
        for (field, operator, values, expected) in [
            (Field::Priority, Operator::Eq, &[number(2)][..], &[2, 5, 8][..]),
            (Field::Priority, Operator::Eq, &[number(2), number(0)], &[2, 3, 5, 6, 8, 9]),
            (Field::Priority, Operator::Ne, &[number(2), number(0)], &[1, 4, 7]),
            (Field::Buildrequestid, Operator::Lt, &[number(3)], &[1, 2]),
            (Field::Buildrequestid, Operator::Le, &[number(3)], &[1, 2, 3]),
            (Field::SubmittedAt, Operator::Gt, &[number(1_007)], &[8, 9]),
            (Field::SubmittedAt, Operator::Ge, &[number(1_008)], &[8, 9]),
            (Field::Buildername, Operator::Contains, &[text("1")], &[1, 3, 5, 7, 9]),
            (Field::Buildername, Operator::Eq, &[text("b0"), text("none")], &[2, 4, 6, 8]),
            (Field::Complete, Operator::Eq, &[Datum::Flag(true)], &[4, 8]),
            (Field::Results, Operator::Eq, &[number(2)], &[4, 8]),
            (Field::Results, Operator::Eq, &[Datum::Nothing], &[1, 2, 3, 5, 6, 7, 9]),
            (Field::CompleteAt, Operator::Ge, &[number(0)], &[4, 8]),
            (Field::Priority, Operator::Eq, &[text("2")], &[]),
            (Field::Priority, Operator::Contains, &[number(2)], &[]),
            (Field::Priority, Operator::Eq, &[], &[]),
        ] {
            assert_eq!(filtered(field, operator, values), expected, "{field:?} {operator:?} {values:?}");
        }
    }

    #[test]
    fn a_page_comes_in_order_of_all_keys_and_then_of_the_number() {
        let by = |field, descending| Order { field, descending };
        let order = vec![by(Field::Priority, true), by(Field::Complete, false)];
        let all = ResultSpec { order, ..ResultSpec::default() };
        assert_eq!(page(all.clone()), [2, 5, 8, 1, 7, 4, 3, 6, 9]);
        let some = ResultSpec { offset: 2, limit: Some(3), ..all };
        assert_eq!((some.reach(), page(some)), (5, vec![8, 1, 7]));
        let newest = ResultSpec { order: vec![by(Field::Buildrequestid, true)], ..ResultSpec::default() };
        assert_eq!((newest.by_number(), page(newest)), (Some(true), (1..=9).rev().collect()));
    }

    #[test]
    fn only_the_fields_that_were_asked_for_are_shown() {
        let spec = ResultSpec {
            fields: vec![Field::Results, Field::Buildername, Field::ClaimedByMasterid],
            ..ResultSpec::default()
        };
        let shown = serde_json::to_string(&spec.shown(&record(4))).unwrap();
        assert_eq!(shown, r#"{"buildername":"b0","claimed_by_masterid":7,"results":2}"#);
        assert_eq!(ResultSpec::default().shown(&record(1)).len(), Field::ALL.len());
        assert!(Field::ALL.iter().all(|field| Field::named(field.as_str()) == Some(*field)));
    }

    #[test]
    fn a_claim_since_moment_zero_is_none_to_readers_too() {
        let mut request = Request {
            id: RequestId(1),
            buildset: BuildsetId(1),
            builder: "b".into(),
            priority: 0,
            version: 1,
            submitted: Timestamp(1),
            waited_for: true,
            claim: Some(Claim { master: MasterId(7), fence: Fence(1), at: Timestamp(0) }),
            last_fence: Fence(1),
            complete: None,
        };
        let wanted = Wanted { claimed: Some(Claimed::No), ..Wanted::default() };
        assert!(wanted.takes(&Record::of(&request, BuilderId(1))));
        request.claim = Some(Claim { at: Timestamp(1), ..request.claim.unwrap() });
        assert!(!wanted.takes(&Record::of(&request, BuilderId(1))));
    }
}
