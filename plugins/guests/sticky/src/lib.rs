//! `next-slave` policy `sticky`: the worker that built this builder last, whose checkout and caches are warm.

use windlass_sdk::model::{BuildRequest, BuilderInfo, SlaveInfo};
use windlass_sdk::{Failure, Hook, NextSlave, NoArgs};

struct Sticky;

impl Hook for Sticky {
    const NAME: &'static str = "sticky";
    const SUMMARY: &'static str =
        "the worker that built this builder last, else the one with the least to do";
    type Args = NoArgs;
}

impl NextSlave for Sticky {
    fn choose(
        _: NoArgs,
        _: BuilderInfo,
        slaves: Vec<SlaveInfo>,
        _: BuildRequest,
    ) -> Result<Option<String>, Failure> {
        Ok(choose(&slaves).map(|slave| slave.name.clone()))
    }
}

fn choose(slaves: &[SlaveInfo]) -> Option<&SlaveInfo> {
    let built = slaves.iter().filter(|slave| slave.last_built_ms.is_some());
    built.max_by_key(|slave| slave.last_built_ms).or_else(|| windlass_load::least_loaded(slaves))
}

windlass_sdk::export!(next_slave: Sticky);

#[cfg(test)]
mod tests {
    use super::*;

    fn slave(name: &str, running: u32, last_built_ms: Option<u64>) -> SlaveInfo {
        SlaveInfo {
            name: name.into(),
            running,
            max_builds: Some(4),
            connected_since_ms: 0,
            last_built_ms,
            last_outcome: None,
            load: None,
            properties: vec![],
        }
    }

    #[test]
    fn the_last_one_to_build_wins_and_the_least_loaded_where_none_did() {
        let name = |slaves: &[SlaveInfo]| choose(slaves).map(|slave| slave.name.clone());
        assert_eq!(
            name(&[slave("a", 0, Some(1)), slave("b", 3, Some(2)), slave("c", 0, None)]),
            Some("b".into())
        );
        assert_eq!(name(&[slave("a", 2, None), slave("b", 1, None)]), Some("b".into()));
        assert_eq!(name(&[]), None);
    }
}
