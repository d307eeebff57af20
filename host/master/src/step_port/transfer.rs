//! Files between a step, its worker and the master.

use windlass_runtime::port::StepTransfer;

use super::Port;

impl StepTransfer for Port {}
