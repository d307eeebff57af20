//! Reads XML as test tools write it: elements, attributes and text, in one pass over what is there; one document, or
//! several behind one another.
//!
//! Deliberately absent: validation, namespaces (a name is what stands there, prefix and all), entities of a document
//! type (kept as they stand: nothing is fetched, and nothing grows).

/// How deep elements may stand within one another.
const MAX_DEPTH: usize = 64;

/// The most attributes of one element.
const MAX_ATTRIBUTES: usize = 64;

/// What may stand before a document.
const MARK: char = '\u{feff}';

/// A piece of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// An element begins. One that is empty ends right after.
    Start {
        /// Its name.
        name: &'a str,
        /// Its attributes.
        attributes: Vec<(&'a str, String)>,
    },
    /// Text, with its entities resolved; also what stands in CDATA.
    Text(String),
    /// The innermost element ends.
    End,
}

/// Why something is not XML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub what: String,
    /// On which line, from 1.
    pub line: usize,
}

/// Reads a document, piece by piece.
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    open: Vec<&'a str>,
    /// The element that began last is empty: its end comes next.
    empty: bool,
    /// So many outermost elements came.
    roots: usize,
    several: bool,
}

impl<'a> Reader<'a> {
    /// Begins with a document.
    pub fn new(text: &'a str) -> Reader<'a> {
        let text = text.trim_start_matches(MARK);
        Reader { text, at: 0, open: Vec::new(), empty: false, roots: 0, several: false }
    }

    /// Begins with documents that stand behind one another.
    pub fn several(text: &'a str) -> Reader<'a> {
        Reader { several: true, ..Reader::new(text) }
    }

    /// So many documents have begun.
    pub fn documents(&self) -> usize {
        self.roots
    }

    /// The next piece; none: the document is over, and all of its elements have ended.
    pub fn next(&mut self) -> Result<Option<Event<'a>>, Wrong> {
        if std::mem::take(&mut self.empty) {
            self.open.pop();
            return Ok(Some(Event::End));
        }
        loop {
            let rest = &self.text[self.at..];
            if rest.is_empty() {
                return match self.open.last() {
                    Some(name) => Err(self.wrong(format!("it ends within <{name}>"))),
                    None if self.roots == 0 => Err(self.wrong("there is no element in it")),
                    None => Ok(None),
                };
            }
            if let Some(markup) = rest.strip_prefix('<') {
                if rest.starts_with("<!--") {
                    self.skip("<!--", "-->")?;
                } else if let Some(data) = rest.strip_prefix("<![CDATA[") {
                    let end = data.find("]]>").ok_or_else(|| self.wrong("a CDATA section does not end"))?;
                    self.at += "<![CDATA[".len() + end + "]]>".len();
                    if self.open.is_empty() {
                        return Err(self.wrong("there is text outside of all elements"));
                    }
                    return Ok(Some(Event::Text(data[..end].to_owned())));
                } else if rest.starts_with("<?") {
                    // The next document begins before this one is over.
                    if self.several && !self.open.is_empty() && rest.starts_with("<?xml ") {
                        return Err(self.wrong("a document begins within another one"));
                    }
                    self.skip("<?", "?>")?;
                } else if rest.starts_with("<!") {
                    self.skip_type()?;
                } else if let Some(tag) = markup.strip_prefix('/') {
                    return self.end(tag).map(Some);
                } else {
                    return self.start(markup).map(Some);
                }
            } else {
                let end = rest.find('<').unwrap_or(rest.len());
                let text = &rest[..end];
                let is_nothing = |c: char| c.is_whitespace() || self.several && c == MARK;
                if self.open.is_empty() && !text.chars().all(is_nothing) {
                    return Err(self.wrong("there is text outside of all elements"));
                }
                self.at += end;
                if !self.open.is_empty() {
                    return Ok(Some(Event::Text(resolved(text))));
                }
            }
        }
    }

    fn skip(&mut self, begin: &str, end: &str) -> Result<(), Wrong> {
        let rest = &self.text[self.at + begin.len()..];
        let found = rest.find(end).ok_or_else(|| self.wrong(format!("a `{begin}` does not end")))?;
        self.at += begin.len() + found + end.len();
        Ok(())
    }

    /// A document type, which may have declarations in brackets.
    fn skip_type(&mut self) -> Result<(), Wrong> {
        let mut brackets = 0_usize;
        let mut quote = None;
        for (offset, c) in self.text[self.at..].char_indices() {
            match (quote, c) {
                (Some(end), c) if c == end => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, '[') => brackets += 1,
                (None, ']') => brackets = brackets.saturating_sub(1),
                (None, '>') if brackets == 0 => {
                    self.at += offset + 1;
                    return Ok(());
                }
                (None, _) => {}
            }
        }
        Err(self.wrong("a `<!` does not end"))
    }

    fn end(&mut self, tag: &'a str) -> Result<Event<'a>, Wrong> {
        let length = tag.find('>').ok_or_else(|| self.wrong("a closing tag does not end"))?;
        let name = tag[..length].trim_end();
        match self.open.pop() {
            Some(open) if open == name => {
                self.at += "</".len() + length + 1;
                Ok(Event::End)
            }
            Some(open) => Err(self.wrong(format!("<{open}> is closed by </{name}>"))),
            None => Err(self.wrong(format!("</{name}> closes nothing"))),
        }
    }

    fn start(&mut self, tag: &'a str) -> Result<Event<'a>, Wrong> {
        let length = tag.find(|c: char| c.is_whitespace() || c == '/' || c == '>').unwrap_or(tag.len());
        let name = &tag[..length];
        if name.is_empty() || name.contains(['<', '&', '"', '\'', '=']) {
            return Err(self.wrong("a `<` begins no element"));
        }
        if self.open.is_empty() {
            if self.roots > 0 && !self.several {
                return Err(self.wrong(format!("<{name}> stands beside the outermost element")));
            }
            self.roots += 1;
        }
        if self.open.len() == MAX_DEPTH {
            return Err(self.wrong(format!("elements stand more than {MAX_DEPTH} deep in one another")));
        }
        let mut rest = &tag[length..];
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix("/>") {
                self.empty = true;
                rest = after;
                break;
            }
            if let Some(after) = rest.strip_prefix('>') {
                rest = after;
                break;
            }
            let (attribute, after) = attribute(rest)
                .ok_or_else(|| self.wrong(format!("the attributes of <{name}> cannot be read")))?;
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(self.wrong(format!("<{name}> has more than {MAX_ATTRIBUTES} attributes")));
            }
            attributes.push(attribute);
            rest = after;
        }
        self.open.push(name);
        self.at = self.text.len() - rest.len();
        Ok(Event::Start { name, attributes })
    }

    fn wrong(&self, what: impl Into<String>) -> Wrong {
        let line = 1 + self.text[..self.at].matches('\n').count();
        Wrong { what: what.into(), line }
    }
}

/// `name = "value"`, and what stands behind it.
fn attribute(text: &str) -> Option<((&str, String), &str)> {
    let (name, rest) = text.split_once('=')?;
    let name = name.trim_end();
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || "<>/\"'".contains(c)) {
        return None;
    }
    let rest = rest.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (value, rest) = rest[1..].split_once(quote)?;
    Some(((name, resolved(value)), rest))
}

/// Text with its entities resolved. What is none stays as it stands.
fn resolved(text: &str) -> String {
    let mut rest = text;
    let mut resolved = String::with_capacity(text.len());
    while let Some(begin) = rest.find('&') {
        resolved.push_str(&rest[..begin]);
        rest = &rest[begin..];
        // The longest is `&#x10FFFF;`; zeros in front are allowed, within reason.
        let end = rest.bytes().take(16).position(|byte| byte == b';');
        match end.and_then(|end| Some((entity(&rest[1..end])?, end))) {
            Some((character, end)) => {
                resolved.push(character);
                rest = &rest[end + 1..];
            }
            None => {
                resolved.push('&');
                rest = &rest[1..];
            }
        }
    }
    resolved + rest
}

fn entity(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        name => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elements as `name(attributes)`, ends as `/`, text as it is.
    fn read(text: &str) -> Result<Vec<String>, Wrong> {
        let mut reader = Reader::new(text);
        let mut all = Vec::new();
        while let Some(event) = reader.next()? {
            all.push(match event {
                Event::Start { name, attributes } => {
                    let attributes: Vec<_> = attributes.iter().map(|(n, v)| format!("{n}={v}")).collect();
                    format!("{name}({})", attributes.join(","))
                }
                Event::Text(text) => text,
                Event::End => "/".to_owned(),
            });
        }
        Ok(all)
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(read(text).expect("it is XML"), expected);
    }

    #[track_caller]
    fn refuse(text: &str, what: &str, line: usize) {
        let wrong = read(text).expect_err("it is not XML");
        assert_eq!((wrong.what.as_str(), wrong.line), (what, line));
    }

    #[test]
    fn elements_attributes_and_text_are_read() {
        check("<a/>", &["a()", "/"]);
        check("<a b='1' c = \"2>'\" />", &["a(b=1,c=2>')", "/"]);
        check("<a>x<b>y</b >z</a>", &["a()", "x", "b()", "y", "/", "z", "/"]);
        check("\u{feff}<?xml version=\"1.0\"?>\n<!-- <b> -->\n<a:b/>\n", &["a:b()", "/"]);
        check("<!DOCTYPE a [<!ENTITY x \"]>\"> ]><a/>", &["a()", "/"]);
    }

    #[test]
    fn entities_and_cdata_become_text() {
        check("<a b='&lt;&#65;&#x42;&quot;'>&amp;amp;&apos;&gt;</a>", &["a(b=<AB\")", "&amp;'>", "/"]);
        check("<a><![CDATA[<b>&amp;]]]]></a>", &["a()", "<b>&amp;]]", "/"]);
        // What is no entity that stands for itself stays: nothing grows.
        check("<a>&x; & &#xD800; &#99999999999;</a>", &["a()", "&x; & &#xD800; &#99999999999;", "/"]);
        check("<a>größe &ü</a>", &["a()", "größe &ü", "/"]);
    }

    #[test]
    fn what_is_not_xml_is_told_with_its_line() {
        refuse("", "there is no element in it", 1);
        refuse("no xml", "there is text outside of all elements", 1);
        refuse("<a>\n<b>\n</a>", "<b> is closed by </a>", 3);
        refuse("<a>\n", "it ends within <a>", 2);
        refuse("<a/>\n<b/>", "<b> stands beside the outermost element", 2);
        refuse("</a>", "</a> closes nothing", 1);
        refuse("<a b=1/>", "the attributes of <a> cannot be read", 1);
        refuse("<a b", "the attributes of <a> cannot be read", 1);
        refuse("<a", "the attributes of <a> cannot be read", 1);
        refuse("<a><", "a `<` begins no element", 1);
        refuse("<a><![CDATA[x", "a CDATA section does not end", 1);
        refuse("<!-- x", "a `<!--` does not end", 1);
        refuse("<!DOCTYPE x [", "a `<!` does not end", 1);
        refuse(&"<a>".repeat(65), "elements stand more than 64 deep in one another", 1);
    }

    #[test]
    fn whatever_comes_ends() {
        // Every beginning of a document, and every document without one of its bytes.
        let whole = "<?xml?><!DOCTYPE a []><a b=\"&lt;\">x<![CDATA[y]]><!-- z --><c/></a>";
        for at in 0..whole.len() {
            let _beginning = read(&whole[..at]);
            let _without = read(&format!("{}{}", &whole[..at], &whole[at + 1..]));
        }
    }
}
