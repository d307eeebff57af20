//! The functions of expressions.

use serde_json::Value as Json;

use super::eval::{Fuel, kind};
use super::pattern::{self, Patterns};
use super::{Error, Expr, Kind};

/// All that can be called, as people write it; what stands before a dot is a text.
pub const FUNCTIONS: [&str; 11] = [
    "size(x)",
    "x.size()",
    "x.contains(y)",
    "x.startsWith(y)",
    "x.endsWith(y)",
    "x.matches(pattern)",
    "x.lowerAscii()",
    "int(x)",
    "double(x)",
    "string(x)",
    "bool(x)",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Matches,
    LowerAscii,
    Int,
    Double,
    String,
    Bool,
}

impl Function {
    /// The function that is called so, as a method or not, with so many arguments in all.
    pub(super) fn find(name: &str, is_method: bool, arguments: usize) -> Result<Function, String> {
        let (function, as_method, needed) = match name {
            "size" => (Function::Size, is_method, 1),
            "contains" => (Function::Contains, true, 2),
            "startsWith" => (Function::StartsWith, true, 2),
            "endsWith" => (Function::EndsWith, true, 2),
            // CEL has this one in both ways.
            "matches" => (Function::Matches, is_method, 2),
            "lowerAscii" => (Function::LowerAscii, true, 1),
            "int" => (Function::Int, false, 1),
            "double" => (Function::Double, false, 1),
            "string" => (Function::String, false, 1),
            "bool" => (Function::Bool, false, 1),
            _ => {
                return Err(format!(
                    "there is no function `{name}`; there are {}, `has(x.y)`, and `all`, `exists`, `exists_one`, \
                     `map` and `filter` of lists",
                    FUNCTIONS.map(|function| format!("`{function}`")).join(", ")
                ));
            }
        };
        match (is_method == as_method, arguments == needed) {
            (true, true) => Ok(function),
            (false, _) if as_method => Err(format!("`{name}` is called of a value: `x.{name}(…)`")),
            (false, _) => Err(format!("`{name}` is called by itself: `{name}(x)`")),
            (true, false) => {
                let needed = needed - usize::from(is_method);
                Err(format!("`{name}` takes {needed} argument{}", if needed == 1 { "" } else { "s" }))
            }
        }
    }
}

/// What is wrong with a call as far as its text shows it.
pub(super) fn check(function: Function, arguments: &[Expr]) -> Result<(), Error> {
    if let (Function::Matches, [_, Expr { kind: Kind::Literal(Json::String(pattern)), span, .. }]) =
        (function, arguments)
    {
        pattern::check(pattern).map_err(|why| Error::new(span, why))?;
    }
    Ok(())
}

/// What comes of a call. The error is for people.
pub(super) fn call(
    function: Function,
    arguments: &[&Json],
    fuel: &Fuel,
    patterns: &Patterns,
) -> Result<Json, String> {
    use Function::{
        Bool, Contains, Double, EndsWith, Int, LowerAscii, Matches, Size, StartsWith, String as Text,
    };
    match (function, arguments) {
        (Size, [Json::String(text)]) => {
            fuel.read(text.len())?;
            Ok(text.chars().count().into())
        }
        (Size, [Json::Array(items)]) => Ok(items.len().into()),
        (Size, [Json::Object(entries)]) => Ok(entries.len().into()),
        (Contains | StartsWith | EndsWith, [Json::String(text), Json::String(part)]) => {
            fuel.read(text.len() + part.len())?;
            Ok(Json::Bool(match function {
                Contains => text.contains(part.as_str()),
                StartsWith => text.starts_with(part.as_str()),
                _ => text.ends_with(part.as_str()),
            }))
        }
        (Matches, [Json::String(text), Json::String(pattern)]) => {
            patterns.find(pattern, text, fuel).map(Json::Bool)
        }
        (LowerAscii, [Json::String(text)]) => {
            fuel.read(text.len())?;
            Ok(text.to_ascii_lowercase().into())
        }
        (Int, [Json::Number(number)]) => match (number.as_i64(), number.as_f64()) {
            (Some(_), _) => Ok(arguments[0].clone()),
            // Below 2^63 in either direction.
            (None, Some(double)) if double.abs() < 9.2e18 => Ok((double.trunc() as i64).into()),
            (None, Some(_) | None) => Err(format!("{number} is no integer of 64 bits")),
        },
        (Int, [Json::String(text)]) => {
            fuel.read(text.len())?;
            let number = text.parse::<i64>();
            number.map(Json::from).map_err(|_| format!("the text `{}` is no integer", short(text)))
        }
        (Double, [Json::Number(number)]) => {
            number.as_f64().map(Json::from).ok_or_else(|| format!("{number} is no double"))
        }
        (Double, [Json::String(text)]) => {
            fuel.read(text.len())?;
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            number.map(Json::from).ok_or_else(|| format!("the text `{}` is no number", short(text)))
        }
        (Text, [Json::String(text)]) => {
            fuel.read(text.len())?;
            Ok(arguments[0].clone())
        }
        (Text, [Json::Number(_) | Json::Bool(_)]) => Ok(arguments[0].to_string().into()),
        (Bool, [Json::Bool(_)]) => Ok(arguments[0].clone()),
        (Bool, [Json::String(text)]) => match text.as_str() {
            "true" | "True" | "TRUE" | "t" | "1" => Ok(true.into()),
            "false" | "False" | "FALSE" | "f" | "0" => Ok(false.into()),
            _ => Err(format!("the text `{}` is neither true nor false", short(text))),
        },
        (function, arguments) => {
            let kinds: Vec<&str> = arguments.iter().map(|argument| kind(argument)).collect();
            Err(format!("`{}` cannot be called with {}", name(function), kinds.join(" and ")))
        }
    }
}

fn name(function: Function) -> &'static str {
    match function {
        Function::Size => "size",
        Function::Contains => "contains",
        Function::StartsWith => "startsWith",
        Function::EndsWith => "endsWith",
        Function::Matches => "matches",
        Function::LowerAscii => "lowerAscii",
        Function::Int => "int",
        Function::Double => "double",
        Function::String => "string",
        Function::Bool => "bool",
    }
}

/// What a message repeats of a text.
pub(super) fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(40)]
}
