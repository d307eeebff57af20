//! How wasmtime is configured for all guests. Apart from all else, so that what the runtime is compared with
//! (`examples/bare`) has the same one.

use wasmtime::Config;

/// The same input gives the same answer on every machine: NaNs have one form, relaxed SIMD one
/// result, no threads, no fuel. Without `concurrency_support` a call is one fiber with one totally
/// ordered trace, and a component that needs async types is refused when it is compiled.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_component_model(true);
    config
}
