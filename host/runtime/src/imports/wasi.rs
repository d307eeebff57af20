//! All of `wasi:*` 0.2, with nothing behind it, so that guests of any language link. Output goes to the
//! diagnostics. Time, waiting and random numbers are ours:
//!
//! - In a policy the clock stands still at the `now` of its decision, and random numbers are a function of
//!   the plugin's bytes, its arguments and that moment: its answer can be had again from what was
//!   recorded. They don't trap, since interpreters read both when they start. Waiting traps.
//! - In a step the clock is the step's recorded one, random numbers follow from the build and the step's
//!   place in it, and waiting is the step's own `sleep`.
//! - In a command time is the machine's and waiting the command's `sleep`; random numbers follow from a seed that
//!   was drawn for it, so that it can be run again from what was recorded.
//! - In a reporter time is the master's and waiting takes place; random numbers follow from what it was given.
//! - `describe` lives in 1970, and always in the same.

use std::io::Read as _;
use std::time::Duration;

use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceType, types};
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi_io::bindings::wasi::io::poll;

use crate::state::{Chance, Host, Role, State};

/// Bytes of random that one call may ask for.
const MAX_RANDOM: u64 = 64 * 1024;

/// Links WASI 0.2.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    wall_clock::add_to_linker::<_, Host>(linker, |state| state)?;
    monotonic_clock::add_to_linker::<_, Host>(linker, |state| state)?;
    poll::add_to_linker::<_, Host>(linker, |state| state)?;
    random::add_to_linker::<_, Host>(linker, |state| state)?;
    insecure::add_to_linker::<_, Host>(linker, |state| state)?;
    insecure_seed::add_to_linker::<_, Host>(linker, |state| state)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl State {
    /// The moment of the guest's role, in milliseconds since 1970.
    fn now_ms(&mut self) -> u64 {
        match &mut self.role {
            Role::Describe => 0,
            Role::Policy(decision) => decision.lookups.now.0,
            Role::Step(port) => port.now().0,
            Role::Command(port) => port.now().0,
            Role::Service(port) => port.now().0,
        }
    }

    /// Waits as the role does; an interrupt ends it early.
    async fn sleep_ms(&mut self, ms: u64) -> wasmtime::Result<()> {
        self.hear();
        let ms = u32::try_from(ms).unwrap_or(u32::MAX);
        let slept = match &mut self.role {
            Role::Describe | Role::Policy(_) => wasmtime::bail!("{WAITS}"),
            Role::Step(port) => port.sleep(ms).await,
            Role::Command(port) => port.sleep(ms).await,
            Role::Service(port) => port.sleep(ms).await,
        };
        // That it was interrupted the guest hears where the contract says so.
        drop(slept);
        Ok(())
    }

    /// Fills `buffer` from the call's own random numbers.
    fn chance(&mut self, buffer: &mut [u8]) -> wasmtime::Result<()> {
        if let Chance::Seed(seed) = &self.chance {
            let mut seed = seed.clone();
            match &mut self.role {
                // What a reporter is given has the event's id in it.
                Role::Describe | Role::Service(_) => {}
                Role::Command(port) => {
                    seed.update(&port.seed());
                }
                Role::Policy(decision) => {
                    seed.update(&decision.lookups.now.0.to_le_bytes());
                }
                Role::Step(port) => {
                    let build = port.build().map_or(0, |build| build.id);
                    seed.update(&build.to_le_bytes());
                }
            }
            self.chance = Chance::Stream(seed.finalize_xof());
        }
        match &mut self.chance {
            Chance::Stream(stream) => Ok(stream.read_exact(buffer)?),
            Chance::Seed(_) => unreachable!("BUG: it was just sown"),
        }
    }

    fn random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.called();
        wasmtime::ensure!(len <= MAX_RANDOM, "at most {MAX_RANDOM} random bytes are given at a time");
        let mut bytes = vec![0; usize::try_from(len)?];
        self.chance(&mut bytes)?;
        Ok(bytes)
    }

    fn random_u64(&mut self) -> wasmtime::Result<u64> {
        let bytes = self.random_bytes(8)?;
        Ok(u64::from_le_bytes(*bytes.first_chunk().expect("these are eight")))
    }

    fn alarm(&mut self, at_ms: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.called();
        if matches!(self.role, Role::Describe | Role::Policy(_)) {
            wasmtime::bail!("{WAITS}");
        }
        let ms = at_ms.saturating_sub(self.now_ms());
        let alarm = self.table.push(Alarm(Duration::from_millis(ms)))?;
        let pollable = subscribe(&mut self.table, alarm)?;
        self.alarms.insert(pollable.rep(), at_ms);
        Ok(pollable)
    }
}

const WAITS: &str = "a policy may not wait: its answer is a function of its input";

/// Stands in the table for a moment that is waited for.
struct Alarm(Duration);

#[async_trait::async_trait]
impl Pollable for Alarm {
    /// Only together with what is no alarm: those are waited for by the role's own means.
    async fn ready(&mut self) {
        tokio::time::sleep(self.0).await;
    }
}

impl poll::Host for State {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        self.called();
        let moments: Option<Vec<u64>> =
            pollables.iter().map(|pollable| self.alarms.get(&pollable.rep()).copied()).collect();
        let Some(moments) = moments else { return poll::Host::poll(&mut self.table, pollables).await };
        let Some(&first) = moments.iter().min() else { wasmtime::bail!("a poll of nothing") };
        let now = self.now_ms();
        if first > now {
            self.sleep_ms(first - now).await?;
        }
        // The first one counts as ready, even if an interrupt ended the sleep.
        let now = self.now_ms().max(first);
        let ready = moments.iter().enumerate().filter(|(_, at)| **at <= now);
        Ok(ready.filter_map(|(index, _)| u32::try_from(index).ok()).collect())
    }
}

impl poll::HostPollable for State {
    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        self.called();
        match self.alarms.get(&pollable.rep()) {
            Some(&at) => Ok(at <= self.now_ms()),
            None => poll::HostPollable::ready(&mut self.table, pollable).await,
        }
    }

    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.called();
        let Some(&at) = self.alarms.get(&pollable.rep()) else {
            return poll::HostPollable::block(&mut self.table, pollable).await;
        };
        match at.saturating_sub(self.now_ms()) {
            0 => Ok(()),
            ms => self.sleep_ms(ms).await,
        }
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.alarms.remove(&pollable.rep());
        poll::HostPollable::drop(&mut self.table, pollable)
    }
}

impl wall_clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.called();
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
        self.called();
        Ok(self.now_ms().saturating_mul(1_000_000))
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1_000_000)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.alarm(when.div_ceil(1_000_000))
    }

    fn subscribe_duration(&mut self, ns: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let now = self.now_ms();
        self.alarm(now.saturating_add(ns.div_ceil(1_000_000)))
    }
}

impl random::Host for State {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.random_u64()
    }
}

impl insecure::Host for State {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.random_u64()
    }
}

impl insecure_seed::Host for State {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.random_u64()?, self.random_u64()?))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wasmtime::Store;
    use windlass_core::policy::Lookups;
    use windlass_core::time::Timestamp;

    use super::*;
    use crate::charge::{Budget, Counters};
    use crate::state::Decision;

    fn store(given: &str, role: Role) -> Store<State> {
        let engine = crate::engine::start().unwrap();
        let mut seed = blake3::Hasher::new();
        seed.update(given.as_bytes());
        let counters = Arc::new(Counters::default());
        State::store(&engine, "test".into(), seed, role, 1_000, Budget::whole(20), &counters)
    }

    fn policy(given: &str, now: u64) -> Store<State> {
        let lookups = Lookups { now: Timestamp(now), ..Lookups::default() };
        store(given, Role::Policy(Decision { lookups, ..Decision::default() }))
    }

    fn drawn(mut store: Store<State>) -> (Vec<u8>, u64) {
        let state = store.data_mut();
        (state.random_bytes(16).unwrap(), random::Host::get_random_u64(state).unwrap())
    }

    #[test]
    fn chance_in_a_policy_is_a_function_of_its_input() {
        assert_eq!(drawn(policy("a", 5)), drawn(policy("a", 5)));
        assert_ne!(drawn(policy("a", 5)), drawn(policy("a", 6)));
        assert_ne!(drawn(policy("a", 5)), drawn(policy("b", 5)));
        assert_eq!(drawn(store("a", Role::Describe)), drawn(store("a", Role::Describe)));
    }

    #[test]
    fn the_clock_of_a_policy_stands_still_and_nothing_waits() {
        let mut store = policy("a", 1_234);
        let state = store.data_mut();
        let now = wall_clock::Host::now(state).unwrap();
        assert_eq!((now.seconds, now.nanoseconds), (1, 234_000_000));
        assert_eq!(monotonic_clock::Host::now(state).unwrap(), 1_234_000_000);
        let refused = monotonic_clock::Host::subscribe_duration(state, 1).unwrap_err();
        assert_eq!(refused.to_string(), WAITS);
    }

    #[test]
    fn random_numbers_are_given_in_measure() {
        let mut store = policy("a", 1);
        assert!(store.data_mut().random_bytes(MAX_RANDOM).is_ok());
        assert!(store.data_mut().random_bytes(MAX_RANDOM + 1).is_err());
    }
}
