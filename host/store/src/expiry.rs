//! Masters within a batch, and taking away the claims of one that is gone.

use std::collections::btree_map::Entry;

use redb::ReadableTable;
use windlass_core::claim;
use windlass_core::id::{BuildId, Fence, LogId, MasterId, RequestId};
use windlass_core::master::{Master, Overdue};
use windlass_core::persist::Refusal;
use windlass_core::record::{BuildRow, CutOff, LogRow, StepRow};
use windlass_core::time::Timestamp;

use crate::batch::{Group, Place, Staged, Stop};
use crate::encode;
use crate::fault::{ReadError, missing};

impl Group<'_> {
    /// Checks that no other master has the name of this one.
    pub(crate) fn check_name(&self, master: &Master, staged: &mut Staged) -> Result<(), Stop> {
        for row in self.tables.masters.read()?.iter()? {
            let (id, row) = row?;
            if !staged.masters.contains_key(&MasterId(id.value())) {
                let row: Master = encode::unpack("masters", id.value(), row.value())?;
                staged.masters.insert(row.id, row);
            }
        }
        let taken = staged.masters.values().find(|row| row.name == master.name && row.id != master.id);
        if let Some(taken) = taken {
            let (name, by) = (master.name.clone(), taken.id);
            return Err(Refusal::NameTaken { master: master.id, name, by }.into());
        }
        staged.masters.insert(master.id, master.clone());
        Ok(())
    }

    /// The row of a master, to change it.
    pub(crate) fn master<'s>(&self, id: MasterId, staged: &'s mut Staged) -> Result<&'s mut Master, Stop> {
        match staged.masters.entry(id) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => {
                let masters = self.tables.masters.read()?;
                let row = masters.get(id.0)?.ok_or(Refusal::UnknownMaster(id))?;
                Ok(new.insert(encode::unpack("masters", id.0, row.value())?))
            }
        }
    }

    /// Takes overdue claims away, and ends the builds that ran under them. Its cost is what is held and
    /// what runs.
    pub(crate) fn check_expiry(
        &self,
        overdue: &Overdue,
        fence: Fence,
        at: Timestamp,
        staged: &mut Staged,
    ) -> Result<(), Stop> {
        let why = match overdue {
            Overdue::Master { master, silent_since } => {
                let master = self.master(*master, staged)?;
                master.bury(*silent_since)?;
                format!("the master `{}` is gone; it is built again", master.name)
            }
            Overdue::Claims { before: _ } => {
                "its claim was not renewed in time; it is built again".to_owned()
            }
        };
        let mut held = Vec::new();
        for row in self.tables.held.read()?.iter()? {
            held.push(RequestId(row?.0.value()));
        }
        self.look_up(&held, Place::Held, staged)?;
        let freed = claim::expire(&mut staged.requests, |claim| overdue.takes(claim), fence)?;
        if freed.is_empty() {
            return Ok(());
        }
        for row in self.tables.live.read()?.iter()? {
            let (id, live) = row?;
            let live = encode::to_live(id.value(), live.value())?;
            let freed = freed.get(&live.fence);
            if freed.is_some_and(|freed| freed.iter().any(|id| live.requests.contains(id))) {
                let (build, steps, logs) = self.whole(BuildId(id.value()))?;
                staged.committed.cut_off.push(build.id);
                staged.cut_off.push(CutOff::new(build, steps, logs, at, &why));
            }
        }
        staged.changed.extend(freed.values().flatten());
        staged.committed.freed.extend(freed.into_values().flatten());
        Ok(())
    }

    /// A build with its steps and logs.
    fn whole(&self, build: BuildId) -> Result<(BuildRow, Vec<StepRow>, Vec<LogRow>), ReadError> {
        let builds = self.tables.builds.read()?;
        let row = builds.get(build.0)?.ok_or_else(|| missing("builds", build.0))?;
        let row = encode::unpack("builds", build.0, row.value())?;
        let mut steps = Vec::new();
        for step in self.tables.steps.read()?.range((build.0, 0)..=(build.0, u64::MAX))? {
            let (key, step) = step?;
            steps.push(encode::unpack("steps", key.value(), step.value())?);
        }
        let mut logs = Vec::new();
        let rows = self.tables.logs.read()?;
        for log in self.tables.logs_by_build.read()?.range((build.0, 0)..=(build.0, u64::MAX))? {
            let LogId(id) = LogId(log?.0.value().1);
            let row = rows.get(id)?.ok_or_else(|| missing("logs", id))?;
            logs.push(encode::unpack("logs", id, row.value())?);
        }
        Ok((row, steps, logs))
    }
}
