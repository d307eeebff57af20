//! Conditions: CEL, the Common Expression Language, as far as it is about plain data.
//!
//! An [`Expression`] is parsed when the configuration is read, and evaluated over variables that are JSON
//! documents. What is there: `null`, booleans, integers of 64 bits, doubles, texts, lists and maps with texts
//! as keys; `? :`, `||`, `&&`, `!`, comparisons, `in`, arithmetic, `.`, `[]`; the macros `has`, `all`, `exists`,
//! `exists_one`, `map` and `filter`; the functions of [`FUNCTIONS`]. `||` and `&&` settle on a side that decides
//! even where the other one fails, as CEL says.
//!
//! **It is bounded**: a text has at most [`MAX_TEXT`] bytes and nests [`MAX_DEPTH`] deep, and an evaluation
//! takes at most [`MAX_STEPS`] steps, in which each byte that it reads, compares, copies or makes is counted, and each
//! pattern that it compiles. A step comes from a plugin as well (`add-steps`), so that an endless condition would be
//! anybody's to write. The same text over the same variables always comes to the same end.
//!
//! Deliberately absent, and refused when it is parsed: unsigned integers, bytes, moments, durations and
//! messages, none of which JSON has.

mod eval;
mod functions;
mod lex;
mod parse;
mod pattern;
#[cfg(test)]
mod spec_tests;
#[cfg(test)]
mod tests;

use std::ops::Range;

use serde_json::Value as Json;

pub use functions::FUNCTIONS;

/// The most bytes of an expression.
pub const MAX_TEXT: usize = 4 * 1024;

/// How deep an expression may nest.
pub const MAX_DEPTH: usize = 32;

/// The most steps of an evaluation.
pub const MAX_STEPS: usize = 100_000;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    text: String,
    root: Expr,
}

/// Something is wrong in an expression, or came to nothing when it was evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What, as a sentence for people.
    pub message: String,
    /// Where in the text, in bytes.
    pub span: Range<usize>,
}

impl Error {
    fn new(span: &Range<usize>, message: impl Into<String>) -> Error {
        Error { message: message.into(), span: span.clone() }
    }
}

impl Expression {
    /// Parses a text that may use these variables.
    pub fn parse(text: &str, variables: &[&str]) -> Result<Expression, Error> {
        let root = parse::parse(text, variables)?;
        Ok(Expression { text: text.to_owned(), root })
    }

    /// As it is written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it comes to; a variable that is not given is not there.
    pub fn evaluate(&self, variables: &serde_json::Map<String, Json>) -> Result<Json, Error> {
        eval::evaluate(&self.root, &self.text, variables)
    }

    /// The same of a condition, which is true or false.
    pub fn decide(&self, variables: &serde_json::Map<String, Json>) -> Result<bool, Error> {
        match self.evaluate(variables)? {
            Json::Bool(decided) => Ok(decided),
            other => Err(Error::new(
                &self.root.span,
                format!("it came to {}; a condition is true or false", eval::kind(&other)),
            )),
        }
    }
}

/// A part of an expression, and where it stands.
#[derive(Clone, Debug, PartialEq)]
struct Expr {
    kind: Kind,
    span: Range<usize>,
    /// How many levels it has, itself among them.
    depth: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Literal(Json),
    Variable(String),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Select(Box<Expr>, String),
    Has(Box<Expr>, String),
    Index(Box<[Expr; 2]>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    /// `a && b && c`.
    All(Vec<Expr>),
    /// `a || b || c`.
    Any(Vec<Expr>),
    /// `a ? b : c`.
    Choose(Box<[Expr; 3]>),
    Binary(Op, Box<[Expr; 2]>),
    /// What a method is called of comes first.
    Call(functions::Function, Vec<Expr>),
    Each(Box<Each>),
}

/// `over.all(name, body)` and its like.
#[derive(Clone, Debug, PartialEq)]
struct Each {
    what: Macro,
    over: Expr,
    name: String,
    /// Of `map` with three arguments.
    only: Option<Expr>,
    body: Expr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Macro {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Op {
    fn sign(self) -> &'static str {
        match self {
            Op::Equal => "==",
            Op::Unequal => "!=",
            Op::Less => "<",
            Op::LessOrEqual => "<=",
            Op::Greater => ">",
            Op::GreaterOrEqual => ">=",
            Op::In => "in",
            Op::Add => "+",
            Op::Subtract => "-",
            Op::Multiply => "*",
            Op::Divide => "/",
            Op::Remainder => "%",
        }
    }
}
