//! The one macro that makes a component of some hooks.

use crate::bindings::plugin::exports::windlass::base::plugin::{Description, Hook as Described, Request};
use crate::{Failure, Hook, Pair, Value};

/// Exports hooks, several types for each, and the description of them all:
///
/// ```text
/// windlass_sdk::export!(slave_command: Shell, Mkdir, Stat);
/// windlass_sdk::export!(build_step: Deploy; renderer: Version);
/// ```
///
/// Kinds: `slave_command`; `build_step`, `merge_requests`, `prioritize_builders`, `next_slave`, `next_build`,
/// `can_start_build`, `codebase_generator`, `renderer`, `configurator`, `scheduler`, `change_source`,
/// `change_hook`, `reporter`. Commands run on workers, the others on the master: they don't go together in one
/// component.
#[macro_export]
macro_rules! export {
    ($($kind:ident : $($hook:ty),+ $(,)?);+ $(;)?) => {
        #[doc(hidden)]
        struct __WindlassPlugin;

        impl $crate::bindings::plugin::exports::windlass::base::plugin::Guest for __WindlassPlugin {
            fn describe() -> $crate::bindings::plugin::exports::windlass::base::plugin::Description {
                $crate::tell_panics();
                let mut describing = $crate::Describing::new();
                $($(describing.hook::<$hook>(stringify!($kind));)+)+
                describing.finish()
            }
        }
        $crate::bindings::plugin::export!(__WindlassPlugin with_types_in $crate::bindings::plugin);

        $($crate::__export_hook!($kind, $($hook),+);)+
    };
}

/// Collects what `plugin.describe` answers.
#[doc(hidden)]
pub struct Describing(Description);

impl Describing {
    /// Nothing yet.
    #[expect(clippy::new_without_default, reason = "only the macro makes one")]
    pub fn new() -> Describing {
        Describing(Description { hooks: Vec::new(), capabilities: Vec::new() })
    }

    /// Adds a hook; `kind` as Rust spells it.
    pub fn hook<H: Hook>(&mut self, kind: &str) {
        let option =
            |(name, value): &(&str, bool)| Pair { name: (*name).to_owned(), value: Value::Boolean(*value) };
        self.0.hooks.push(Described {
            kind: kind.replace('_', "-"),
            name: H::NAME.to_owned(),
            summary: H::SUMMARY.to_owned(),
            args_schema: H::ARGS_SCHEMA.map(str::to_owned),
            options: H::OPTIONS.iter().map(option).collect(),
        });
        for asked in H::CAPABILITIES {
            let request = Request {
                capability: asked.capability.to_owned(),
                scope: asked.scope.iter().map(|&name| name.to_owned()).collect(),
                reason: asked.reason.to_owned(),
            };
            if !self.0.capabilities.contains(&request) {
                self.0.capabilities.push(request);
            }
        }
    }

    /// The description.
    pub fn finish(self) -> Description {
        self.0
    }
}

/// From here on a panic says where and why in the plugin's diagnostics; the host shows it with the fault.
#[doc(hidden)]
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| crate::log::write(crate::log::Level::Error, &panic.to_string())));
}

/// What a component answers to a name that is not in its description.
#[doc(hidden)]
pub fn unknown_hook(name: &str) -> Failure {
    Failure::new("not-found", format!("this component has no hook `{name}` of that kind"))
}

/// Implements the `Guest` trait of one kind of hook by asking the type of the right name.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    (slave_command, $($hook:ty),+) => {
        $crate::__export_hook!(@ slave_command worker SlaveCommand run () -> $crate::Completion, (), $($hook),+);
    };
    (build_step, $($hook:ty),+) => {
        $crate::__export_hook!(@ build_step master BuildStep run () -> $crate::step::StepResult, (), $($hook),+);
    };
    (merge_requests, $($hook:ty),+) => {
        $crate::__export_hook!(@ merge_requests master MergeRequests mergeable (builder: $crate::model::BuilderInfo, first: $crate::model::BuildRequest, others: Vec<$crate::model::BuildRequest>) -> Vec<u64>, (builder, first, others), $($hook),+);
    };
    (prioritize_builders, $($hook:ty),+) => {
        $crate::__export_hook!(@ prioritize_builders master PrioritizeBuilders order (builders: Vec<$crate::model::BuilderInfo>) -> Vec<String>, (builders), $($hook),+);
    };
    (next_slave, $($hook:ty),+) => {
        $crate::__export_hook!(@ next_slave master NextSlave choose (builder: $crate::model::BuilderInfo, slaves: Vec<$crate::model::SlaveInfo>, request: $crate::model::BuildRequest) -> Option<String>, (builder, slaves, request), $($hook),+);
    };
    (next_build, $($hook:ty),+) => {
        $crate::__export_hook!(@ next_build master NextBuild choose (builder: $crate::model::BuilderInfo, requests: Vec<$crate::model::BuildRequest>) -> Option<u64>, (builder, requests), $($hook),+);
    };
    (can_start_build, $($hook:ty),+) => {
        $crate::__export_hook!(@ can_start_build master CanStartBuild allow (builder: $crate::model::BuilderInfo, slaves: Vec<$crate::model::SlaveInfo>, request: $crate::model::BuildRequest) -> Vec<String>, (builder, slaves, request), $($hook),+);
    };
    (codebase_generator, $($hook:ty),+) => {
        $crate::__export_hook!(@ codebase_generator master CodebaseGenerator codebase (change: $crate::model::Change) -> String, (change), $($hook),+);
    };
    (renderer, $($hook:ty),+) => {
        $crate::__export_hook!(@ renderer master Renderer render (properties: Vec<$crate::Pair>) -> $crate::Value, (properties), $($hook),+);
    };
    (configurator, $($hook:ty),+) => {
        $crate::__export_hook!(@ configurator master Configurator configure () -> String, (), $($hook),+);
    };
    (scheduler, $($hook:ty),+) => {
        $crate::__export_hook!(@ scheduler master Scheduler handle (event: $crate::scheduler::Event) -> (), (event), $($hook),+);
    };
    (change_source, $($hook:ty),+) => {
        $crate::__export_hook!(@ change_source master ChangeSource poll () -> $crate::change_source::PollResult, (), $($hook),+);
    };
    (change_hook, $($hook:ty),+) => {
        $crate::__export_hook!(@ change_hook master ChangeHook decode (request: $crate::change_hook::Request) -> Vec<$crate::model::Change>, (request), $($hook),+);
    };
    (reporter, $($hook:ty),+) => {
        $crate::__export_hook!(@ reporter master Reporter report (event_id: String, kind: String, event: String) -> (), (event_id, kind, event), $($hook),+);
    };
    ($other:ident, $($hook:ty),+) => {
        compile_error!(concat!("`", stringify!($other), "` is no kind of hook"));
    };
    (@ $module:ident $package:ident $trait:ident $function:ident
        ($($param:ident: $type:ty),*) -> $answer:ty, $pass:tt, $($hook:ty),+) => {
        impl $crate::bindings::$module::exports::windlass::$package::$module::Guest for __WindlassPlugin {
            fn $function(
                name: String,
                args: String,
                $($param: $type),*
            ) -> Result<$answer, $crate::Failure> {
                $crate::tell_panics();
                $(if name == <$hook as $crate::Hook>::NAME {
                    let args = <<$hook as $crate::Hook>::Args as $crate::Args>::read(&args)?;
                    return $crate::__export_hook!(@call $trait $function $hook, args, $pass);
                })+
                Err($crate::unknown_hook(&name))
            }
        }
        $crate::bindings::$module::export!(__WindlassPlugin with_types_in $crate::bindings::$module);
    };
    (@call $trait:ident $function:ident $hook:ty, $args:ident, ($($pass:ident),*)) => {
        <$hook as $crate::$trait>::$function($args, $($pass),*)
    };
}
