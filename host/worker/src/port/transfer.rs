//! Files between a command and its master.

use windlass_runtime::port::CommandTransfer;

use super::Port;

impl CommandTransfer for Port {}
