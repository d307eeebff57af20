//! How a component that is run again gets the answers that it got before.
//!
//! A component is ordinary blocking code. Each call of it is answered from the tape as far as that goes; the first
//! one without an answer is live. One that calls something else then is not deterministic, and its command ends.

use std::collections::VecDeque;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::spool::left::Answer;
use crate::spool::tape::Call;

/// What there is of a call.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The answer, as it was recorded.
    Recorded(Vec<u8>),
    /// It is made now for the first time.
    Live,
    /// It is not the one that was made before.
    Diverged,
}

/// The answers that a component got before, and how far it is with them.
#[derive(Debug, Default)]
pub struct Story {
    answers: VecDeque<Answer>,
    /// Calls so far, for people.
    calls: usize,
    /// How often it asked whether it is interrupted, since its last call.
    asked: u64,
    /// It knows of an interrupt.
    heard: bool,
    diverged: Option<String>,
}

/// What a component that asks whether it is interrupted is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// That it is.
    Yes,
    /// That it is not: it was not then.
    No,
    /// What is true now; if that is yes, for the first time, after so many questions.
    Now(u64),
}

impl Story {
    /// Of a component that was answered this.
    pub fn new(answers: VecDeque<Answer>) -> Story {
        Story { answers, ..Story::default() }
    }

    /// What there is of the call that the component makes.
    pub fn next(&mut self, call: Call, args: u64) -> Next {
        self.calls += 1;
        self.asked = 0;
        if self.diverged.is_some() {
            return Next::Diverged;
        }
        match self.answers.front() {
            None => Next::Live,
            Some(Answer::Of { call: was, args: with, .. }) if (*was, *with) == (call, args) => {
                match self.answers.pop_front() {
                    Some(Answer::Of { answer, .. }) => Next::Recorded(answer),
                    Some(Answer::Heard { .. }) | None => unreachable!("BUG: it was looked at just now"),
                }
            }
            Some(before) => {
                let was = match before {
                    Answer::Of { call, args, .. } => format!("`{call:?}` with arguments {args:016x}"),
                    Answer::Heard { asked } => format!("question {asked} for an interrupt"),
                };
                self.diverged = Some(format!(
                    "the command is not deterministic: run again after its worker's agent had ended, its call {} was \
                     {was}, and is now `{call:?}` with arguments {args:016x}",
                    self.calls
                ));
                Next::Diverged
            }
        }
    }

    /// The component asks whether it is interrupted.
    pub fn asks(&mut self) -> Asked {
        self.asked += 1;
        if self.heard {
            return Asked::Yes;
        }
        match self.answers.front() {
            Some(Answer::Heard { asked }) if *asked == self.asked => {
                self.answers.pop_front();
                self.heard = true;
                Asked::Yes
            }
            Some(_) => Asked::No,
            None => Asked::Now(self.asked),
        }
    }

    /// It was told that it is, for the first time.
    pub fn hears(&mut self) {
        self.heard = true;
    }

    /// Why it can't be gone on with, if it can't.
    pub fn diverged(&self) -> Option<&str> {
        self.diverged.as_deref()
    }
}

/// A number for the arguments of a call.
pub fn args(arguments: &impl Serialize) -> u64 {
    let bytes = rmp_serde::to_vec(arguments).unwrap_or_default();
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(&bytes).as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// An answer as it stands on a tape.
pub fn encode(answer: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(answer).unwrap_or_default()
}

/// The answer that stands there; none: another version of this program wrote something else.
pub fn decode<T: DeserializeOwned>(answer: &[u8]) -> Option<T> {
    rmp_serde::from_slice(answer).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(call: Call, args: u64) -> Answer {
        Answer::Of { call, args, answer: encode(&args) }
    }

    #[test]
    fn calls_are_answered_in_order_and_then_they_are_live() {
        let mut story = Story::new([of(Call::Stat, 1), of(Call::Sleep, 2)].into());
        assert_eq!(story.next(Call::Stat, 1), Next::Recorded(encode(&1_u64)));
        assert_eq!(story.next(Call::Sleep, 2), Next::Recorded(encode(&2_u64)));
        assert_eq!(story.next(Call::Sleep, 2), Next::Live);
        assert_eq!(story.diverged(), None);
    }

    #[test]
    fn another_call_is_named_with_both_versions_of_it_and_nothing_is_answered_any_more() {
        let mut story = Story::new([of(Call::Stat, 1), of(Call::Sleep, 2)].into());
        assert_eq!(story.next(Call::Glob, 1), Next::Diverged);
        let message = story.diverged().expect("it is not deterministic").to_owned();
        assert!(message.contains("call 1 was `Stat` with arguments 0000000000000001"), "{message}");
        assert!(message.contains("now `Glob`"), "{message}");
        assert_eq!(story.next(Call::Stat, 1), Next::Diverged);
    }

    #[test]
    fn an_interrupt_is_heard_at_the_same_question_again() {
        let mut story = Story::new([of(Call::Stat, 1), Answer::Heard { asked: 3 }].into());
        assert_eq!(story.asks(), Asked::No);
        assert_eq!(story.next(Call::Stat, 1), Next::Recorded(encode(&1_u64)));
        assert_eq!([story.asks(), story.asks(), story.asks()], [Asked::No, Asked::No, Asked::Yes]);
        assert_eq!(story.asks(), Asked::Yes);
        let mut live = Story::default();
        assert_eq!([live.asks(), live.asks()], [Asked::Now(1), Asked::Now(2)]);
        live.hears();
        assert_eq!(live.asks(), Asked::Yes);
    }
}
