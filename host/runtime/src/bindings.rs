//! The contract of `wit/` as Rust: generated. Nothing outside [`crate::imports`], [`crate::convert`]
//! and [`crate::call`] sees these types.

#![allow(missing_docs, reason = "generated from wit/, documented there")]

/// `windlass:base` and `windlass:master`.
pub(crate) mod master {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "windlass:master/all-hooks",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

/// `windlass:worker`, over the same `windlass:base`.
pub(crate) mod worker {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "windlass:worker/command-plugin",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "windlass:base": super::master::windlass::base,
            "windlass:worker/process.child": crate::imports::process::Child,
            "windlass:worker/process.spawn-options": crate::imports::process::Draft,
        },
    });
}
