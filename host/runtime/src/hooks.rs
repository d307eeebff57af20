//! Where a component's hooks are: looked up once, by name, and loaded for each call.

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};
use windlass_core::policy::HookKind;

use crate::bindings::master::exports::windlass::base::plugin;
use crate::bindings::master::exports::windlass::master as m;
use crate::bindings::worker::exports::windlass::worker as w;
use crate::load::Problem;
use crate::state::State;

macro_rules! indices {
    ($($field:ident: $module:path, $kind:path;)*) => {
        /// The functions of each hook that a component has.
        #[derive(Clone)]
        pub(crate) struct Indices {
            pub(crate) plugin: plugin::GuestIndices,
            $(pub(crate) $field: Option<hook::$field::GuestIndices>,)*
        }

        /// The generated module of each hook.
        mod hook {
            $(pub(super) use $module as $field;)*
        }

        impl Indices {
            /// Looks up the functions of `hooks`.
            pub(crate) fn probe(pre: &InstancePre<State>, hooks: &[HookKind]) -> Result<Indices, Problem> {
                let lacking = |kind: &str, cause: wasmtime::Error| Problem::Types {
                    interface: kind.to_owned(),
                    cause: cause.into(),
                };
                Ok(Indices {
                    plugin: plugin::GuestIndices::new(pre).map_err(|error| lacking("plugin", error))?,
                    $($field: if hooks.contains(&$kind) {
                        let found = hook::$field::GuestIndices::new(pre);
                        Some(found.map_err(|error| lacking($kind.as_str(), error))?)
                    } else {
                        None
                    },)*
                })
            }

            /// Loads every hook once: only here do types that differ show.
            pub(crate) fn check_types(
                &self,
                store: &mut Store<State>,
                instance: &Instance,
            ) -> Result<(), Vec<Problem>> {
                let mut problems = Vec::new();
                $(if let Some(indices) = &self.$field {
                    if let Err(error) = indices.load(&mut *store, instance) {
                        let interface = $kind.as_str().to_owned();
                        problems.push(Problem::Types { interface, cause: error.into() });
                    }
                })*
                if problems.is_empty() { Ok(()) } else { Err(problems) }
            }
        }
    };
}

indices! {
    slave_command: super::w::slave_command, HookKind::SlaveCommand;
    build_step: super::m::build_step, HookKind::BuildStep;
    merge_requests: super::m::merge_requests, HookKind::MergeRequests;
    prioritize_builders: super::m::prioritize_builders, HookKind::PrioritizeBuilders;
    next_slave: super::m::next_slave, HookKind::NextSlave;
    next_build: super::m::next_build, HookKind::NextBuild;
    can_start_build: super::m::can_start_build, HookKind::CanStartBuild;
    codebase_generator: super::m::codebase_generator, HookKind::CodebaseGenerator;
    renderer: super::m::renderer, HookKind::Renderer;
    configurator: super::m::configurator, HookKind::Configurator;
    scheduler: super::m::scheduler, HookKind::Scheduler;
    change_source: super::m::change_source, HookKind::ChangeSource;
    change_hook: super::m::change_hook, HookKind::ChangeHook;
    reporter: super::m::reporter, HookKind::Reporter;
}
