//! Keys of tables as people write them, and values as they are shown.

use std::cell::OnceCell;

use redb::{Key, Value};
use windlass_core::digest::Digest;

use super::RawRow;

/// Where a key of a table is put together.
pub(crate) type Scratch = OnceCell<[u8; 32]>;

/// A key, or a part of one, that is written as text.
pub(crate) trait Written: Key + 'static {
    /// How it is written.
    const FORM: &'static str;

    /// Whether it may have a `,` in it.
    const IS_TEXT: bool;

    fn read<'k>(text: &'k str, scratch: &'k Scratch) -> Option<Self::SelfType<'k>>;

    /// What `read` reads.
    fn write(key: &Self::SelfType<'_>) -> String;
}

macro_rules! parsed {
    ($($number:ty => $form:literal),*) => {$(
        impl Written for $number {
            const FORM: &'static str = $form;
            const IS_TEXT: bool = false;

            fn read<'k>(text: &'k str, _: &'k Scratch) -> Option<Self::SelfType<'k>> {
                text.trim().parse().ok()
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

    fn read<'k>(text: &'k str, _: &'k Scratch) -> Option<Self::SelfType<'k>> {
        Some(text.trim())
    }

    fn write(key: &Self::SelfType<'_>) -> String {
        (*key).to_owned()
    }
}

impl Written for &'static [u8; 32] {
    const FORM: &'static str = "DIGEST";
    const IS_TEXT: bool = false;

    fn read<'k>(text: &'k str, scratch: &'k Scratch) -> Option<Self::SelfType<'k>> {
        let digest: Digest = text.trim().parse().ok()?;
        Some(scratch.get_or_init(|| *digest.as_bytes()))
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

            fn read<'k>(text: &'k str, scratch: &'k Scratch) -> Option<Self::SelfType<'k>> {
                const LENGTH: usize = [$($at),*].len();
                let parts = split::<LENGTH>(text, [$($name::IS_TEXT),*])?;
                Some(($($name::read(parts[$at], scratch)?,)*))
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

/// A value that is shown.
pub(crate) trait Shown: Value + 'static {
    fn shown(value: Self::SelfType<'_>) -> RawRow;

    /// Its bytes, where they are to be read; none: it is what it is.
    fn encoded<'v>(value: &Self::SelfType<'v>) -> Option<&'v [u8]>;
}

impl Shown for &'static [u8] {
    fn shown(value: Self::SelfType<'_>) -> RawRow {
        RawRow::Bytes { bytes: value.to_vec(), said: None, damage: None }
    }

    fn encoded<'v>(value: &Self::SelfType<'v>) -> Option<&'v [u8]> {
        Some(*value)
    }
}

macro_rules! plain {
    ($($value:ty),*) => {$(
        impl Shown for $value {
            fn shown(value: Self::SelfType<'_>) -> RawRow {
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

    #[test]
    fn keys_read_back_whatever_stands_in_their_texts() {
        let scratch = Scratch::new();
        let key = (7, "dist/a,b,c");
        assert_eq!(<(u64, &'static str)>::read(&<(u64, &'static str)>::write(&key), &scratch), Some(key));
        let key = ("a,b", 1, 2, 3);
        let text = <(&'static str, u32, u64, u64)>::write(&key);
        assert_eq!(
            (text.as_str(), <(&'static str, u32, u64, u64)>::read(&text, &scratch)),
            ("a,b,1,2,3", Some(key))
        );
        let digest = *Digest::of(b"x").as_bytes();
        let text = <&'static [u8; 32]>::write(&&digest);
        assert_eq!(<&'static [u8; 32]>::read(&text, &scratch), Some(&digest));
        for bad in ["", "1", "1,2", "1,2,3,4", "1,2,x"] {
            assert_eq!(<(u64, u64, u32)>::read(bad, &scratch), None, "{bad}");
        }
    }
}
