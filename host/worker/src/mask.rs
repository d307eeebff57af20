//! Takes secrets out of what processes say, wherever the output is cut into pieces.
//!
//! Pure: bytes in, bytes out. A [`Masker`] holds back what may be the beginning of a value and nothing
//! else, so that a prompt without an end of line still arrives; what it gives out in all does not
//! depend on the pieces.
//!
//! Deliberately absent: values that a program disguised itself, reversed or in hexadecimal digits.

use std::collections::BTreeMap;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use windlass_core::secret::MIN_VALUE;

/// The fewest bytes of a line of a value, and of a part of its base64: shorter ones stand in any log.
const MIN_PART: usize = 8;

/// The most bytes of a pattern. A longer value is masked piece by piece, so that what is searched for stays
/// small and what is held back is little; the pieces are shown as one.
const MAX_PIECE: usize = 128;

/// The longest value that is also looked for in other ways to write it.
const MAX_ENCODED: usize = 4 * 1024;

/// What is to be masked, and as what.
pub struct Mask {
    search: AhoCorasick,
    /// Sorted; each with what stands in its place.
    patterns: Vec<(Vec<u8>, String)>,
    longest: usize,
    begins: [bool; 256],
}

impl Mask {
    /// A mask over values, and over texts that stand as they are; each is shown as `<NAME>`.
    pub fn new<'a>(
        values: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Mask {
        let mut patterns = BTreeMap::new();
        for (name, text) in texts {
            patterns.insert(text.as_bytes().to_vec(), format!("<{name}>"));
        }
        for (name, value) in values {
            for form in forms(value) {
                for piece in pieces(&form) {
                    patterns.entry(piece.to_vec()).or_insert_with(|| format!("<{name}>"));
                }
            }
        }
        let patterns: Vec<(Vec<u8>, String)> = patterns.into_iter().collect();
        let search = AhoCorasick::builder()
            // Quickly built, for each command anew.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns.iter().map(|(pattern, _)| pattern))
            .expect("some kilobytes are far from the limit of states");
        let mut begins = [false; 256];
        patterns.iter().for_each(|(pattern, _)| begins[usize::from(pattern[0])] = true);
        let longest = patterns.iter().map(|(pattern, _)| pattern.len()).max().unwrap_or(0);
        Mask { search, patterns, longest, begins }
    }

    /// Masks a whole.
    pub fn bytes(&self, data: &[u8]) -> Vec<u8> {
        let mut out = Out::default();
        let mut at = 0;
        for found in self.search.find_iter(data) {
            out.plain(&data[at..found.start()]);
            out.hidden(self.name(&found));
            at = found.end();
        }
        out.plain(&data[at..]);
        out.bytes
    }

    fn name(&self, found: &aho_corasick::Match) -> &str {
        &self.patterns[found.pattern().as_usize()].1
    }

    /// Masks a whole text.
    pub fn text(&self, text: &str) -> String {
        // A value may end within a character; what is left of it is no text any more.
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    /// The first place from `from` on where a value may have begun that is not all there yet.
    fn open_from(&self, data: &[u8], from: usize) -> usize {
        let first = from.max((data.len() + 1).saturating_sub(self.longest));
        (first..data.len()).find(|at| self.is_beginning(&data[*at..])).unwrap_or(data.len())
    }

    fn is_beginning(&self, end: &[u8]) -> bool {
        if !self.begins[usize::from(end[0])] {
            return false;
        }
        // The sorted patterns that begin so stand side by side, the one that is nothing more first.
        let at = self.patterns.partition_point(|(pattern, _)| pattern.as_slice() <= end);
        self.patterns.get(at).is_some_and(|(pattern, _)| pattern.starts_with(end))
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask(…)")
    }
}

/// What is given out. Pieces of one secret that follow each other are shown once.
#[derive(Debug, Default)]
struct Out {
    bytes: Vec<u8>,
    last: String,
}

impl Out {
    fn plain(&mut self, data: &[u8]) {
        if !data.is_empty() {
            self.last.clear();
            self.bytes.extend_from_slice(data);
        }
    }

    fn hidden(&mut self, name: &str) {
        if self.last != name {
            self.last = name.to_owned();
            self.bytes.extend_from_slice(name.as_bytes());
        }
    }
}

/// Masks one stream.
#[derive(Debug)]
pub struct Masker {
    mask: Arc<Mask>,
    out: Out,
    /// What may be the beginning of a value.
    held: Vec<u8>,
}

impl Masker {
    /// At the beginning of a stream.
    pub fn new(mask: Arc<Mask>) -> Masker {
        Masker { mask, out: Out::default(), held: Vec::new() }
    }

    /// Takes a piece of the stream and gives what is certain of it.
    pub fn push(&mut self, data: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(data);
        let (mask, data, out) = (&self.mask, &self.held, &mut self.out);
        let mut at = 0;
        let mut open = mask.open_from(data, 0);
        loop {
            let rest = aho_corasick::Input::new(data).range(at..);
            match mask.search.find(rest) {
                // It begins where all is there: no longer one can begin here or before it.
                Some(found) if found.start() < open => {
                    out.plain(&data[at..found.start()]);
                    out.hidden(mask.name(&found));
                    at = found.end();
                    if open < at {
                        open = mask.open_from(data, at);
                    }
                }
                Some(_) | None => break,
            }
        }
        out.plain(&data[at..open]);
        self.held.drain(..open);
        std::mem::take(&mut self.out.bytes)
    }

    /// How much is held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The stream has ended: gives what was held back.
    pub fn finish(&mut self) -> Vec<u8> {
        let data = std::mem::take(&mut self.held);
        let mut at = 0;
        for found in self.mask.search.find_iter(&data) {
            self.out.plain(&data[at..found.start()]);
            self.out.hidden(self.mask.name(&found));
            at = found.end();
        }
        self.out.plain(&data[at..]);
        std::mem::take(&mut self.out.bytes)
    }
}

/// Cuts a form into pieces whose lengths differ by one at the most: a short rest would stand in any log.
fn pieces(form: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = form.len().div_ceil(MAX_PIECE);
    (0..count).map(move |n| &form[form.len() * n / count..form.len() * (n + 1) / count])
}

/// A value, and how programs usually write it.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines = lines.filter(|line| line.len() >= MIN_PART).map(<[u8]>::to_vec);
    let mut forms: Vec<Vec<u8>> =
        [value.to_vec(), value.trim_ascii().to_vec()].into_iter().chain(lines).collect();
    forms.retain(|form| form.len() >= MIN_VALUE);
    if value.len() > MAX_ENCODED {
        return forms;
    }
    for digits in ["0123456789ABCDEF", "0123456789abcdef"] {
        // By the letter of the standard, as JavaScript and Python leave more as it is, and as forms write a space.
        for kept in ["", "!'()*", "/"] {
            let escaped = percent(value, kept, digits);
            forms.push(with_plus(&escaped));
            forms.push(escaped);
        }
    }
    if let Ok(text) = std::str::from_utf8(value) {
        let quoted = serde_json::Value::from(text).to_string();
        forms.push(quoted.as_bytes()[1..quoted.len() - 1].to_vec());
    }
    for last in ["+/", "-_"] {
        let whole = base64(value, last);
        // As tools break it into lines: `base64`, then PEM.
        for columns in [76, 64] {
            forms.extend(lines_of(&whole, columns).map(<[u8]>::to_vec));
        }
        forms.push(whole);
        forms.extend((0..3).flat_map(|offset| base64_within(value, offset, last)));
    }
    forms
}

/// A longer text in lines of so many columns. What is too short to be one is one with the line before.
fn lines_of(text: &[u8], columns: usize) -> impl Iterator<Item = &[u8]> {
    let count = text.len() / columns;
    let rest = text.len() % columns;
    let last = if rest < MIN_PART { count.saturating_sub(1) } else { count };
    let short = (0 < rest && rest < MIN_PART).then(|| &text[last * columns..]);
    let lines = text.chunks(columns).filter(move |line| text.len() > columns && line.len() >= MIN_PART);
    lines.chain(short.filter(|_| text.len() > columns))
}

/// Percent-encoded but for letters, digits, `-._~` and what is in `kept`.
fn percent(value: &[u8], kept: &str, digits: &str) -> Vec<u8> {
    let digits = digits.as_bytes();
    let mut out = Vec::with_capacity(value.len() * 3);
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || kept.as_bytes().contains(byte) {
            out.push(*byte);
        } else {
            out.extend([b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
    }
    out
}

/// Percent-encoded with spaces as forms write them.
fn with_plus(escaped: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"%20") {
            out.push(b'+');
            rest = after;
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

/// Without padding; `last` are the two characters in which the alphabets differ.
fn base64(data: &[u8], last: &str) -> Vec<u8> {
    const COMMON: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let digit = |n: u32| *COMMON.get(n as usize).unwrap_or_else(|| &last.as_bytes()[n as usize - 62]);
    let mut out = Vec::with_capacity(data.len() * 4 / 3 + 3);
    for three in data.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        out.extend((0..=three.len()).map(|n| digit(bits >> (18 - 6 * n) & 63)));
    }
    out
}

/// What the base64 of a longer text has of a value that begins there `offset` bytes after a multiple of
/// three: the characters that depend on nothing else, and with the last one that does, should it end there.
fn base64_within(value: &[u8], offset: usize, last: &str) -> Vec<Vec<u8>> {
    let shifted: Vec<u8> = std::iter::repeat_n(0, offset).chain(value.iter().copied()).collect();
    let all = base64(&shifted, last);
    let (begin, end) = ((offset * 8).div_ceil(6), shifted.len() * 8 / 6);
    let parts = [&all[begin..end], &all[begin..]];
    parts.into_iter().filter(|part| part.len() >= MIN_PART).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(values: &[(&str, &str)]) -> Arc<Mask> {
        Arc::new(Mask::new(values.iter().map(|(name, value)| (*name, value.as_bytes())), []))
    }

    #[track_caller]
    fn check(values: &[(&str, &str)], text: &str, expected: &str) {
        assert_eq!(mask(values).text(text), expected, "{text}");
    }

    /// What comes of each piece, the end last.
    fn parts(mask: &Arc<Mask>, parts: &[&str]) -> Vec<String> {
        let mut masker = Masker::new(Arc::clone(mask));
        let mut out: Vec<Vec<u8>> = parts.iter().map(|piece| masker.push(piece.as_bytes())).collect();
        out.push(masker.finish());
        out.into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }

    #[test]
    fn the_longest_value_is_masked_first_and_each_by_its_name() {
        let values = [("short", "hunter"), ("long", "hunter2!")];
        check(&values, "a hunter, a hunter2! and hunter2?", "a <short>, a <long> and <short>2?");
        check(&values, "hunterhunter2!", "<short><long>");
    }

    #[test]
    fn lines_of_a_value_are_masked_where_they_stand_alone() {
        let key = "-----BEGIN KEY-----\nAAAABBBBCCCC\nend\n";
        check(&[("key", key)], "[AAAABBBBCCCC] end", "[<key>] end");
        check(&[("key", key)], &format!("<{key}>"), "<<key>>");
        check(&[("key", key)], &key.replace('\n', "\\n"), "<key>");
    }

    #[test]
    fn usual_ways_to_write_a_value_are_masked() {
        let value = "p@ss w\"rd/+?";
        check(&[("v", value)], "https://u:p%40ss%20w%22rd%2F%2B%3F@h", "https://u:<v>@h");
        check(&[("v", value)], "https://u:p%40ss%20w%22rd%2f%2b%3f@h", "https://u:<v>@h");
        check(&[("v", value)], "{\"p\":\"p@ss w\\\"rd/+?\"}", "{\"p\":\"<v>\"}");
        // `quote` of Python, `quote_plus`, and `encodeURIComponent` of JavaScript.
        check(&[("v", value)], "p%40ss%20w%22rd/%2B%3F p%40ss+w%22rd%2F%2B%3F", "<v> <v>");
        check(&[("v", "it's (a) *key*!")], "it's%20(a)%20*key*! it%27s+%28a%29+%2Akey%2A%21", "<v> <v>");
    }

    #[test]
    fn base64_in_lines_is_masked_in_all_of_them() {
        let of = |len: u32| (0..len).map(|n| (n * 7 % 251) as u8).collect::<Vec<u8>>();
        // The last line of 76 has two characters then: as one line, nothing is left of it.
        let short = of(400);
        let whole = base64(&short, "+/");
        assert_eq!(Mask::new([("key", short.as_slice())], []).bytes(&whole), b"<key>");
        let value = of(405);
        let encoded = String::from_utf8(base64(&value, "+/")).unwrap();
        let mask = Mask::new([("key", value.as_slice())], []);
        assert_eq!(mask.text(&encoded), "<key>");
        for columns in [76, 64] {
            let lines: Vec<&str> =
                encoded.as_bytes().chunks(columns).map(|line| std::str::from_utf8(line).unwrap()).collect();
            let masked = mask.text(&lines.join("\n"));
            assert_eq!(masked, vec!["<key>"; lines.len()].join("\n"), "{columns}");
        }
    }

    /// However it is written and wherever the output is cut, in two or into single bytes.
    #[test]
    fn no_way_to_write_a_value_shows_at_a_border() {
        let value = "p@ss w\"rd/+?-\u{e4}";
        let mask = mask(&[("v", value)]);
        let mut texts: Vec<Vec<u8>> = forms(value.as_bytes());
        for before in ["", "u", "us"] {
            texts.push(base64(format!("{before}{value}!!").as_bytes(), "+/"));
        }
        for text in texts {
            let text = [b"<", text.as_slice(), b">"].concat();
            let whole = mask.bytes(&text);
            assert!(whole.windows(3).any(|window| window == b"<v>"), "{}", String::from_utf8_lossy(&text));
            let cuts = (0..=text.len()).map(|at| vec![&text[..at], &text[at..]]);
            for pieces in cuts.chain([text.chunks(1).collect()]) {
                let mut masker = Masker::new(Arc::clone(&mask));
                let mut out: Vec<u8> = pieces.iter().flat_map(|piece| masker.push(piece)).collect();
                out.extend(masker.finish());
                assert_eq!(out, whole, "{}", String::from_utf8_lossy(&text));
            }
        }
    }

    #[test]
    fn base64_is_masked_wherever_the_value_begins_in_it() {
        let value = "correct-horse";
        for before in ["", "u", "us", "use", "user:"] {
            for after in ["", "\n", "!!", "more"] {
                let encoded = base64(format!("{before}{value}{after}").as_bytes(), "+/");
                let masked = mask(&[("v", value)]).text(std::str::from_utf8(&encoded).unwrap());
                assert!(masked.contains("<v>"), "{before}|{after}: {masked}");
                // What is left are the neighbours and at most 6 bits on either side.
                assert!(
                    masked.len() <= "<v>".len() + (before.len() + after.len() + 2) * 4 / 3 + 4,
                    "{masked}"
                );
            }
        }
        assert_eq!(base64(b"ab?>", "-_"), b"YWI_Pg");
    }

    #[test]
    fn only_what_may_become_a_value_is_held_back() {
        let mask = mask(&[("key", "hunter2")]);
        assert_eq!(parts(&mask, &["password? h", "i\n"]), ["password? ", "hi\n", ""]);
        assert_eq!(parts(&mask, &["h", "unt", "er", "2", "!"]), ["", "", "", "<key>", "!", ""]);
        assert_eq!(parts(&mask, &["hunhunter", "2"]), ["hun", "<key>", ""]);
        assert_eq!(parts(&mask, &["hunter"]), ["", "hunter"]);
    }

    #[test]
    fn a_value_that_another_continues_waits_for_its_end() {
        let mask = mask(&[("a", "abcd"), ("b", "abcdefgh")]);
        assert_eq!(parts(&mask, &["abcd", "efgh"]), ["", "<b>", ""]);
        assert_eq!(parts(&mask, &["abcd", "efg!"]), ["", "<a>efg!", ""]);
        assert_eq!(parts(&mask, &["abcd"]), ["", "<a>"]);
    }

    #[test]
    fn a_long_value_is_shown_as_one_however_it_comes() {
        for value in ["k".repeat(32 * 1024), (0..3_000).map(|n| format!("{n:x}")).collect::<String>()] {
            let mask = mask(&[("key", &value)]);
            assert_eq!(mask.text(&format!("[{value}]")), "[<key>]");
            let (one, two) = value.split_at(1_000);
            assert_eq!(parts(&mask, &["[", one, two, "]"]).concat(), "[<key>]");
            assert!(mask.longest <= MAX_PIECE);
        }
    }

    /// Symptom: every end of line in the logs of a build became `<key>`, and so did those in the files that
    /// its commands read. Cause: of a value with 4,033 bytes the last piece was one byte. Cure: pieces that
    /// are about as long as each other.
    #[test]
    fn the_last_byte_of_a_long_value_is_not_masked_alone() {
        let value = format!("{}\n", "x".repeat(4_032));
        check(&[("k", &value)], "a\nb\n", "a\nb\n");
    }

    #[test]
    fn masks_show_nothing_of_what_they_mask() {
        assert_eq!(format!("{:?}", mask(&[("key", "hunter2")])), "Mask(…)");
    }

    proptest! {
        #[test]
        fn the_pieces_make_no_difference_and_no_value_remains(
            values in proptest::collection::vec("[ab]{4,9}", 1..5),
            text in "[abc]{0,60}",
            cuts in proptest::collection::vec(0..61_usize, 0..12),
        ) {
            let named: Vec<(&str, &str)> = values.iter().map(|value| ("S", value.as_str())).collect();
            let mask = mask(&named);
            let mut masker = Masker::new(Arc::clone(&mask));
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut out = Vec::new();
            for pair in cuts.windows(2) {
                out.extend(masker.push(&text.as_bytes()[pair[0]..pair[1]]));
            }
            out.extend(masker.finish());
            prop_assert_eq!(&out, &mask.bytes(text.as_bytes()));
            let out = String::from_utf8(out).unwrap();
            for value in &values {
                prop_assert!(!out.contains(value.as_str()), "{} in {}", value, out);
            }
        }

        #[test]
        fn no_piece_of_a_long_form_is_short(len in MAX_PIECE..40_000_usize) {
            let form: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let pieces: Vec<&[u8]> = pieces(&form).collect();
            prop_assert!(pieces.iter().all(|piece| (MAX_PIECE / 2..=MAX_PIECE).contains(&piece.len())));
            prop_assert_eq!(pieces.concat(), form);
        }

        #[test]
        fn text_without_a_value_stays_as_it_is(text in "[a-z\\n]{0,200}", cut in 0..201_usize) {
            let mask = mask(&[("S", "NOT-IN-IT")]);
            let (one, two) = text.as_bytes().split_at(cut.min(text.len()));
            let mut masker = Masker::new(mask);
            let mut out = masker.push(one);
            out.extend(masker.push(two));
            out.extend(masker.finish());
            prop_assert_eq!(out, text.as_bytes());
        }
    }
}
