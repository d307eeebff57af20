//! Patterns of paths: `*` and `?` stay within a name, `[ab-c]` is one of them, `**` stands for any
//! number of directories.

/// Names in a pattern: what each entry of a tree is compared with.
const MAX_PARTS: usize = 64;

/// A pattern, name by name.
#[derive(Debug)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    AnyDepth,
    Name(Vec<char>),
}

impl Pattern {
    /// Reads a pattern; the error is one sentence.
    pub fn parse(pattern: &str) -> Result<Pattern, String> {
        if pattern.starts_with('/') {
            return Err(format!("the pattern `{pattern}` is absolute; it begins at the builder's directory"));
        }
        let names = pattern.split('/').filter(|name| !matches!(*name, "" | "."));
        let mut parts = Vec::new();
        for name in names {
            match name {
                ".." => return Err(format!("the pattern `{pattern}` contains `..`")),
                "**" => parts.push(Part::AnyDepth),
                name => parts.push(Part::Name(name.chars().collect())),
            }
        }
        if parts.len() > MAX_PARTS {
            return Err(format!("a pattern of {} names is more than {MAX_PARTS}", parts.len()));
        }
        if parts.is_empty() {
            return Err("an empty pattern matches nothing".to_owned());
        }
        Ok(Pattern { parts })
    }

    /// Whether a whole path matches.
    pub fn matches(&self, path: &[String]) -> bool {
        self.reached(path).last().is_some_and(|end| *end)
    }

    /// Whether a path below this one could.
    pub fn may_match_below(&self, path: &[String]) -> bool {
        self.reached(path).split_last().is_some_and(|(_end, within)| within.contains(&true))
    }

    /// Which parts may come next after `path`; one place more, for the end. All at once, name by name:
    /// trying one after another takes for ever where `**` stands several times.
    fn reached(&self, path: &[String]) -> Vec<bool> {
        let mut at = vec![false; self.parts.len() + 1];
        at[0] = true;
        self.skip(&mut at);
        for name in path {
            let mut next = vec![false; at.len()];
            for (i, part) in self.parts.iter().enumerate().filter(|(i, _)| at[*i]) {
                match part {
                    Part::AnyDepth => next[i] = true,
                    Part::Name(pattern) => next[i + 1] |= matches_name(pattern, name),
                }
            }
            self.skip(&mut next);
            at = next;
        }
        at
    }

    /// `**` may also stand for nothing.
    fn skip(&self, at: &mut [bool]) {
        for (i, part) in self.parts.iter().enumerate() {
            at[i + 1] |= at[i] && matches!(part, Part::AnyDepth);
        }
    }
}

/// Whether a name matches a pattern without slashes.
pub fn name_matches(pattern: &str, name: &str) -> bool {
    matches_name(&pattern.chars().collect::<Vec<_>>(), name)
}

/// One name, with one point to fall back to: the last star. Linear in practice, quadratic at worst.
fn matches_name(pattern: &[char], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    // As shells do: what is hidden must be asked for.
    if name.first() == Some(&'.') && pattern.first() != Some(&'.') {
        return false;
    }
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('[') => one_of(&pattern[p..], name[n]),
            Some(c) if *c == name[n] => Some(1),
            Some(_) | None => None,
        };
        match (step, star) {
            (Some(len), _) => (p, n) = (p + len, n + 1),
            (None, Some((at, from))) => {
                star = Some((at, from + 1));
                (p, n) = (at + 1, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The length of a `[...]` that contains `c`. One that is not closed is a plain bracket.
fn one_of(pattern: &[char], c: char) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let first = if negated { 2 } else { 1 };
    // A bracket right at the beginning stands for itself.
    let Some(end) = (first + 1..pattern.len()).find(|i| pattern[*i] == ']') else {
        return (c == '[').then_some(1);
    };
    let mut set = &pattern[first..end];
    let mut found = false;
    while let Some(low) = set.first() {
        if let [_, '-', high, rest @ ..] = set {
            found |= (*low..=*high).contains(&c);
            set = rest;
        } else {
            found |= *low == c;
            set = &set[1..];
        }
    }
    (found != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let cases = [
            ("*.rs", "a.rs", true),
            ("*.rs", "d/a.rs", false),
            ("**/*.rs", "a.rs", true),
            ("**/*.rs", "d/e/a.rs", true),
            ("d/**", "d/e/f", true),
            ("d/**/f", "d/f", true),
            ("?", "ab", false),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]x", "]x", true),
            ("[x", "[x", true),
            ("*a*b", "xaxxab", true),
            ("*a*b", "xaxxabc", false),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
            ("./a//b", "a/b", true),
        ];
        for (pattern, path, expected) in cases {
            let parsed = Pattern::parse(pattern).unwrap();
            let path: Vec<String> = path.split('/').map(str::to_owned).collect();
            assert_eq!(parsed.matches(&path), expected, "{pattern} {path:?}");
            // What matches is found: every directory above it is entered.
            for above in 1..path.len() {
                assert!(!expected || parsed.may_match_below(&path[..above]), "{pattern} {path:?}");
            }
        }
        assert!(!Pattern::parse("a/*").unwrap().may_match_below(&["b".to_owned()]));
        for bad in ["", "/etc/*", "../*", "a/../b", &"a/".repeat(65)] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    /// Symptom: a worker's thread computed for ever. Cause: a pattern with many `**`, each of whose ways
    /// through a deep path was tried. Cure: all ways at once.
    #[test]
    fn a_pattern_of_many_stars_is_judged_at_once() {
        let pattern = Pattern::parse(&format!("{}b", "**/a/".repeat(31))).unwrap();
        let path = vec!["a".to_owned(); 1_000];
        assert!(!pattern.matches(&path));
        assert!(pattern.may_match_below(&path));
    }
}
