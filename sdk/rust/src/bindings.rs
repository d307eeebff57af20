//! What `wit-bindgen` makes of the contract: the imports once, and one module for each hook.
//!
//! Each hook is a world of its own whose export macro is used only by components that have the hook, so that a
//! component exports just what it offers; the linker leaves out the imports that nothing calls. All worlds share
//! the types of [`imports`].
#![allow(missing_docs, clippy::all, unused_qualifications)]

/// Everything that any component may import.
pub mod imports {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: r#"
            package windlass:sdk;
            world imports {
                import windlass:base/types@0.1.0;
                import windlass:base/log@0.1.0;
                import windlass:base/clock@0.1.0;
                import windlass:base/interruption@0.1.0;
                import windlass:base/state@0.1.0;
                import windlass:worker/process@0.1.0;
                import windlass:worker/command-host@0.1.0;
                import windlass:worker/files@0.1.0;
                import windlass:master/model@0.1.0;
                import windlass:master/step-host@0.1.0;
                import windlass:master/transfer@0.1.0;
                import windlass:master/decision@0.1.0;
                import windlass:master/scheduler-host@0.1.0;
                import windlass:master/fetch@0.1.0;
                import windlass:master/master-process@0.1.0;
            }
        "#,
        world: "windlass:sdk/imports",
        generate_all,
        generate_unused_types: true,
        pub_export_macro: true,
        additional_derives: [PartialEq],
    });
}

/// One hook: a module with its `Guest` trait and its export macro. The third argument says which interfaces the
/// hook takes its types from; a mapping that is not used is an error of `wit-bindgen`.
macro_rules! hook {
    ($module:ident, $world:literal, types) => {
        hook!(@ $module, $world, {
            "windlass:base/types@0.1.0": crate::bindings::imports::windlass::base::types,
        });
    };
    ($module:ident, $world:literal, model) => {
        hook!(@ $module, $world, {
            "windlass:base/types@0.1.0": crate::bindings::imports::windlass::base::types,
            "windlass:master/model@0.1.0": crate::bindings::imports::windlass::master::model,
        });
    };
    (@ $module:ident, $world:literal, $with:tt) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit",
                inline: r#"
                    package windlass:sdk;
                    world plugin { export windlass:base/plugin@0.1.0; }
                    world slave-command { export windlass:worker/slave-command@0.1.0; }
                    world build-step { export windlass:master/build-step@0.1.0; }
                    world merge-requests { export windlass:master/merge-requests@0.1.0; }
                    world prioritize-builders { export windlass:master/prioritize-builders@0.1.0; }
                    world next-slave { export windlass:master/next-slave@0.1.0; }
                    world next-build { export windlass:master/next-build@0.1.0; }
                    world can-start-build { export windlass:master/can-start-build@0.1.0; }
                    world codebase-generator { export windlass:master/codebase-generator@0.1.0; }
                    world renderer { export windlass:master/renderer@0.1.0; }
                    world configurator { export windlass:master/configurator@0.1.0; }
                    world scheduler { export windlass:master/scheduler@0.1.0; }
                    world change-source { export windlass:master/change-source@0.1.0; }
                    world change-hook { export windlass:master/change-hook@0.1.0; }
                    world reporter { export windlass:master/reporter@0.1.0; }
                "#,
                world: $world,
                with: $with,
                pub_export_macro: true,
                additional_derives: [PartialEq],
            });
        }
    };
}

hook!(plugin, "windlass:sdk/plugin", types);
hook!(slave_command, "windlass:sdk/slave-command", types);
hook!(build_step, "windlass:sdk/build-step", types);
hook!(merge_requests, "windlass:sdk/merge-requests", model);
hook!(prioritize_builders, "windlass:sdk/prioritize-builders", model);
hook!(next_slave, "windlass:sdk/next-slave", model);
hook!(next_build, "windlass:sdk/next-build", model);
hook!(can_start_build, "windlass:sdk/can-start-build", model);
hook!(codebase_generator, "windlass:sdk/codebase-generator", model);
hook!(renderer, "windlass:sdk/renderer", types);
hook!(configurator, "windlass:sdk/configurator", types);
hook!(scheduler, "windlass:sdk/scheduler", model);
hook!(change_source, "windlass:sdk/change-source", model);
hook!(change_hook, "windlass:sdk/change-hook", model);
hook!(reporter, "windlass:sdk/reporter", types);
