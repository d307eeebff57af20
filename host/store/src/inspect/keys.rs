//! Keys of tables as people write them, and values as they are shown.
//!
//! A key is one word, so that it can be typed and pasted wherever it was shown: in its texts `%` and two hex digits stand for
//! each byte of what would divide it, means something to a shell or does not show. Who writes a key by hand may leave a text as it is, where it has
//! nothing of that at its ends, no `%` and, but for the last one, no `,`.

use std::fmt::Write as _;

use redb::{Key, Value};
use windlass_core::digest::Digest;
use windlass_core::text::is_unseen;

use super::RawRow;

/// A key, or a part of one, that is written as text.
pub(crate) trait Written: Key + 'static {
    /// How it is written.
    const FORM: &'static str;

    /// Whether it may have a `,` in it where it is written by hand.
    const IS_TEXT: bool;

    /// What was read: it holds what the key borrows.
    type Read;

    fn read(text: &str) -> Option<Self::Read>;

    fn key(read: &Self::Read) -> Self::SelfType<'_>;

    /// What `read` reads: one text for each key.
    fn write(key: &Self::SelfType<'_>) -> String;
}

macro_rules! parsed {
    ($($number:ty => $form:literal),*) => {$(
        impl Written for $number {
            const FORM: &'static str = $form;
            const IS_TEXT: bool = false;
            type Read = $number;

            fn read(text: &str) -> Option<$number> {
                text.trim().parse().ok()
            }

            fn key(read: &$number) -> $number {
                *read
            }

            fn write(key: &Self::SelfType<'_>) -> String {
                key.to_string()
            }
        }
    )*};
}

parsed!(u64 => "NUMBER", u32 => "NUMBER");

impl Written for &'static str {
    const FORM: &'static str = "TEXT";
    const IS_TEXT: bool = true;
    type Read = String;

    fn read(text: &str) -> Option<String> {
        unescape(text.trim())
    }

    fn key(read: &String) -> &str {
        read
    }

    fn write(key: &Self::SelfType<'_>) -> String {
        escape(key)
    }
}

impl Written for &'static [u8; 32] {
    const FORM: &'static str = "DIGEST";
    const IS_TEXT: bool = false;
    type Read = [u8; 32];

    fn read(text: &str) -> Option<[u8; 32]> {
        text.trim().parse().ok().map(|digest: Digest| *digest.as_bytes())
    }

    fn key(read: &[u8; 32]) -> &[u8; 32] {
        read
    }

    fn write(key: &Self::SelfType<'_>) -> String {
        Digest::from_bytes(**key).to_string()
    }
}

macro_rules! tuples {
    ($($form:literal: $($name:ident $at:tt),*;)*) => {$(
        impl<$($name: Written),*> Written for ($($name,)*) {
            const FORM: &'static str = $form;
            const IS_TEXT: bool = true;
            type Read = ($($name::Read,)*);

            fn read(text: &str) -> Option<Self::Read> {
                const LENGTH: usize = [$($at),*].len();
                let parts = split::<LENGTH>(text, [$($name::IS_TEXT),*])?;
                Some(($($name::read(parts[$at])?,)*))
            }

            fn key(read: &Self::Read) -> Self::SelfType<'_> {
                ($($name::key(&read.$at),)*)
            }

            fn write(key: &Self::SelfType<'_>) -> String {
                [$($name::write(&key.$at)),*].join(",")
            }
        }
    )*};
}

tuples! {
    "two parts, as `1,2`": A 0, B 1;
    "three parts, as `1,2,3`": A 0, B 1, C 2;
    "four parts, as `builder,1,2,3`": A 0, B 1, C 2, D 3;
}

/// The parts of a key. The last of them that is a text has what is too much.
fn split<const N: usize>(text: &str, is_text: [bool; N]) -> Option<[&str; N]> {
    let (mut parts, mut rest) = ([""; N], text);
    let wide = is_text.iter().rposition(|is_text| *is_text).unwrap_or(0);
    for part in &mut parts[..wide] {
        (*part, rest) = rest.split_once(',')?;
    }
    for part in parts[wide + 1..].iter_mut().rev() {
        (rest, *part) = rest.rsplit_once(',')?;
    }
    parts[wide] = rest;
    Some(parts)
}

/// A text as a part of a key.
fn escape(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for c in text.chars() {
        // What a shell would read as something of its own is none of a word, and neither is what begins an option.
        let is_of_word =
            c.is_ascii_alphanumeric() || "_./:@+=".contains(c) || (c == '-' && !written.is_empty());
        if (c.is_ascii() && !is_of_word) || c.is_whitespace() || is_unseen(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                write!(written, "%{byte:02x}").expect("a text takes all");
            }
        } else {
            written.push(c);
        }
    }
    written
}

/// What `escape` wrote. A `%` without two digits behind it stands for itself.
fn unescape(written: &str) -> Option<String> {
    let mut parts = written.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(&part.as_bytes()[2..]);
            }
            None => {
                bytes.push(b'%');
                bytes.extend(part.as_bytes());
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// A value that is shown.
pub(crate) trait Shown: Value + 'static {
    /// The row of this key, as it is written.
    fn shown(key: String, value: Self::SelfType<'_>) -> RawRow;

    /// Its bytes, where they are to be read; none: it is what it is.
    fn encoded<'v>(value: &Self::SelfType<'v>) -> Option<&'v [u8]>;
}

impl Shown for &'static [u8] {
    fn shown(key: String, value: Self::SelfType<'_>) -> RawRow {
        RawRow::Bytes { key, bytes: value.to_vec(), said: None, damage: None }
    }

    fn encoded<'v>(value: &Self::SelfType<'v>) -> Option<&'v [u8]> {
        Some(*value)
    }
}

macro_rules! plain {
    ($($value:ty),*) => {$(
        impl Shown for $value {
            fn shown(_: String, value: Self::SelfType<'_>) -> RawRow {
                RawRow::Plain(format!("{value:?}"))
            }

            fn encoded<'v>(_: &Self::SelfType<'v>) -> Option<&'v [u8]> {
                None
            }
        }
    )*};
}

plain!((), u64, f64, (u64, u64), (u64, u64, u64), (u64, &'static str));

#[cfg(test)]
mod tests {
    use super::*;

    /// A key reads back as what it is, and is written as this.
    fn check<K: Written>(key: K::SelfType<'_>, written: &str) {
        assert_eq!(K::write(&key), written);
        let read = K::read(written).expect(written);
        assert_eq!(K::as_bytes(&K::key(&read)).as_ref(), K::as_bytes(&key).as_ref(), "{written}");
    }

    /// Symptom: a list of rows could not be gone on with behind a key that it had shown. Cause: of a text in the key what was
    /// beyond a `,` counted as the next part, and spaces at its ends were nothing. Cure: a key is written as one word.
    #[test]
    fn keys_read_back_whatever_stands_in_their_texts() {
        type Texts = (&'static str, &'static str);
        check::<Texts>((" a,b ", ","), "%20a%2cb%20,%2c");
        check::<Texts>(("", ""), ",");
        check::<Texts>(("100%", "%2c"), "100%25,%252c");
        check::<Texts>(("\u{a0}\t\n", "ä\u{202e}x"), "%c2%a0%09%0a,ä%e2%80%aex");
        check::<(&'static str, &'static str, u64)>(("a,1", " w", 2), "a%2c1,%20w,2");
        check::<(&'static str, u32, u64, u64)>(("a b", 1, 2, 3), "a%20b,1,2,3");
        check::<(u64, &'static str)>((7, "dist/a"), "7,dist/a");
        check::<&'static str>(" ", "%20");
        check::<Texts>(("-x", "a-b"), "%2dx,a-b");
        check::<Texts>(("nightly(main)", "ci\u{200b}"), "nightly%28main%29,ci%e2%80%8b");
        let digest = *Digest::of(b"x").as_bytes();
        check::<&'static [u8; 32]>(&digest, &Digest::of(b"x").to_string());
    }

    #[test]
    fn keys_may_be_written_by_hand() {
        let read = |text| <(u64, &'static str)>::read(text);
        assert_eq!(read(" 7 , dist/a,b c "), Some((7, "dist/a,b c".to_owned())));
        assert_eq!(read("7,100%"), Some((7, "100%".to_owned())));
        assert_eq!(read("7,%+1%2C"), Some((7, "%+1,".to_owned())));
        assert_eq!(read("7,%ff"), None, "it is no text");
        let read = |text| <(&'static str, u32, u64, u64)>::read(text);
        assert_eq!(read("a,b,1,2,3"), Some(("a,b".to_owned(), 1, 2, 3)));
        for bad in ["", "1", "1,2", "1,2,3,4", "1,2,x"] {
            assert_eq!(<(u64, u64, u32)>::read(bad), None, "{bad}");
        }
    }
}
