//! What a running build goes on with when its master was killed: its plan, the steps that joined it, and the order to
//! stop it.
//!
//! Plans are kept once for each digest, for as long as a running build names them. The others go with the build's end;
//! which builds have such rows is known in memory, as a commit that opened these tables for each build that ends would
//! cost more for it.

use std::collections::{BTreeMap, BTreeSet};

use redb::ReadableTable;
use windlass_core::builder::{Builder, StepSpec};
use windlass_core::digest::Digest;
use windlass_core::id::{BuildId, StepId};
use windlass_core::record::{BuildRow, StopRow};

use crate::Store;
use crate::batch::Group;
use crate::encode::{self, unpack};
use crate::fault::{ReadError, missing};
use crate::tables::Snapshot;
use crate::verify::Flaws;

impl Store {
    /// Returns the builder with this digest.
    pub fn plan(&self, digest: &Digest) -> Result<Option<Builder>, ReadError> {
        let row = self.snapshot()?.plans()?.get(digest.as_bytes())?;
        row.map(|row| unpack("plans", digest, row.value())).transpose()
    }

    /// Returns what steps of a running build added to it, by the step.
    pub fn added_steps(&self, build: BuildId) -> Result<BTreeMap<StepId, Vec<StepSpec>>, ReadError> {
        let mut added = BTreeMap::new();
        for row in self.snapshot()?.added_steps()?.range((build.0, 0)..=(build.0, u64::MAX))? {
            let (key, specs) = row?;
            added.insert(StepId(key.value().1), unpack("added_steps", key.value(), specs.value())?);
        }
        Ok(added)
    }

    /// Returns the order to stop a running build, or a step of it.
    pub fn stop_order(&self, build: BuildId) -> Result<Option<StopRow>, ReadError> {
        let row = self.snapshot()?.stops()?.get(build.0)?;
        row.map(|row| unpack("stops", build.0, row.value())).transpose()
    }
}

impl Group<'_> {
    pub(crate) fn put_plan(&mut self, digest: &Digest, builder: &Builder) -> Result<(), ReadError> {
        if self.tables.plans.read()?.get(digest.as_bytes())?.is_none() {
            self.tables.plans.write()?.insert(digest.as_bytes(), encode::pack(builder).as_slice())?;
        }
        Ok(())
    }

    /// Takes away the plans that no running build names. Its cost is what runs.
    pub(crate) fn trim_plans(&mut self) -> Result<(), ReadError> {
        let mut named = BTreeSet::new();
        for row in self.tables.live.read()?.iter()? {
            let id = row?.0.value();
            let row = self.tables.builds.read()?.get(id)?.ok_or_else(|| missing("builds", id))?;
            named.extend(unpack::<BuildRow>("builds", id, row.value())?.plan);
        }
        let unnamed = |digest: &[u8; 32], _: &[u8]| !named.contains(&Digest::from_bytes(*digest));
        for row in self.tables.plans.write()?.extract_if(unnamed)? {
            row?;
        }
        Ok(())
    }

    pub(crate) fn put_added(
        &mut self,
        build: BuildId,
        step: StepId,
        specs: &Vec<StepSpec>,
    ) -> Result<(), ReadError> {
        if self.runs(build)? {
            self.extras.builds.insert(build);
            self.tables.added_steps.write()?.insert((build.0, step.0), encode::pack(specs).as_slice())?;
        }
        Ok(())
    }

    /// Puts the order to stop a build, beside what an earlier one said.
    pub(crate) fn put_stop(&mut self, stop: &StopRow) -> Result<(), ReadError> {
        if self.runs(stop.build)? {
            let stops = self.tables.stops.write()?;
            let before = stops.get(stop.build.0)?.map(|row| unpack("stops", stop.build.0, row.value()));
            let stop = match before.transpose()? {
                Some(before) => stop.clone().after(before),
                None => stop.clone(),
            };
            self.extras.builds.insert(stop.build);
            stops.insert(stop.build.0, encode::pack(&stop).as_slice())?;
        }
        Ok(())
    }

    /// Takes away what a build has no use for any more that has ended.
    pub(crate) fn forget_extras(&mut self, build: BuildId) -> Result<(), ReadError> {
        if self.extras.builds.remove(&build) {
            let of_build = (build.0, 0)..=(build.0, u64::MAX);
            self.tables.added_steps.write()?.retain_in(of_build, |_, _| false)?;
            self.tables.stops.write()?.remove(build.0)?;
        }
        Ok(())
    }

    fn runs(&self, build: BuildId) -> Result<bool, ReadError> {
        Ok(self.tables.live.read()?.get(build.0)?.is_some())
    }
}

/// Who has rows that few have: a commit that opened their tables for all that end would cost more for each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    /// Builds with added steps, or with an order to stop.
    builds: BTreeSet<BuildId>,
    /// Running steps with a journal.
    pub(crate) journals: BTreeSet<(BuildId, StepId)>,
    /// Running steps with marks of their commands.
    pub(crate) marks: BTreeSet<(BuildId, StepId)>,
}

impl Extras {
    pub(crate) fn read(snapshot: &Snapshot) -> Result<Extras, ReadError> {
        let mut extras = Extras::default();
        for row in snapshot.added_steps()?.iter()? {
            extras.builds.insert(BuildId(row?.0.value().0));
        }
        for row in snapshot.stops()?.iter()? {
            extras.builds.insert(BuildId(row?.0.value()));
        }
        for (steps, table) in
            [(&mut extras.journals, snapshot.journal()?), (&mut extras.marks, snapshot.marks()?)]
        {
            for row in table.iter()? {
                let (build, step, _) = row?.0.value();
                steps.insert((BuildId(build), StepId(step)));
            }
        }
        Ok(extras)
    }
}

/// Each running build has the plan that it names, and no other build has anything.
pub(crate) fn check(snapshot: &Snapshot, flaws: &mut Flaws) -> Result<(), ReadError> {
    let (live, plans) = (snapshot.live()?, snapshot.plans()?);
    for row in plans.iter()? {
        let (digest, row) = row?;
        let _readable: Builder = unpack("plans", Digest::from_bytes(*digest.value()), row.value())?;
    }
    for row in live.iter()? {
        let id = row?.0.value();
        let row = snapshot.builds()?.get(id)?.ok_or_else(|| missing("builds", id))?;
        let row: BuildRow = unpack("builds", id, row.value())?;
        if let Some(plan) = row.plan
            && plans.get(plan.as_bytes())?.is_none()
        {
            flaws.tell(|| format!("{} runs by the plan {}, which is not there", row.id, plan.short()));
        }
    }
    let steps = snapshot.steps()?;
    for row in snapshot.added_steps()?.iter()? {
        let (key, specs) = row?;
        let (build, step) = key.value();
        let _readable: Vec<StepSpec> = unpack("added_steps", key.value(), specs.value())?;
        if live.get(build)?.is_none() || steps.get((build, step))?.is_none() {
            flaws.tell(|| format!("step {step} added steps to build {build}, which does not run or have it"));
        }
    }
    for row in snapshot.stops()?.iter()? {
        let (build, stop) = row?;
        let build = build.value();
        let stop: StopRow = unpack("stops", build, stop.value())?;
        if live.get(build)?.is_none() || stop.build.0 != build {
            flaws.tell(|| format!("build {build} is to be stopped, and does not run"));
        }
    }
    Ok(())
}
