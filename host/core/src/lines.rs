//! Where the lines of a log begin, byte by byte and wherever the output was cut into pieces.
//!
//! A line ends with a newline, with a carriage return (and the newline behind it), with a move of the cursor
//! to a saved or a given place, with a clearing of the screen, or with backspaces: each time a progress bar is
//! drawn anew it is a new line, as Buildbot has it. Another stream ends it, too, so that each line has one
//! stream. Nothing is taken out: all of these are found in bytes that stay as they came.

/// How far a log is within a line: what is to be known of its beginning to find the lines of the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum At {
    /// Within a line; also what is said of pieces that were written before places were kept.
    In = 0,
    /// The next byte begins a line.
    #[default]
    Begin = 1,
    /// After a carriage return: the next byte begins a line unless it is the newline that belongs to it.
    Return = 2,
    /// After a backspace: the next byte begins a line unless it is another one.
    Backspace = 3,
    /// After ESC.
    Escape = 4,
    /// After `ESC [`.
    Bracket = 5,
    /// After `ESC [ 2`, which may become a clearing of the screen.
    Two = 6,
    /// After `ESC [` and a number.
    Row = 7,
    /// After the semicolon behind it.
    Semicolon = 8,
    /// After the second number.
    Column = 9,
}

const BACKSPACE: u8 = 8;
const ESCAPE: u8 = 0x1b;

/// So many bytes are looked at as one: without anything rare in them, newlines are all that counts.
const BLOCK: usize = 1024;

impl At {
    /// From its number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<At> {
        use At::{Backspace, Begin, Bracket, Column, Escape, In, Return, Row, Semicolon, Two};
        let all = [In, Begin, Return, Backspace, Escape, Bracket, Two, Row, Semicolon, Column];
        all.into_iter().find(|at| *at as u8 == number)
    }

    /// Takes one byte. True: a line begins with it.
    #[inline]
    pub fn step(&mut self, byte: u8) -> bool {
        let begins = match (*self, byte) {
            (At::Return, b'\n') => {
                *self = At::Begin;
                return false;
            }
            (At::Backspace, BACKSPACE) => return false,
            (At::Begin | At::Return | At::Backspace, _) => true,
            (At::In | At::Escape | At::Bracket | At::Two | At::Row | At::Semicolon | At::Column, _) => false,
        };
        *self = match (*self, byte) {
            (At::Escape, b'[') => At::Bracket,
            (At::Bracket, b'u') | (At::Two, b'J') | (At::Column, b'H' | b'f') => At::Begin,
            (At::Bracket, b'2') => At::Two,
            (At::Bracket | At::Two | At::Row, b'0'..=b'9') => At::Row,
            (At::Two | At::Row, b';') => At::Semicolon,
            (At::Semicolon | At::Column, b'0'..=b'9') => At::Column,
            (_, b'\n') => At::Begin,
            (_, b'\r') => At::Return,
            (_, BACKSPACE) => At::Backspace,
            (_, ESCAPE) => At::Escape,
            (_, _) => At::In,
        };
        begins
    }

    /// Takes many bytes; answers how many lines begin in them.
    pub fn count(&mut self, data: &[u8]) -> u64 {
        let mut begun = 0;
        for block in data.chunks(BLOCK) {
            if matches!(self, At::In | At::Begin) && is_plain(block) {
                let newlines = newlines(block);
                begun += newlines + u64::from(*self == At::Begin);
                *self = At::In;
                if block.last() == Some(&b'\n') {
                    begun -= 1;
                    *self = At::Begin;
                }
            } else {
                begun += block.iter().map(|byte| u64::from(self.step(*byte))).sum::<u64>();
            }
        }
        begun
    }

    /// Takes bytes up to the one with which line number `nth` (from 0) of those that begin in them begins, and
    /// answers where it is; or takes all of them, and answers how many lines began.
    pub fn find(&mut self, data: &[u8], nth: u64) -> Result<usize, u64> {
        let mut begun = 0;
        for (block, start) in data.chunks(BLOCK).zip((0..).step_by(BLOCK)) {
            let before = *self;
            let in_block = self.count(block);
            if begun + in_block > nth {
                *self = before;
                for (at, byte) in block.iter().enumerate() {
                    let was = *self;
                    if self.step(*byte) {
                        if begun == nth {
                            *self = was;
                            return Ok(start + at);
                        }
                        begun += 1;
                    }
                }
            }
            begun += in_block;
        }
        Err(begun)
    }
}

/// Whether newlines are all that counts in it. Parts are whole registers, as below.
fn is_plain(bytes: &[u8]) -> bool {
    let rare =
        |byte: &u8| u8::from(*byte == b'\r') | u8::from(*byte == BACKSPACE) | u8::from(*byte == ESCAPE);
    let in_part = |part: &[u8]| part.iter().map(rare).fold(0, |any, rare| any | rare);
    let (parts, rest) = bytes.as_chunks::<128>();
    parts.iter().map(|part| in_part(part)).fold(in_part(rest), |any, rare| any | rare) == 0
}

/// How many newlines there are. Counted in bytes, in parts that a byte can count and that are whole registers: many are
/// compared and added at once, and none one by one.
fn newlines(bytes: &[u8]) -> u64 {
    let in_part = |part: &[u8]| u64::from(part.iter().map(|byte| u8::from(*byte == b'\n')).sum::<u8>());
    let (parts, rest) = bytes.as_chunks::<128>();
    parts.iter().map(|part| in_part(part)).sum::<u64>() + in_part(rest)
}

/// What a line says: without that which ends it.
#[must_use]
pub fn content(line: &[u8]) -> &[u8] {
    match line {
        [rest @ .., b'\r', b'\n'] => rest,
        [rest @ .., b'\n' | b'\r'] => rest,
        [.., BACKSPACE] => {
            let end = line.iter().rposition(|byte| *byte != BACKSPACE).map_or(0, |last| last + 1);
            &line[..end]
        }
        [.., b'u' | b'J' | b'H' | b'f'] => {
            let start = line.iter().rposition(|byte| *byte == ESCAPE);
            let ends = |start: &usize| {
                let mut at = At::In;
                at.count(&line[*start..]);
                at == At::Begin
            };
            start.filter(ends).map_or(line, |start| &line[..start])
        }
        _ => line,
    }
}

/// Cuts bytes before each line that begins in them; the first part goes on with the line that was begun.
pub fn split<'d>(at: &mut At, data: &'d [u8]) -> Vec<&'d [u8]> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (position, byte) in data.iter().enumerate() {
        if at.step(*byte) && position > 0 {
            parts.push(&data[start..position]);
            start = position;
        }
    }
    if start < data.len() {
        parts.push(&data[start..]);
    }
    parts
}

/// Lines as people and plugins see them: each on a line of its own, whatever ended it, and how many they are. Bytes
/// that are no text are replaced.
#[must_use]
pub fn text(data: &[u8]) -> (String, u64) {
    let parts = split(&mut At::default(), data);
    let count = parts.len();
    let mut text = String::with_capacity(data.len());
    for (i, line) in parts.into_iter().enumerate() {
        let content = content(line);
        text.push_str(&String::from_utf8_lossy(content));
        if i + 1 < count || content.len() < line.len() {
            text.push('\n');
        }
    }
    (text, count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, lines: &[&str]) {
        let mut at = At::default();
        let parts = split(&mut at, text.as_bytes());
        let seen: Vec<_> = parts.iter().map(|line| std::str::from_utf8(content(line)).unwrap()).collect();
        assert_eq!(seen, lines, "{text:?}");
        assert_eq!(At::default().count(text.as_bytes()), lines.len() as u64, "{text:?}");
    }

    #[test]
    fn lines_end_as_buildbot_ends_them() {
        check("", &[]);
        check("one\ntwo", &["one", "two"]);
        check("\n\na\n", &["", "", "a"]);
        check("dos\r\nunix\n", &["dos", "unix"]);
        check("10%\r20%\r30%\ndone\n", &["10%", "20%", "30%", "done"]);
        check("spin /\x08-\x08\x08|\n", &["spin /", "-", "|"]);
        check("a\x1b[ub\x1b[12;40Hc\x1b[2Jd\x1b[1;1fe", &["a", "b", "c", "d", "e"]);
        check("a\r", &["a"]);
    }

    #[test]
    fn what_a_progress_bar_showed_stands_in_lines() {
        let check = |data: &[u8], expected: &str, lines| assert_eq!(text(data), (expected.to_owned(), lines));
        check(b"10%\r20%\rdone\n", "10%\n20%\ndone\n", 3);
        check(b"dos\r\nno end", "dos\nno end", 2);
        check(b"\xff\n", "\u{fffd}\n", 1);
        check(b"", "", 0);
    }

    #[test]
    fn colours_and_what_only_looks_like_a_move_end_no_line() {
        check("\x1b[1;32mok\x1b[0m\n", &["\x1b[1;32mok\x1b[0m"]);
        check("\x1b[Hhome \x1b[12H \x1b[;H \x1b[22J x\n", &["\x1b[Hhome \x1b[12H \x1b[;H \x1b[22J x"]);
        check("Hull and tuJ", &["Hull and tuJ"]);
    }

    #[test]
    fn numbers_name_places() {
        for number in 0..=9 {
            assert_eq!(At::from_number(number).unwrap() as u8, number);
        }
        assert_eq!(At::from_number(10), None);
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\r".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\x08".to_vec()),
            Just(b"\x1b[".to_vec()),
            Just(b"2J".to_vec()),
            Just(b"u".to_vec()),
            Just(b"1;2H".to_vec()),
            Just(vec![b'x'; 1500]),
            prop::collection::vec(any::<u8>(), 0..5),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn pieces_have_the_lines_of_the_whole(data in bytes(), cuts in prop::collection::vec(0usize..20_000, 0..8)) {
            let mut begins = Vec::new();
            let mut whole = At::default();
            for (position, byte) in data.iter().enumerate() {
                if whole.step(*byte) {
                    begins.push(position);
                }
            }
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= data.len()).collect();
            cuts.extend([0, data.len()]);
            cuts.sort_unstable();
            let mut at = At::default();
            let mut counted = 0;
            for pair in cuts.windows(2) {
                let piece = &data[pair[0]..pair[1]];
                let here: Vec<_> = begins.iter().filter(|b| (pair[0]..pair[1]).contains(b)).map(|b| b - pair[0]).collect();
                for (nth, position) in here.iter().enumerate() {
                    let mut from = at;
                    prop_assert_eq!(from.find(piece, nth as u64), Ok(*position));
                }
                let mut from = at;
                prop_assert_eq!(from.find(piece, here.len() as u64), Err(here.len() as u64));
                counted += at.count(piece);
            }
            prop_assert_eq!((counted, at), (begins.len() as u64, whole));
        }
    }
}
