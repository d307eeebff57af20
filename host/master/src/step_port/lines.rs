//! Whole lines out of pieces of output, for those who observe a log: as Buildbot's observers get them, each on a line
//! of its own, whatever ended it.

use windlass_core::journal::Begun;
use windlass_core::lines;
use windlass_core::value::Origin;

/// The longest text of one event, and the longest line: a longer one is cut into several.
const MAX_TEXT: usize = 64 * 1024;

/// The lines of one log of one command. Lines count over all streams; a line belongs to one.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Begun);

/// Some whole lines with their ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) origin: Origin,
    pub(super) first_line: u64,
    pub(super) text: String,
}

impl Lines {
    /// Of a log that goes on from here.
    pub(super) fn resumed(begun: Begun) -> Lines {
        Lines(begun)
    }

    /// Where the log stands.
    pub(super) fn begun(&self) -> &Begun {
        &self.0
    }

    /// Takes a piece of output; the lines that it completes, in few and large texts.
    pub(super) fn push(&mut self, origin: Origin, data: &[u8]) -> Vec<Whole> {
        let mut whole = Vec::new();
        let mut group = std::mem::take(&mut self.0.partial[slot(origin)]);
        let mut complete = 0;
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            let mut rest = line;
            while group.len() + rest.len() > MAX_TEXT {
                if complete > 0 {
                    // What is complete goes out; the begun line stays.
                    let begun = group.split_off(complete);
                    self.take(origin, &group, &mut whole);
                    group = begun;
                    complete = 0;
                } else {
                    let (fits, more) = rest.split_at(MAX_TEXT - group.len());
                    group.extend_from_slice(fits);
                    let begun = group.split_off(boundary(&group));
                    self.take(origin, &group, &mut whole);
                    group = begun;
                    rest = more;
                }
            }
            group.extend_from_slice(rest);
            if group.ends_with(b"\n") && group.len() > complete {
                complete = group.len();
            }
        }
        let begun = group.split_off(complete);
        if complete > 0 {
            self.take(origin, &group, &mut whole);
        }
        self.0.partial[slot(origin)] = begun;
        whole
    }

    /// The command has ended: last lines without an end.
    pub(super) fn finish(&mut self) -> Vec<Whole> {
        let mut whole = Vec::new();
        for origin in [Origin::Stdout, Origin::Stderr, Origin::Header] {
            let rest = std::mem::take(&mut self.0.partial[slot(origin)]);
            if !rest.is_empty() {
                self.take(origin, &rest, &mut whole);
            }
        }
        whole
    }

    fn take(&mut self, origin: Origin, bytes: &[u8], whole: &mut Vec<Whole>) {
        let (text, lines) = lines::text(bytes);
        if text.len() > MAX_TEXT {
            // Replacement characters are longer than what they replace.
            let half = &bytes[..bytes.len() / 2];
            let at =
                half.iter().rposition(|byte| *byte == b'\n').map_or_else(|| boundary(half), |end| end + 1);
            self.take(origin, &bytes[..at], whole);
            return self.take(origin, &bytes[at..], whole);
        }
        whole.push(Whole { origin, first_line: self.0.next, text });
        self.0.next += lines;
    }
}

/// Where the last character ends that is whole, or is none.
fn boundary(bytes: &[u8]) -> usize {
    let begun = bytes.iter().rev().take(3).position(|byte| byte & 0xc0 != 0x80);
    let Some(back) = begun else { return bytes.len() };
    let length = match bytes[bytes.len() - 1 - back] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    if length > back + 1 { bytes.len() - 1 - back } else { bytes.len() }
}

fn slot(origin: Origin) -> usize {
    match origin {
        Origin::Stdout => 0,
        Origin::Stderr => 1,
        Origin::Header => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]], expected: &[(u64, &str)]) {
        let mut lines = Lines::default();
        let mut seen: Vec<Whole> =
            pieces.iter().flat_map(|piece| lines.push(Origin::Stdout, piece)).collect();
        seen.extend(lines.finish());
        let seen: Vec<_> = seen.iter().map(|whole| (whole.first_line, whole.text.as_str())).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn lines_are_whole_wherever_the_output_was_cut() {
        check(&[b"a\nb\n"], &[(0, "a\nb\n")]);
        check(&[b"a", b"b\nc", b"\n"], &[(0, "ab\n"), (1, "c\n")]);
        check(&[b"a\nb"], &[(0, "a\n"), (1, "b")]);
        check(&[b"\n\n", b"x\n"], &[(0, "\n\n"), (2, "x\n")]);
        check(&[b"1%\r2", b"%\r", b"\nend\r\n"], &[(0, "1%\n2%\nend\n")]);
        check(&[], &[]);
    }

    #[test]
    fn bytes_that_are_not_text_are_replaced() {
        check(&[b"a\xff\n"], &[(0, "a\u{fffd}\n")]);
    }

    #[test]
    fn long_line_is_cut_and_long_output_comes_in_several_texts() {
        let mut lines = Lines::default();
        let long = vec![b'x'; MAX_TEXT + 10];
        let cut = lines.push(Origin::Stdout, &long);
        assert_eq!((cut.len(), cut[0].text.len()), (1, MAX_TEXT));
        assert_eq!(lines.push(Origin::Stdout, b"\n")[0].text, "xxxxxxxxxx\n");

        let many = b"0123456789\n".repeat(10_000);
        let mut lines = Lines::default();
        let texts = lines.push(Origin::Stdout, &many);
        assert!(texts.iter().all(|whole| whole.text.len() <= MAX_TEXT && whole.text.ends_with('\n')));
        assert_eq!(texts.iter().map(|whole| whole.text.len()).sum::<usize>(), many.len());
        let mut next = 0;
        for whole in &texts {
            assert_eq!(whole.first_line, next);
            next += whole.text.lines().count() as u64;
        }
    }

    /// Symptom: names in XML of one long line differed from run to run. Cause: a line was cut at 64 KiB wherever that
    /// was, and what became longer by replacement characters lost its end. Cure: it is cut between characters, and
    /// into as many texts as it takes.
    #[test]
    fn a_long_line_is_cut_between_characters_and_loses_none() {
        for (unit, shown) in [("aäß€🦀".as_bytes(), "aäß€🦀"), (&b"\xfc"[..], "\u{fffd}")] {
            for shift in 0..4 {
                let mut bytes = b"x".repeat(shift);
                bytes.extend(unit.repeat(3 * MAX_TEXT / unit.len()));
                let expected = "x".repeat(shift) + &shown.repeat(3 * MAX_TEXT / unit.len());
                for piece in [1_000, MAX_TEXT, bytes.len()] {
                    let mut lines = Lines::default();
                    let mut texts: Vec<Whole> =
                        bytes.chunks(piece).flat_map(|piece| lines.push(Origin::Stdout, piece)).collect();
                    texts.extend(lines.finish());
                    assert!(texts.iter().all(|whole| whole.text.len() <= MAX_TEXT));
                    let all: String = texts.into_iter().map(|whole| whole.text).collect();
                    assert!(all == expected, "{shown} in pieces of {piece}, shifted by {shift}");
                }
            }
        }
    }

    #[test]
    fn streams_of_one_log_do_not_mix_within_a_line() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(Origin::Stdout, b"out"), []);
        let err = lines.push(Origin::Stderr, b"err\n");
        assert_eq!(err, [Whole { origin: Origin::Stderr, first_line: 0, text: "err\n".to_owned() }]);
        let out = lines.push(Origin::Stdout, b"put\n");
        assert_eq!(out, [Whole { origin: Origin::Stdout, first_line: 1, text: "output\n".to_owned() }]);
    }
}
