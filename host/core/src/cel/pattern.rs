//! The patterns of `matches`: regular expressions that neither their making nor their use can make long.
//!
//! A pattern is short, and what is compiled of it is small. The flag `i` is refused: it looks each character of a class
//! up that has other cases, a million of them in a class of eight bytes, before the size of anything is looked at;
//! `lowerAscii` does for it. So is `x`, which hides `i` behind spaces and remarks.
//!
//! Nothing compiled outlives an evaluation: it takes up a thousand times what it is written in, and whoever may add
//! steps may add many. Within one, a pattern is compiled once.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::eval::Fuel;

/// The most bytes of a pattern.
pub(super) const MAX_PATTERN: usize = 256;

/// The most bytes of a compiled pattern.
const MAX_COMPILED: usize = 64 * 1024;

/// What it costs to compile one.
const COST: usize = 4_000;

/// A compiled pattern takes so many steps for each 16 bytes that it is tried on, at least.
const STEPS_A_READ: usize = 16;

/// What was compiled in an evaluation.
#[derive(Default)]
pub(super) struct Patterns(RefCell<BTreeMap<String, regex::Regex>>);

impl Patterns {
    /// Whether a pattern finds something in a text. Linear in the text, whatever the pattern.
    pub(super) fn find(&self, pattern: &str, text: &str, fuel: &Fuel) -> Result<bool, String> {
        fuel.read(pattern.len())?;
        fuel.read(text.len().saturating_mul(STEPS_A_READ))?;
        let mut compiled = self.0.borrow_mut();
        if let Some(known) = compiled.get(pattern) {
            return Ok(known.is_match(text));
        }
        fuel.burn(COST)?;
        let new = compile(pattern)?;
        let found = new.is_match(text);
        compiled.insert(pattern.to_owned(), new);
        Ok(found)
    }
}

/// What is wrong with a pattern.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    compile(pattern).map(drop)
}

fn compile(pattern: &str) -> Result<regex::Regex, String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!("a pattern has at most {MAX_PATTERN} bytes"));
    }
    if let Some(flag) = refused_flag(pattern) {
        let hint = match flag {
            'i' => "; write `x.lowerAscii().matches(…)`",
            _ => "",
        };
        return Err(format!("the flag `{flag}` of patterns is not supported{hint}"));
    }
    let built = regex::RegexBuilder::new(pattern).size_limit(MAX_COMPILED).build();
    built.map_err(|error| format!("this pattern is not possible: {error}"))
}

/// The flag of a pattern that is not supported. One that only looks like it, within `[…]`, is taken for one.
fn refused_flag(pattern: &str) -> Option<char> {
    let mut rest = pattern;
    while let Some(at) = rest.find(['\\', '(']) {
        let (found, behind) = rest[at..].split_at(1);
        let mut after = behind.chars();
        match (found, after.next()) {
            ("\\", _) => rest = after.as_str(),
            (_, Some('?')) => {
                let flags = after.as_str().chars().take_while(|c| c.is_ascii_alphabetic() || *c == '-');
                let flag = flags.into_iter().find(|c| matches!(c, 'i' | 'x'));
                // `(?P<i>` names a group: what is named comes behind the letters.
                if flag.is_some() {
                    return flag;
                }
                rest = after.as_str();
            }
            _ => rest = behind,
        }
    }
    None
}
