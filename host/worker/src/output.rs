//! What a child wrote, on its two ways: to a log, gathered a little so that a chatty child does not
//! make a message of each line; and to the guest, as chunks or as whole lines.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use windlass_core::value::Origin;
use windlass_runtime::port::{ChildEvent, Delivery};

use crate::spool::MAX_LOG_DATA;

/// How long output is gathered after some was sent. Nobody sees 10 ms, and 100 messages a second for
/// each command are few.
const GATHER: Duration = Duration::from_millis(10);

/// Output on its way to a log, in the order in which the lines of both streams ended: a line stays together, though the
/// other stream came in between. The beginning of a line waits for its end for [`GATHER`] and no longer, and no longer
/// than one update.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Whole lines.
    whole: Vec<(Origin, BytesMut)>,
    bytes: usize,
    /// Beginnings of lines, of standard output and of standard error.
    begun: [BytesMut; 2],
    /// Since when each of them is kept back, though something was sent on.
    kept: [Option<Instant>; 2],
    /// When output was sent on last; what comes long after goes at once.
    sent: Option<Instant>,
}

impl Gathered {
    /// With these beginnings of lines.
    pub fn resumed(begun: [Vec<u8>; 2]) -> Gathered {
        Gathered { begun: begun.map(|line| line.as_slice().into()), ..Gathered::default() }
    }

    /// Adds what was read.
    pub fn push(&mut self, origin: Origin, data: &[u8]) {
        let which = stream(origin);
        let (ended, rest) = data
            .split_at(data.iter().rposition(|byte| matches!(byte, b'\n' | b'\r')).map_or(0, |end| end + 1));
        if !ended.is_empty() {
            self.put(origin, ended);
        }
        self.begun[which].extend_from_slice(rest);
        if self.begun[which].len() >= MAX_LOG_DATA {
            self.finish(origin);
        }
    }

    /// What waits of a stream waits no longer.
    pub fn finish(&mut self, origin: Origin) {
        if !self.begun[stream(origin)].is_empty() {
            self.put(origin, &[]);
        }
    }

    /// Adds what was begun of a line, and this.
    fn put(&mut self, origin: Origin, data: &[u8]) {
        let which = stream(origin);
        self.kept[which] = None;
        let mut begun = self.begun[which].split();
        self.bytes += begun.len() + data.len();
        match self.whole.last_mut() {
            Some((last, whole))
                if *last == origin && whole.len() + begun.len() + data.len() <= MAX_LOG_DATA =>
            {
                whole.extend_from_slice(&begun);
                whole.extend_from_slice(data);
            }
            Some(_) | None => {
                begun.extend_from_slice(data);
                self.whole.push((origin, begun));
            }
        }
    }

    /// When [`Gathered::take`] is due; `None`: there is nothing.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let nothing = self.bytes == 0 && self.begun.iter().all(|line| line.is_empty());
        match self.sent {
            _ if nothing => None,
            Some(sent) if self.bytes < MAX_LOG_DATA => {
                let kept = self.kept.into_iter().flatten().min();
                Some(kept.map_or(sent, |kept| kept.min(sent)) + GATHER)
            }
            Some(_) | None => Some(now),
        }
    }

    /// Takes whole lines, and those beginnings of lines whose time has come.
    pub fn take(&mut self, now: Instant) -> impl Iterator<Item = (Origin, Bytes)> + use<> {
        let has_come = |since: Option<Instant>| since.is_some_and(|since| since + GATHER <= now);
        let all = self.sent.is_none() || has_come(self.sent);
        for origin in [Origin::Stdout, Origin::Stderr] {
            let which = stream(origin);
            if self.begun[which].is_empty() {
                continue;
            }
            if all || has_come(self.kept[which]) {
                self.finish(origin);
            } else {
                self.kept[which].get_or_insert(now);
            }
        }
        if self.bytes > 0 {
            self.sent = Some(now);
        }
        self.bytes = 0;
        std::mem::take(&mut self.whole).into_iter().map(|(origin, whole)| (origin, whole.freeze()))
    }

    /// The beginnings of lines, of standard output and of standard error, that were not taken.
    pub fn begun(&self) -> [Vec<u8>; 2] {
        self.begun.each_ref().map(|line| line.to_vec())
    }
}

/// Counts the lines of both streams: `\n`, `\r\n` and a lone `\r` end one, wherever output is cut into pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    count: u64,
    /// Of standard output and of standard error: the last byte was a `\r`.
    after_cr: [bool; 2],
}

impl Lines {
    /// Counts those that end in this piece; all of them so far.
    pub fn count(&mut self, origin: Origin, data: &[u8]) -> u64 {
        let after_cr = &mut self.after_cr[usize::from(origin == Origin::Stderr)];
        for byte in data {
            match byte {
                b'\n' if *after_cr => {}
                b'\n' | b'\r' => self.count += 1,
                _ => {}
            }
            *after_cr = *byte == b'\r';
        }
        self.count
    }
}

fn stream(origin: Origin) -> usize {
    usize::from(origin == Origin::Stderr)
}

/// Half of what an event may hold: a carried line and what was read fit into one.
const MAX_CARRY: usize = 32 * 1024;

/// Output on its way to the guest.
#[derive(Debug)]
pub struct Delivered {
    how: Delivery,
    /// The beginnings of lines, of standard output and of standard error.
    carry: [BytesMut; 2],
    ready: VecDeque<ChildEvent>,
}

impl Delivered {
    /// For a guest that wants its output like this.
    pub fn new(how: Delivery) -> Delivered {
        Delivered::resumed(how, Default::default(), Vec::new())
    }

    /// For one that had these beginnings of lines, and is to get these events once more.
    pub fn resumed(how: Delivery, carry: [Vec<u8>; 2], events: Vec<ChildEvent>) -> Delivered {
        Delivered { how, carry: carry.map(|line| line.as_slice().into()), ready: events.into() }
    }

    /// The beginnings of lines, of standard output and of standard error.
    pub fn carry(&self) -> [Vec<u8>; 2] {
        self.carry.each_ref().map(|line| line.to_vec())
    }

    /// Events that the guest has not got yet.
    pub fn count(&self) -> usize {
        self.ready.len()
    }

    /// The events that came after so many.
    pub fn since(&self, count: usize) -> impl Iterator<Item = &ChildEvent> {
        self.ready.iter().skip(count)
    }

    /// Whether the guest gets anything.
    pub fn is_wanted(&self) -> bool {
        self.how != Delivery::None
    }

    /// Adds what was read, at most 32 KiB.
    pub fn push(&mut self, origin: Origin, data: &[u8]) {
        match self.how {
            Delivery::None => {}
            Delivery::Chunks => {
                self.ready.push_back(ChildEvent::Output(origin, Bytes::copy_from_slice(data)));
            }
            Delivery::Lines => {
                let carry = &mut self.carry[usize::from(origin == Origin::Stderr)];
                carry.extend_from_slice(data);
                let whole = match carry.iter().rposition(|byte| *byte == b'\n') {
                    Some(end) => carry.split_to(end + 1),
                    None if carry.len() > MAX_CARRY => carry.split(),
                    None => return,
                };
                self.ready.push_back(lines(origin, &whole));
                // What is left after the last end of a line is itself part of 32 KiB read.
            }
        }
    }

    /// The streams ended: last lines without an end come too.
    pub fn finish(&mut self) {
        for (carry, origin) in self.carry.iter_mut().zip([Origin::Stdout, Origin::Stderr]) {
            if !carry.is_empty() {
                self.ready.push_back(lines(origin, &carry.split()));
            }
        }
    }

    /// Nobody listens any more.
    pub fn close(&mut self) {
        *self = Delivered::new(Delivery::None);
    }

    /// Whether something waits for the guest. While it does, nothing more is read.
    pub fn is_waiting(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What the guest gets next.
    pub fn pop(&mut self) -> Option<ChildEvent> {
        self.ready.pop_front()
    }
}

fn lines(origin: Origin, bytes: &[u8]) -> ChildEvent {
    ChildEvent::Lines(origin, String::from_utf8_lossy(bytes).into_owned())
}

/// Cuts an event so that the guest gets at most `max` bytes; the rest comes next.
pub fn cut(event: ChildEvent, max: usize) -> (ChildEvent, Option<ChildEvent>) {
    match event {
        ChildEvent::Output(origin, mut data) if data.len() > max => {
            let rest = data.split_off(max.max(1));
            (ChildEvent::Output(origin, data), Some(ChildEvent::Output(origin, rest)))
        }
        ChildEvent::Lines(origin, mut text) if text.len() > max => {
            // After a whole line if one fits, else between two characters.
            let mut at = text.floor_char_boundary(max);
            if let Some(end) = text[..at].rfind('\n') {
                at = end + 1;
            }
            if at == 0 {
                at = text.chars().next().map_or(0, char::len_utf8);
            }
            let rest = text.split_off(at);
            let rest = (!rest.is_empty()).then_some(ChildEvent::Lines(origin, rest));
            (ChildEvent::Lines(origin, text), rest)
        }
        whole => (whole, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Origin::{Stderr, Stdout};
    use proptest::prelude::*;

    fn all(delivered: &mut Delivered) -> Vec<ChildEvent> {
        std::iter::from_fn(|| delivered.pop()).collect()
    }

    #[test]
    fn first_output_goes_at_once_and_what_follows_closely_is_gathered() {
        let mut gathered = Gathered::default();
        let now = Instant::now();
        assert_eq!(gathered.due(now), None);
        gathered.push(Stdout, b"a");
        assert_eq!(gathered.due(now), Some(now));
        assert_eq!(gathered.take(now).count(), 1);
        gathered.push(Stdout, b"b");
        gathered.push(Stdout, b"c");
        gathered.push(Stderr, b"d");
        gathered.push(Stdout, b"e");
        assert_eq!(gathered.due(now), Some(now + GATHER));
        assert_eq!(gathered.take(now).count(), 0, "no line of it has ended");
        let pieces: Vec<_> = gathered.take(now + GATHER).collect();
        assert_eq!(pieces, [(Stdout, "bce".into()), (Stderr, "d".into())]);
        gathered.push(Stdout, &[0; MAX_LOG_DATA]);
        assert_eq!(gathered.due(now), Some(now), "a full message waits for nothing");
    }

    #[test]
    fn a_line_ends_once_however_it_ends_and_is_cut() {
        let mut lines = Lines::default();
        assert_eq!(lines.count(Stdout, b"a\r\nb\rc\nd"), 3);
        assert_eq!(lines.count(Stdout, b"\r"), 4);
        assert_eq!(lines.count(Stderr, b"\n"), 5, "each stream has its own");
        assert_eq!(lines.count(Stdout, b"\n\n\r\r"), 8);
    }

    #[test]
    fn a_line_stays_together_though_the_other_stream_came_in_between() {
        let mut gathered = Gathered::default();
        for (origin, data) in
            [(Stdout, "one\ntw"), (Stderr, "war"), (Stdout, "o\nthr"), (Stderr, "ning\n"), (Stderr, "x")]
        {
            gathered.push(origin, data.as_bytes());
        }
        let pieces: Vec<_> =
            gathered.take(Instant::now()).map(|(o, d)| (o, String::from_utf8(d.into()).unwrap())).collect();
        let piece = |origin, text: &str| (origin, text.to_owned());
        let expected = [
            piece(Stdout, "one\ntwo\n"),
            piece(Stderr, "warning\n"),
            piece(Stdout, "thr"),
            piece(Stderr, "x"),
        ];
        assert_eq!(pieces, expected);
    }

    /// Symptom: two lines that a build wrote to its two streams stood in each other. Cause: where an update was full, or the
    /// component took the output as it came, the beginnings of lines went with it. Cure: they wait for their ends, for a
    /// while.
    #[test]
    fn the_beginning_of_a_line_stays_behind_where_an_update_is_full_but_not_for_long() {
        let mut gathered = Gathered::default();
        let now = Instant::now();
        gathered.push(Stdout, b"first\n");
        assert_eq!(gathered.take(now).count(), 1);
        gathered.push(Stdout, &[b"x\n".repeat(MAX_LOG_DATA / 2), b"beg".to_vec()].concat());
        gathered.push(Stderr, b"warn");
        assert_eq!(gathered.due(now), Some(now));
        let taken: Vec<_> = gathered.take(now).collect();
        assert!(matches!(&taken[..], [(Stdout, data)] if data.len() == MAX_LOG_DATA));
        assert_eq!(gathered.begun(), [b"beg".to_vec(), b"warn".to_vec()]);
        assert_eq!(gathered.due(now), Some(now + GATHER));
        // However much comes on the other stream.
        let later = now + GATHER / 2;
        gathered.push(Stdout, b"un\n");
        assert_eq!(gathered.take(later).collect::<Vec<_>>(), [(Stdout, "begun\n".into())]);
        assert_eq!(gathered.due(later), Some(now + GATHER));
        assert_eq!(gathered.take(now + GATHER).collect::<Vec<_>>(), [(Stderr, "warn".into())]);
        assert_eq!(gathered.due(later), None);
    }

    #[derive(Clone, Debug)]
    enum Write {
        Data(Origin, Vec<u8>),
        Take,
        Wait,
    }

    /// Pieces of output, cut anywhere, some of them larger than an update; now and then it is taken, or time passes.
    fn writes() -> impl Strategy<Value = Vec<Write>> {
        let line = (0..200_usize, prop::sample::select(vec!["\n", "\r\n", "\r", ""]));
        let data = (any::<bool>(), prop::collection::vec(line, 0..300)).prop_map(|(is_error, lines)| {
            let data = lines.iter().flat_map(|(len, end)| ["x".repeat(*len), (*end).to_owned()]);
            Write::Data(if is_error { Stderr } else { Stdout }, data.collect::<String>().into_bytes())
        });
        let write = prop_oneof![6 => data, 3 => Just(Write::Take), 1 => Just(Write::Wait)];
        prop::collection::vec(write, 0..40)
    }

    proptest! {
        #[test]
        fn lines_of_two_streams_are_whole_in_a_log_unless_they_take_their_time(writes in writes()) {
            let mut gathered = Gathered::default();
            let mut now = Instant::now();
            let (mut written, mut taken) = ([vec![], vec![]], Vec::new());
            // A line may be cut here: its end was too far off, in bytes or in time.
            let mut cuts = std::collections::BTreeSet::new();
            for write in writes {
                match write {
                    Write::Data(origin, data) => {
                        written[stream(origin)].extend_from_slice(&data);
                        gathered.push(origin, &data);
                        prop_assert!(gathered.begun().iter().all(|line| line.len() < MAX_LOG_DATA));
                    }
                    Write::Take => {
                        // What comes after a while goes at once.
                        let at_once = gathered.sent.is_none_or(|sent| sent + GATHER <= now);
                        taken.extend(gathered.take(now));
                        cuts.extend(at_once.then_some(taken.len()));
                    }
                    Write::Wait => {
                        now += GATHER;
                        taken.extend(gathered.take(now));
                        prop_assert_eq!(gathered.due(now), None, "nothing waits for longer");
                        cuts.insert(taken.len());
                    }
                }
                let is_due = gathered.due(now);
                prop_assert!(is_due.is_none_or(|due| due <= now + GATHER));
            }
            gathered.finish(Stdout);
            gathered.finish(Stderr);
            taken.extend(gathered.take(now));
            let mut said = [vec![], vec![]];
            for (at, (origin, data)) in taken.iter().enumerate() {
                said[stream(*origin)].extend_from_slice(data);
                let ends = matches!(data.last(), Some(b'\n' | b'\r')) || data.len() >= MAX_LOG_DATA;
                let goes_on = taken.get(at + 1).is_some_and(|(next, _)| next != origin);
                let is_late = cuts.range(at..).next().is_some_and(|cut| *cut <= at + 2);
                prop_assert!(ends || !goes_on || is_late || at + 2 >= taken.len());
            }
            prop_assert_eq!(said, written);
        }
    }

    #[test]
    fn lines_are_whole_and_each_stream_has_its_own() {
        let mut delivered = Delivered::new(Delivery::Lines);
        delivered.push(Stdout, b"one\ntw");
        delivered.push(Stderr, b"err");
        delivered.push(Stdout, b"o\nthree\nfo\xff");
        let line = |origin, text: &str| ChildEvent::Lines(origin, text.into());
        assert_eq!(all(&mut delivered), [line(Stdout, "one\n"), line(Stdout, "two\nthree\n")]);
        delivered.finish();
        assert_eq!(all(&mut delivered), [line(Stdout, "fo\u{fffd}"), line(Stderr, "err")]);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut delivered = Delivered::new(Delivery::Lines);
        for _ in 0..3 {
            delivered.push(Stdout, &[b'x'; 20_000]);
        }
        let lens: Vec<_> = all(&mut delivered)
            .into_iter()
            .map(|e| match e {
                ChildEvent::Lines(_, text) => text.len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lens, [40_000]);
    }

    #[test]
    fn an_event_is_cut_to_what_the_guest_takes() {
        let text = |text: &str| ChildEvent::Lines(Stdout, text.into());
        assert_eq!(cut(text("a\nbb\nc"), 5), (text("a\nbb\n"), Some(text("c"))));
        assert_eq!(cut(text("a\nbb\nc"), 3), (text("a\n"), Some(text("bb\nc"))));
        assert_eq!(cut(text("äöü"), 3), (text("ä"), Some(text("öü"))));
        assert_eq!(cut(text("ä"), 1), (text("ä"), None), "never stuck on one character");
        let data = |data: &'static str| ChildEvent::Output(Stderr, data.into());
        assert_eq!(cut(data("abc"), 2), (data("ab"), Some(data("c"))));
        assert_eq!(cut(data("abc"), 0), (data("a"), Some(data("bc"))));
    }
}
