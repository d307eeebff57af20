//! Patterns of paths: `*` and `?` stay within a name, `[ab-c]` is one of them, `**` stands for any
//! number of directories.

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
        if parts.is_empty() {
            return Err("an empty pattern matches nothing".to_owned());
        }
        Ok(Pattern { parts })
    }

    /// Whether a whole path matches.
    pub fn matches(&self, path: &[String]) -> bool {
        whole(&self.parts, path)
    }

    /// Whether a path below this one could.
    pub fn may_match_below(&self, path: &[String]) -> bool {
        prefix(&self.parts, path)
    }
}

fn whole(parts: &[Part], path: &[String]) -> bool {
    match (parts, path) {
        ([], []) => true,
        ([Part::AnyDepth, rest @ ..], _) => {
            whole(rest, path) || path.split_first().is_some_and(|(_, below)| whole(parts, below))
        }
        ([Part::Name(pattern), rest @ ..], [name, below @ ..]) => {
            matches_name(pattern, name) && whole(rest, below)
        }
        ([], [_, ..]) | ([Part::Name(_), ..], []) => false,
    }
}

fn prefix(parts: &[Part], path: &[String]) -> bool {
    match (parts, path) {
        ([Part::AnyDepth, ..], _) => true,
        ([], _) => false,
        ([Part::Name(_), ..], []) => true,
        ([Part::Name(pattern), rest @ ..], [name, below @ ..]) => {
            matches_name(pattern, name) && prefix(rest, below)
        }
    }
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
        for bad in ["", "/etc/*", "../*", "a/../b"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
