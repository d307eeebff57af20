//! The bytes of the first-party components: what every master has without a plugins folder.
//!
//! Their sources stand in `plugins/guests`, a workspace of their own. The build script compiles them when they,
//! the contract or the SDK changed. In configurations all of their hooks are called `windlass:<hook>`, whichever
//! component they come from.

/// A first-party component.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bundled {
    /// The stem of its file: `commands`, `least-loaded` ...
    pub name: &'static str,
    /// The component.
    pub bytes: &'static [u8],
}

impl std::fmt::Debug for Bundled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.bytes.len())
    }
}

/// All of them, sorted by name.
#[must_use]
pub fn bundled() -> &'static [Bundled] {
    BUNDLED
}

/// What `windlass demo` puts into its plugins folder as `placement.wasm`, first and while a build runs: a
/// `next-slave` policy that spreads builds over the workers, and one that keeps a builder where it was.
#[must_use]
pub fn placement() -> (&'static [u8], &'static [u8]) {
    let bytes = |name: &str| DEMO.iter().find(|demo| demo.name == name).map(|demo| demo.bytes);
    let both = bytes("demo-balanced").zip(bytes("demo-sticky"));
    both.expect("BUG: the guests of the demo were not built")
}

const BUNDLED: &[Bundled] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));
const DEMO: &[Bundled] = include!(concat!(env!("OUT_DIR"), "/demo.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_party_component_is_there_and_is_a_component() {
        let names: Vec<_> = bundled().iter().map(|bundled| bundled.name).collect();
        assert_eq!(
            names,
            [
                "by-repository",
                "commands",
                "least-loaded",
                "oldest-first",
                "reporters",
                "same-branch",
                "steps",
                "sticky",
                "working-hours"
            ]
        );
        for bundled in bundled() {
            // Layer 1 in the version field: a component, not a core module.
            assert_eq!(bundled.bytes[..8], *b"\0asm\x0d\0\x01\0", "{bundled:?}");
        }
    }

    #[test]
    fn the_two_placements_of_the_demo_are_different_components() {
        let (first, second) = placement();
        assert_ne!(first, second);
        assert_eq!(first[..8], *b"\0asm\x0d\0\x01\0");
    }

    #[test]
    fn no_path_of_the_machine_is_in_the_bytes() {
        let home = std::env::var("HOME").unwrap_or_default();
        let here = env!("CARGO_MANIFEST_DIR");
        let checkout = std::path::Path::new(here).parent().map(|path| path.display().to_string());
        for place in [Some(home), Some(here.to_owned()), checkout].into_iter().flatten() {
            for bundled in bundled().iter().filter(|_| place.len() > 1) {
                let found = bundled.bytes.windows(place.len()).any(|bytes| bytes == place.as_bytes());
                assert!(!found, "{bundled:?} names {place}");
            }
        }
    }
}
