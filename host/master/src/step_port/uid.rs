//! The name of a remote command: the same whenever it is derived again, another for every command.

use windlass_core::id::StepId;
use windlass_core::record::BuildRow;
use windlass_protocol::message::CommandUid;

/// Derives it. The build's start is in it, so that a master with a fresh store does not name commands
/// that a worker knows from the master before.
pub(super) fn derive(build: &BuildRow, step: StepId, attempt: u32, ordinal: u32) -> CommandUid {
    let mut hasher = blake3::Hasher::new_derive_key("windlass 2026 remote command");
    for part in [build.id.0, build.started.0, step.0, u64::from(attempt), u64::from(ordinal)] {
        hasher.update(&part.to_le_bytes());
    }
    CommandUid(hasher.finalize().to_hex()[..32].to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use windlass_core::id::BuildId;
    use windlass_core::time::Timestamp;

    use super::*;

    #[test]
    fn no_two_commands_have_one_name_whatever_worker_runs_them_and_whoever_was_master_before() {
        let build = |id, started, worker: &str| BuildRow {
            id: BuildId(id),
            started: Timestamp(started),
            worker: worker.to_owned(),
            ..crate::build_driver::tests::row()
        };
        let mut names = BTreeSet::new();
        for (id, started) in [(1, 10), (2, 10), (1, 20)] {
            for step in [StepId(1), StepId(2)] {
                for attempt in [1, 2] {
                    for ordinal in 0..3 {
                        let name = derive(&build(id, started, "w1"), step, attempt, ordinal);
                        assert_eq!(name, derive(&build(id, started, "w1"), step, attempt, ordinal));
                        assert!(names.insert(name.0));
                    }
                }
            }
        }
        assert!(names.iter().all(|name| name.len() == 32));
    }
}
