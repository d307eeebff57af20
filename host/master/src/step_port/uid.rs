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
