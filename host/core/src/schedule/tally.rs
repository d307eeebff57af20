//! What came of each configured use of a policy. One hook may serve many builders; each counts for itself.

use std::collections::BTreeMap;

use super::Rules;
use crate::digest::Digest;
use crate::policy::{Fault, HookKind};

/// A use: the kind, the hook as configured, the builder.
type Use = (HookKind, String, Option<String>);

/// The tallies of all uses that came to something.
#[derive(Debug, Default)]
pub(super) struct Tallies(BTreeMap<Use, Tally>);

/// What came of one use, since its bytes were loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// The bytes that it speaks of; none: no loaded plugin had the hook.
    digest: Option<Digest>,
    pub(super) answers: u64,
    pub(super) faults: u64,
    pub(super) skipped: u64,
    pub(super) fallbacks: u64,
    pub(super) last_fault: Option<String>,
}

impl Tallies {
    /// Other rules hold: uses that are gone, or whose bytes are, are forgotten.
    pub(super) fn reloaded(&mut self, rules: &Rules) {
        let used: BTreeMap<Use, Option<Digest>> = rules
            .uses()
            .map(|(kind, policy, builder)| {
                let digest = rules.components.get(&(kind, policy.hook.clone())).map(|c| c.digest);
                ((kind, policy.hook.clone(), builder.map(str::to_owned)), digest)
            })
            .collect();
        self.0.retain(|key, tally| used.get(key) == Some(&tally.digest));
    }

    /// The tally of a use; empty if nothing came of it yet.
    pub(super) fn get(&self, kind: HookKind, hook: &str, builder: Option<&str>) -> Tally {
        self.0.get(&(kind, hook.to_owned(), builder.map(str::to_owned))).cloned().unwrap_or_default()
    }

    /// The tally of a use that is asked now, or would be: it speaks of these bytes, as the rules do.
    pub(super) fn asked(
        &mut self,
        kind: HookKind,
        hook: &str,
        builder: Option<&str>,
        digest: Option<Digest>,
    ) -> &mut Tally {
        let key = (kind, hook.to_owned(), builder.map(str::to_owned));
        let tally = self.0.entry(key).or_default();
        if tally.digest != digest {
            *tally = Tally { digest, ..Tally::default() };
        }
        tally
    }

    /// The tally of a use that was asked. None: what is to be counted was asked of a plugin that has been
    /// replaced since.
    pub(super) fn answered(
        &mut self,
        kind: HookKind,
        hook: &str,
        builder: Option<&str>,
        digest: Digest,
    ) -> Option<&mut Tally> {
        let key = (kind, hook.to_owned(), builder.map(str::to_owned));
        self.0.get_mut(&key).filter(|tally| tally.digest == Some(digest))
    }
}

impl Tally {
    /// A call gave no answer that made sense.
    pub(super) fn failed(&mut self, fault: &Fault) {
        self.faults += 1;
        self.fallbacks += 1;
        self.last_fault = Some(fault.brief());
    }

    /// It was not asked, as it is suspended.
    pub(super) fn skip(&mut self) {
        self.skipped += 1;
        self.fallbacks += 1;
    }

    /// It was not asked, as there is no such hook.
    pub(super) fn missed(&mut self) {
        self.fallbacks += 1;
        self.last_fault = Some("no loaded plugin has this hook".to_owned());
    }
}
