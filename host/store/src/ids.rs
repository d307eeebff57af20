//! The next numbers: atomic counters, seeded from the tables at open.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::ReadableTable;
use windlass_core::id::{
    ArtifactId, BuildId, BuildsetId, ChangeId, DecisionId, Fence, LogId, MasterId, RequestId, StepId, TokenId,
};

use crate::fault::ReadError;
use crate::tables::{Snapshot, Tables};

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident $next:ident: $id:ident;)*) => {
        /// Hands out numbers that no row has yet. A number that is handed out and never written is
        /// lost, or handed out again after a restart.
        #[derive(Debug)]
        pub struct Ids {
            $($field: AtomicU64,)*
            /// The last number of each builder's builds.
            build_numbers: Mutex<HashMap<String, u64>>,
        }

        impl Ids {
            $($(#[$doc])* pub fn $next(&self) -> $id {
                $id(self.$field.fetch_add(1, Ordering::Relaxed) + 1)
            })*

            fn seeded(marks: &Marks, build_numbers: HashMap<String, u64>) -> Ids {
                Ids { $($field: AtomicU64::new(marks.$field),)* build_numbers: Mutex::new(build_numbers) }
            }
        }

        /// The largest id of each kind that any row has.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Marks {
            $($field: u64,)*
        }

        impl Marks {
            $(pub(crate) fn $field(&mut self, id: $id) {
                self.$field = self.$field.max(id.0);
            })*

            /// Whether any row may have this number already.
            pub(crate) fn may_have_request(&self, id: RequestId) -> bool {
                id.0 <= self.request
            }

            /// Whether any row may have this number already.
            pub(crate) fn may_have_buildset(&self, id: BuildsetId) -> bool {
                id.0 <= self.buildset
            }

            /// Writes those that grew since `before`.
            pub(crate) fn write(&self, tables: &mut Tables<'_>, before: &Marks) -> Result<(), ReadError> {
                $(if self.$field > before.$field {
                    tables.counters.write()?.insert(stringify!($field), self.$field)?;
                })*
                Ok(())
            }

            fn read(snapshot: &Snapshot) -> Result<Marks, ReadError> {
                let counters = snapshot.counters()?;
                Ok(Marks {
                    $($field: counters.get(stringify!($field))?.map_or(0, |mark| mark.value()),)*
                })
            }
        }
    };
}

counters! {
    /// Returns the next change's id.
    change next_change: ChangeId;
    /// Returns the next buildset's id.
    buildset next_buildset: BuildsetId;
    /// Returns the next request's id.
    request next_request: RequestId;
    /// Returns the next build's id.
    build next_build: BuildId;
    /// Returns the next step's id.
    step next_step: StepId;
    /// Returns the next log's id.
    log next_log: LogId;
    /// Returns the next decision's id.
    decision next_decision: DecisionId;
    /// Returns the next artifact's id.
    artifact next_artifact: ArtifactId;
    /// Returns the number of a worker's next token.
    token next_token: TokenId;
    /// Returns the next master's id.
    master next_master: MasterId;
    /// Returns a fence larger than all before it.
    fence next_fence: Fence;
}

impl Ids {
    /// Returns the number of the builder's next build, from 1.
    pub fn next_build_number(&self, builder: &str) -> u64 {
        let mut numbers = self.build_numbers.lock().expect("nothing panics while it counts");
        match numbers.get_mut(builder) {
            Some(last) => {
                *last += 1;
                *last
            }
            None => {
                numbers.insert(builder.to_owned(), 1);
                1
            }
        }
    }

    /// The last artifact that any row had when the store was opened, if nobody asked for a number yet.
    pub(crate) fn last_artifact(&self) -> ArtifactId {
        ArtifactId(self.artifact.load(Ordering::Relaxed))
    }

    pub(crate) fn read(snapshot: &Snapshot) -> Result<(Ids, Marks), ReadError> {
        let marks = Marks::read(snapshot)?;
        let mut numbers = HashMap::new();
        for row in snapshot.build_numbers()?.iter()? {
            let (builder, last) = row?;
            numbers.insert(builder.value().to_owned(), last.value());
        }
        Ok((Ids::seeded(&marks, numbers), marks))
    }
}
