//! Whose turn it is: for each crew, the builders that have something to start, in the default order. A slot that comes
//! free costs a look at the first builder of its crews, whatever number of others wait.

use std::collections::{BTreeMap, BTreeSet};

use super::slots::{CrewNo, Slots};
use crate::request::Turn;

/// The places of all builders that have something to start.
#[derive(Debug, Default)]
pub(super) struct Turns {
    crews: BTreeMap<CrewNo, Queue>,
    /// Each builder's crew and place.
    places: BTreeMap<String, (CrewNo, Place)>,
    /// Crews in which something happened since nobody of them could begin.
    open: BTreeSet<CrewNo>,
}

/// The builders of one crew.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeSet<Place>,
    /// Those that could not begin although there may be room: it was none for them, or locks were in the way, or
    /// their policy left them out. They wait again when a slot comes free.
    stuck: BTreeSet<Place>,
}

/// Where a builder stands. One whose policies just left a request goes behind the others, so that it does not starve
/// them of slots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) refusals: u32,
    pub(super) turn: Turn,
    pub(super) builder: String,
}

impl Turns {
    /// The builder waits for its turn, whether it stood somewhere already or not.
    pub(super) fn wait(&mut self, crew: CrewNo, place: Place) {
        self.leave(&place.builder);
        self.places.insert(place.builder.clone(), (crew, place.clone()));
        self.crews.entry(crew).or_default().waiting.insert(place);
        self.open.insert(crew);
    }

    /// The builder has nothing to start.
    pub(super) fn leave(&mut self, builder: &str) {
        let Some((crew, place)) = self.places.remove(builder) else { return };
        if let Some(queue) = self.crews.get_mut(&crew) {
            let _ = queue.waiting.remove(&place) || queue.stuck.remove(&place);
        }
    }

    /// The builder cannot begin now.
    pub(super) fn get_stuck(&mut self, builder: &str) {
        let Some((crew, place)) = self.places.get(builder) else { return };
        if let Some(queue) = self.crews.get_mut(crew)
            && let Some(place) = queue.waiting.take(place)
        {
            queue.stuck.insert(place);
        }
    }

    /// A slot of the crew came free, or a worker came.
    pub(super) fn room(&mut self, crew: CrewNo) {
        if let Some(queue) = self.crews.get_mut(&crew) {
            queue.waiting.append(&mut queue.stuck);
            self.open.insert(crew);
        }
    }

    /// The builder whose turn it is, if there is one in a crew that may have room.
    pub(super) fn first(&mut self, slots: &Slots) -> Option<&str> {
        let crews = &self.crews;
        let first = |crew: &CrewNo| crews.get(crew).and_then(|queue| queue.waiting.first());
        self.open.retain(|crew| slots.may_have_room(*crew) && first(crew).is_some());
        self.open.iter().filter_map(first).min().map(|place| place.builder.as_str())
    }

    /// Whether the builder's turn will come without anything else happening.
    #[cfg(test)]
    pub(super) fn is_waiting(&self, builder: &str) -> bool {
        self.places.get(builder).is_some_and(|(crew, place)| {
            self.open.contains(crew) && self.crews.get(crew).is_some_and(|q| q.waiting.contains(place))
        })
    }
}
