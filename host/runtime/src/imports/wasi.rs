//! All of `wasi:*` 0.2, with nothing behind it, so that guests of any language link. Clocks and random
//! numbers are ours: a policy has none, since its answer must be a function of its input.

use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceType, types};
use wasmtime_wasi::clocks::WasiClocksView as _;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::random::WasiRandomView as _;

use crate::state::{Host, State};

/// Bytes of random that one call may ask for.
const MAX_RANDOM: u64 = 64 * 1024;

/// Links WASI 0.2.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    wall_clock::add_to_linker::<_, Host>(linker, |state| state)?;
    monotonic_clock::add_to_linker::<_, Host>(linker, |state| state)?;
    random::add_to_linker::<_, Host>(linker, |state| state)?;
    insecure::add_to_linker::<_, Host>(linker, |state| state)?;
    insecure_seed::add_to_linker::<_, Host>(linker, |state| state)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl State {
    fn impure(&self, what: &str) -> wasmtime::Result<()> {
        self.called();
        if self.is_pure() {
            wasmtime::bail!("a policy may not use {what}: its answer is a function of its input");
        }
        Ok(())
    }

    /// The port's moment, in milliseconds; `describe` lives in 1970.
    fn now_ms(&mut self) -> u64 {
        self.base().map_or(0, |port| port.now().0)
    }
}

impl wall_clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.impure("`wasi:clocks/wall-clock`; `windlass:master/decision` has `now`")?;
        let ms = self.now_ms();
        let nanoseconds = u32::try_from(ms % 1_000 * 1_000_000).expect("below a second");
        Ok(wall_clock::Datetime { seconds: ms / 1_000, nanoseconds })
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: 1_000_000 })
    }
}

impl monotonic_clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.impure("`wasi:clocks/monotonic-clock`; `windlass:master/decision` has `now`")?;
        Ok(self.now_ms().saturating_mul(1_000_000))
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1_000_000)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let now = monotonic_clock::Host::now(self)?;
        monotonic_clock::Host::subscribe_duration(&mut self.clocks(), when.saturating_sub(now))
    }

    fn subscribe_duration(&mut self, ns: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.impure("timers")?;
        monotonic_clock::Host::subscribe_duration(&mut self.clocks(), ns)
    }
}

fn check_random(len: u64) -> wasmtime::Result<()> {
    wasmtime::ensure!(len <= MAX_RANDOM, "at most {MAX_RANDOM} random bytes are given at a time");
    Ok(())
}

impl random::Host for State {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.impure("`wasi:random/random`")?;
        check_random(len)?;
        random::Host::get_random_bytes(self.random(), len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.impure("`wasi:random/random`")?;
        random::Host::get_random_u64(self.random())
    }
}

impl insecure::Host for State {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.impure("`wasi:random/insecure`")?;
        check_random(len)?;
        insecure::Host::get_insecure_random_bytes(self.random(), len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.impure("`wasi:random/insecure`")?;
        insecure::Host::get_insecure_random_u64(self.random())
    }
}

impl insecure_seed::Host for State {
    /// A constant for policies: it seeds hash tables, and a constant is pure.
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        self.called();
        if self.is_pure() { Ok((0, 0)) } else { insecure_seed::Host::insecure_seed(self.random()) }
    }
}

/// Packages of WASI that [`add_to_linker`] covers.
const LINKED: [&str; 6] =
    ["wasi:io/", "wasi:clocks/", "wasi:random/", "wasi:cli/", "wasi:filesystem/", "wasi:sockets/"];

/// Whether an import is of a WASI package that is not linked, and gets functions that trap.
pub(crate) fn is_left_over(import: &str) -> bool {
    import.starts_with("wasi:") && !LINKED.iter().any(|package| import.starts_with(package))
}

/// Defines the component's left-over `wasi:*` imports as functions that trap: interpreters import
/// what they never call.
pub(crate) fn define_left_over(linker: &mut Linker<State>, component: &Component) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let ty = component.component_type();
    for (name, import) in ty.imports(&engine).filter(|(name, _)| is_left_over(name)) {
        if let types::ComponentItem::ComponentInstance(instance) = import.ty {
            let mut defined = linker.instance(name)?;
            for (item, export) in instance.exports(&engine) {
                define_trap(&mut defined, name, item, &export.ty)?;
            }
        }
    }
    Ok(())
}

fn define_trap(
    linker: &mut LinkerInstance<'_, State>,
    interface: &str,
    item: &str,
    ty: &types::ComponentItem,
) -> wasmtime::Result<()> {
    match ty {
        types::ComponentItem::ComponentFunc(_) => {
            let full = format!("{interface}.{item}");
            linker.func_new(item, move |_, _, _, _| {
                wasmtime::bail!("`{full}` has nothing behind it in this host")
            })
        }
        types::ComponentItem::Resource(_) => linker.resource(item, ResourceType::host::<()>(), |_, _| Ok(())),
        _ => Ok(()),
    }
}
