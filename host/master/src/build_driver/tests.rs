//! Builds that run through the real store and the real runtime.

use std::collections::BTreeMap;

use windlass_core::builder::{Builder, Merge, StepSpec};
use windlass_core::id::{BuildId, Fence, RequestId};
use windlass_core::properties::Properties;
use windlass_core::record::BuildRow;
use windlass_core::time::Timestamp;

pub(super) fn builder(steps: Vec<StepSpec>) -> Builder {
    Builder {
        name: "unit".to_owned(),
        description: None,
        tags: Vec::new(),
        workers: vec!["w1".to_owned()],
        builddir: "unit-dir".to_owned(),
        properties: Properties::default(),
        env: BTreeMap::new(),
        steps,
        merge_requests: Merge::Never,
        next_slave: None,
        next_build: None,
        can_start_build: None,
    }
}

pub(super) fn row() -> BuildRow {
    BuildRow {
        id: BuildId(1),
        number: 1,
        builder: "unit".to_owned(),
        requests: vec![RequestId(1)],
        fence: Fence(1),
        worker: "w1".to_owned(),
        stamps: Vec::new(),
        reason: "test".to_owned(),
        generation: 1,
        plugins: BTreeMap::new(),
        components: Vec::new(),
        properties: Properties::default(),
        started: Timestamp(1),
        complete: None,
        summary: String::new(),
    }
}
