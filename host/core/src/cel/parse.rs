//! Tokens as an expression: the grammar of CEL, by precedence.

use std::ops::Range;

use serde_json::Value as Json;

use super::functions::{self, Function};
use super::lex::{Token, tokens};
use super::{Each, Error, Expr, Kind, MAX_DEPTH, MAX_TEXT, Macro, Op};

/// Words that CEL keeps for itself.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

pub(super) fn parse(text: &str, variables: &[&str]) -> Result<Expr, Error> {
    if text.len() > MAX_TEXT {
        let message = format!("it is longer than {MAX_TEXT} bytes");
        return Err(Error::new(&(0..text.len()), message));
    }
    let tokens = tokens(text)?;
    let names = variables.iter().map(|name| (*name).to_owned()).collect();
    let mut parser = Parser { tokens, at: 0, names, given: variables.len(), depth: 0 };
    let whole = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(whole),
        _ => Err(parser.unexpected("an operator")),
    }
}

struct Parser {
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    /// What can be named: the variables, and inside of macros theirs.
    names: Vec<String>,
    /// How many of them are variables.
    given: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn span(&self) -> Range<usize> {
        self.tokens[self.at].1.clone()
    }

    /// Goes on to the next token; the end stays.
    fn step(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(found) if *found == sign);
        if found {
            self.step();
        }
        found
    }

    fn needs(&mut self, sign: &str) -> Result<(), Error> {
        if self.takes(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn unexpected(&self, expected: &str) -> Error {
        let found = match self.peek() {
            Token::Name(name) => format!("`{name}`"),
            Token::Text(_) => "a text".to_owned(),
            Token::Integer(_) | Token::Double(_) => "a number".to_owned(),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::End => "its end".to_owned(),
        };
        Error::new(&self.span(), format!("{expected} was expected here, not {found}"))
    }

    /// A part of the expression from `start` to where we are, whose own parts have so many levels.
    fn made(&self, kind: Kind, start: usize, levels: usize) -> Result<Expr, Error> {
        let depth = levels + 1;
        self.shallow(depth)?;
        Ok(Expr { kind, span: start..self.tokens[self.at.saturating_sub(1)].1.end, depth })
    }

    fn shallow(&self, depth: usize) -> Result<(), Error> {
        match depth > MAX_DEPTH {
            true => Err(Error::new(&self.span(), format!("it nests more than {MAX_DEPTH} deep"))),
            false => Ok(()),
        }
    }

    fn expression(&mut self) -> Result<Expr, Error> {
        self.depth += 1;
        self.shallow(self.depth)?;
        let start = self.span().start;
        let condition = self.any()?;
        let whole = if self.takes("?") {
            let yes = self.any()?;
            self.needs(":")?;
            let parts = [condition, yes, self.expression()?];
            let levels = levels(&parts);
            self.made(Kind::Choose(Box::new(parts)), start, levels)?
        } else {
            condition
        };
        self.depth -= 1;
        Ok(whole)
    }

    fn any(&mut self) -> Result<Expr, Error> {
        self.chain("||", Parser::all, Kind::Any)
    }

    fn all(&mut self) -> Result<Expr, Error> {
        self.chain("&&", |parser| parser.binary(0), Kind::All)
    }

    fn chain(
        &mut self,
        sign: &str,
        part: fn(&mut Parser) -> Result<Expr, Error>,
        kind: fn(Vec<Expr>) -> Kind,
    ) -> Result<Expr, Error> {
        let first = part(self)?;
        let start = first.span.start;
        let mut parts = vec![first];
        while self.takes(sign) {
            parts.push(part(self)?);
        }
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        let levels = levels(&parts);
        self.made(kind(parts), start, levels)
    }

    /// Comparisons, then sums, then products: what binds at least so strongly.
    fn binary(&mut self, least: u8) -> Result<Expr, Error> {
        let mut left = self.unary()?;
        while let Some((op, strength)) = self.operator()
            && strength >= least
        {
            self.step();
            let sides = [left, self.binary(strength + 1)?];
            let (start, levels) = (sides[0].span.start, levels(&sides));
            left = self.made(Kind::Binary(op, Box::new(sides)), start, levels)?;
        }
        Ok(left)
    }

    fn operator(&self) -> Option<(Op, u8)> {
        Some(match self.peek() {
            Token::Sign("==") => (Op::Equal, 0),
            Token::Sign("!=") => (Op::Unequal, 0),
            Token::Sign("<") => (Op::Less, 0),
            Token::Sign("<=") => (Op::LessOrEqual, 0),
            Token::Sign(">") => (Op::Greater, 0),
            Token::Sign(">=") => (Op::GreaterOrEqual, 0),
            Token::Name(name) if name == "in" => (Op::In, 0),
            Token::Sign("+") => (Op::Add, 1),
            Token::Sign("-") => (Op::Subtract, 1),
            Token::Sign("*") => (Op::Multiply, 2),
            Token::Sign("/") => (Op::Divide, 2),
            Token::Sign("%") => (Op::Remainder, 2),
            Token::Name(_)
            | Token::Text(_)
            | Token::Integer(_)
            | Token::Double(_)
            | Token::Sign(_)
            | Token::End => {
                return None;
            }
        })
    }

    fn unary(&mut self) -> Result<Expr, Error> {
        let start = self.span().start;
        let (mut nots, mut minuses) = (0_usize, 0_usize);
        while self.takes("!") {
            nots += 1;
        }
        while nots == 0 && self.takes("-") {
            minuses += 1;
        }
        // The smallest integer has no positive counterpart.
        if minuses > 0
            && let Token::Integer(number) = *self.peek()
        {
            let number = 0_i64.checked_sub_unsigned(number).ok_or_else(|| self.too_large())?;
            self.step();
            let literal = self.made(Kind::Literal(number.into()), start, 0)?;
            let member = self.members(literal)?;
            return self.repeated(minuses - 1, Kind::Negate, member, start);
        }
        let primary = self.primary()?;
        let member = self.members(primary)?;
        let negated = self.repeated(minuses, Kind::Negate, member, start)?;
        self.repeated(nots, Kind::Not, negated, start)
    }

    /// Two of them cancel out, but for the check of what they are before.
    fn repeated(
        &self,
        times: usize,
        kind: fn(Box<Expr>) -> Kind,
        of: Expr,
        start: usize,
    ) -> Result<Expr, Error> {
        (0..times).try_fold(of, |of, _| {
            let levels = of.depth;
            self.made(kind(Box::new(of)), start, levels)
        })
    }

    fn too_large(&self) -> Error {
        Error::new(&self.span(), "this integer does not fit into 64 bits")
    }

    fn primary(&mut self) -> Result<Expr, Error> {
        let span = self.span();
        let kind = match self.peek().clone() {
            Token::Text(text) => Kind::Literal(text.into()),
            Token::Integer(number) => {
                Kind::Literal(i64::try_from(number).map_err(|_| self.too_large())?.into())
            }
            Token::Double(number) => Kind::Literal(number.into()),
            Token::Name(name) => return self.named(name),
            Token::Sign("(") => {
                self.step();
                let mut inner = self.expression()?;
                self.needs(")")?;
                inner.span = span.start..self.tokens[self.at - 1].1.end;
                return Ok(inner);
            }
            Token::Sign("[") => {
                self.step();
                let items = self.items("]", Parser::expression)?;
                let levels = levels(&items);
                return self.made(Kind::List(items), span.start, levels);
            }
            Token::Sign("{") => {
                self.step();
                let entries = self.items("}", |parser| {
                    let key = parser.expression()?;
                    parser.needs(":")?;
                    Ok((key, parser.expression()?))
                })?;
                let levels = levels(entries.iter().flat_map(|(key, value)| [key, value]));
                return self.made(Kind::Map(entries), span.start, levels);
            }
            Token::Sign(_) | Token::End => return Err(self.unexpected("a value")),
        };
        self.step();
        self.made(kind, span.start, 0)
    }

    /// A literal that is a word, a variable, or a function.
    fn named(&mut self, name: String) -> Result<Expr, Error> {
        let span = self.span();
        let kind = match name.as_str() {
            "true" => Kind::Literal(true.into()),
            "false" => Kind::Literal(false.into()),
            "null" => Kind::Literal(Json::Null),
            "in" => return Err(self.unexpected("a value")),
            word if RESERVED.contains(&word) => {
                return Err(Error::new(&span, format!("`{name}` is a word that CEL keeps for itself")));
            }
            _ => {
                self.step();
                if self.takes("(") {
                    return self.call(&name, span, None);
                }
                if !self.names.contains(&name) {
                    let known: Vec<String> =
                        self.names[..self.given].iter().map(|name| format!("`{name}`")).collect();
                    let message = format!("there is no variable `{name}`; there are {}", known.join(", "));
                    return Err(Error::new(&span, message));
                }
                return self.made(Kind::Variable(name), span.start, 0);
            }
        };
        self.step();
        self.made(kind, span.start, 0)
    }

    /// What follows a value: `.name`, `.name(…)`, `[…]`.
    fn members(&mut self, mut of: Expr) -> Result<Expr, Error> {
        let start = of.span.start;
        loop {
            if self.takes(".") {
                let span = self.span();
                let Token::Name(name) = self.peek().clone() else {
                    return Err(self.unexpected("a name"));
                };
                self.step();
                if self.takes("(") {
                    of = self.call(&name, span, Some(of))?;
                } else {
                    let levels = of.depth;
                    of = self.made(Kind::Select(Box::new(of), name), start, levels)?;
                }
            } else if self.takes("[") {
                let index = self.expression()?;
                self.needs("]")?;
                let parts = [of, index];
                let levels = levels(&parts);
                of = self.made(Kind::Index(Box::new(parts)), start, levels)?;
            } else if matches!(self.peek(), Token::Sign("{")) {
                return Err(Error::new(
                    &self.span(),
                    "messages are not supported; a map begins with `{` alone",
                ));
            } else {
                return Ok(of);
            }
        }
    }

    /// What stands before `end`, with commas between.
    fn items<T>(
        &mut self,
        end: &str,
        mut item: impl FnMut(&mut Parser) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        while !self.takes(end) {
            items.push(item(self)?);
            if !self.takes(",") {
                self.needs(end)?;
                break;
            }
        }
        Ok(items)
    }

    /// A call whose `(` was taken; `name` stands at `span`.
    fn call(&mut self, name: &str, span: Range<usize>, of: Option<Expr>) -> Result<Expr, Error> {
        if let (Some(what), true) = (macro_of(name), of.is_some()) {
            let over = of.expect("it was just looked at");
            return self.each(what, name, over, &span);
        }
        let start = of.as_ref().map_or(span.start, |of| of.span.start);
        if name == "has" && of.is_none() {
            let field = self.expression()?;
            self.needs(")")?;
            let Kind::Select(of, field_name) = field.kind else {
                return Err(Error::new(&field.span, "`has` asks for a field, like `has(props.name)`"));
            };
            let levels = of.depth;
            return self.made(Kind::Has(of, field_name), start, levels);
        }
        let is_method = of.is_some();
        let mut arguments: Vec<Expr> = of.into_iter().collect();
        arguments.extend(self.items(")", Parser::expression)?);
        let found = Function::find(name, is_method, arguments.len());
        let function = found.map_err(|why| Error::new(&span, why))?;
        functions::check(function, &arguments)?;
        let levels = levels(&arguments);
        self.made(Kind::Call(function, arguments), start, levels)
    }

    /// A macro whose `(` was taken.
    fn each(&mut self, what: Macro, called: &str, over: Expr, span: &Range<usize>) -> Result<Expr, Error> {
        let Token::Name(name) = self.peek().clone() else {
            return Err(self.unexpected(&format!("`{called}` names what it goes through first: a name")));
        };
        self.step();
        self.needs(",")?;
        self.names.push(name.clone());
        let mut parts = self.items(")", Parser::expression)?;
        self.names.pop();
        let most = if what == Macro::Map { 2 } else { 1 };
        if parts.is_empty() || parts.len() > most {
            let usage = format!("`{called}` is written as `{called}(x, …)`");
            return Err(Error::new(span, usage));
        }
        let body = parts.pop().expect("there is one");
        let only = parts.pop();
        let levels = levels([&over, &body].into_iter().chain(&only));
        let start = over.span.start;
        self.made(Kind::Each(Box::new(Each { what, over, name, only, body })), start, levels)
    }
}

/// The most levels of any of them.
fn levels<'a>(parts: impl IntoIterator<Item = &'a Expr>) -> usize {
    parts.into_iter().map(|part| part.depth).max().unwrap_or(0)
}

fn macro_of(name: &str) -> Option<Macro> {
    Some(match name {
        "all" => Macro::All,
        "exists" => Macro::Exists,
        "exists_one" | "existsOne" => Macro::ExistsOne,
        "map" => Macro::Map,
        "filter" => Macro::Filter,
        _ => return None,
    })
}
