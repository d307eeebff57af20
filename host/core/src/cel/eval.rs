//! What an expression comes to. All that is read and made is counted.

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;

use serde_json::{Map, Value as Json};

use super::functions::{self, short};
use super::pattern::Patterns;
use super::{Each, Error, Expr, Kind, MAX_STEPS, Macro, Op};

/// So many bytes that are read, copied or made count as one step.
const BYTES_OF_A_STEP: usize = 16;

/// The steps that are left.
pub(super) struct Fuel(Cell<usize>);

impl Fuel {
    pub(super) fn burn(&self, steps: usize) -> Result<(), String> {
        let left = self.0.get().checked_sub(steps);
        self.0.set(left.unwrap_or(0));
        left.map(drop).ok_or_else(|| format!("it takes more than {MAX_STEPS} steps"))
    }

    pub(super) fn read(&self, bytes: usize) -> Result<(), String> {
        self.burn(bytes / BYTES_OF_A_STEP)
    }

    /// Counts a copy of a document, or a look at all of it.
    fn whole(&self, json: &Json) -> Result<(), String> {
        match json {
            Json::Null | Json::Bool(_) | Json::Number(_) => self.burn(1),
            Json::String(text) => self.burn(1 + text.len() / BYTES_OF_A_STEP),
            Json::Array(items) => {
                self.burn(1)?;
                items.iter().try_for_each(|item| self.whole(item))
            }
            Json::Object(entries) => entries.iter().try_for_each(|(key, value)| {
                self.burn(1 + key.len() / BYTES_OF_A_STEP)?;
                self.whole(value)
            }),
        }
    }
}

/// A name inside of a macro, and those around it.
struct Names<'s, 'v> {
    name: &'s str,
    value: &'s Cow<'v, Json>,
    outer: Option<&'s Names<'s, 'v>>,
}

struct Context<'v> {
    text: &'v str,
    variables: &'v Map<String, Json>,
    fuel: Fuel,
    patterns: Patterns,
}

type Found<'v> = Result<Cow<'v, Json>, Error>;

pub(super) fn evaluate(root: &Expr, text: &str, variables: &Map<String, Json>) -> Result<Json, Error> {
    let fuel = Fuel(Cell::new(MAX_STEPS));
    let context = Context { text, variables, fuel, patterns: Patterns::default() };
    context.own(root, None)
}

/// What a value is, in words.
pub(super) fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(number) if number.is_f64() => "a double",
        Json::Number(_) => "an integer",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "a map",
    }
}

impl<'v> Context<'v> {
    /// Puts a place to what went wrong.
    fn at<T>(&self, expr: &Expr, result: Result<T, String>) -> Result<T, Error> {
        result.map_err(|message| Error::new(&expr.span, message))
    }

    /// What an expression comes to, to be kept: what is not its own yet is copied, and counted.
    fn own(&self, expr: &'v Expr, names: Option<&Names<'_, 'v>>) -> Result<Json, Error> {
        let found = self.eval(expr, names)?;
        if let Cow::Borrowed(json) = found {
            self.at(expr, self.fuel.whole(json))?;
        }
        Ok(found.into_owned())
    }

    fn eval(&self, expr: &'v Expr, names: Option<&Names<'_, 'v>>) -> Found<'v> {
        self.at(expr, self.fuel.burn(1))?;
        match &expr.kind {
            Kind::Literal(json) => Ok(Cow::Borrowed(json)),
            Kind::Variable(name) => self.variable(expr, name, names),
            Kind::List(items) => {
                let items = items.iter().map(|item| self.own(item, names));
                Ok(owned(Json::Array(items.collect::<Result<_, Error>>()?)))
            }
            Kind::Map(entries) => self.map(entries, names),
            Kind::Select(of, name) => {
                let found = self.eval(of, names)?;
                self.at(expr, field(found, name, &self.text[of.span.clone()]))
            }
            Kind::Has(of, name) => match &*self.eval(of, names)? {
                Json::Object(entries) => Ok(owned(entries.contains_key(name).into())),
                other => self.at(expr, Err(format!("{} has no fields", kind(other)))),
            },
            Kind::Index(parts) => {
                let [of, index] = &**parts;
                let (found, index) = (self.eval(of, names)?, self.eval(index, names)?);
                self.at(expr, self.item(found, &index, &self.text[of.span.clone()]))
            }
            Kind::Not(of) => Ok(owned((!self.truth(of, names)?).into())),
            Kind::Negate(of) => {
                let found = self.eval(of, names)?;
                self.at(expr, negated(&found)).map(owned)
            }
            Kind::All(parts) => self.settle(parts, false, names),
            Kind::Any(parts) => self.settle(parts, true, names),
            Kind::Choose(parts) => {
                let [condition, yes, no] = &**parts;
                self.eval(if self.truth(condition, names)? { yes } else { no }, names)
            }
            Kind::Binary(op, sides) => {
                let [left, right] = &**sides;
                let (left, right) = (self.eval(left, names)?, self.eval(right, names)?);
                self.at(expr, self.binary(*op, &left, &right)).map(owned)
            }
            Kind::Call(function, arguments) => {
                let found: Vec<Cow<'v, Json>> =
                    arguments.iter().map(|argument| self.eval(argument, names)).collect::<Result<_, _>>()?;
                let found: Vec<&Json> = found.iter().map(|argument| &**argument).collect();
                self.at(expr, functions::call(*function, &found, &self.fuel, &self.patterns)).map(owned)
            }
            Kind::Each(each) => self.each(each, names),
        }
    }

    fn variable(&self, expr: &Expr, name: &str, names: Option<&Names<'_, 'v>>) -> Found<'v> {
        let mut inner = std::iter::successors(names, |names| names.outer);
        if let Some(found) = inner.find(|names| names.name == name) {
            if let Cow::Owned(json) = found.value {
                self.at(expr, self.fuel.whole(json))?;
            }
            return Ok(found.value.clone());
        }
        let found = self.variables.get(name).map(Cow::Borrowed);
        self.at(expr, found.ok_or_else(|| format!("`{name}` is not known here")))
    }

    fn map(&self, entries: &'v [(Expr, Expr)], names: Option<&Names<'_, 'v>>) -> Found<'v> {
        let mut map = Map::new();
        for (key, value) in entries {
            let name = match self.own(key, names)? {
                Json::String(name) => name,
                other => return self.at(key, Err(format!("a key is a text, not {}", kind(&other)))),
            };
            let found = self.own(value, names)?;
            if map.insert(name, found).is_some() {
                return self.at(key, Err("this key is there twice".to_owned()));
            }
        }
        Ok(owned(Json::Object(map)))
    }

    fn truth(&self, expr: &'v Expr, names: Option<&Names<'_, 'v>>) -> Result<bool, Error> {
        match &*self.eval(expr, names)? {
            Json::Bool(truth) => Ok(*truth),
            other => self.at(expr, Err(format!("this is {}, where true or false is needed", kind(other)))),
        }
    }

    /// One part that is `deciding` decides, even where others fail; without one the first failure counts.
    fn settle(&self, parts: &'v [Expr], deciding: bool, names: Option<&Names<'_, 'v>>) -> Found<'v> {
        let mut failed = None;
        for part in parts {
            match self.truth(part, names) {
                Ok(truth) if truth == deciding => return Ok(owned(deciding.into())),
                Ok(_) => {}
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        failed.map_or(Ok(owned((!deciding).into())), Err)
    }

    fn each(&self, each: &'v Each, names: Option<&Names<'_, 'v>>) -> Found<'v> {
        let Each { what, over, name, only, body } = each;
        // They are looked at one by one: a list may be long, and its first item may decide.
        let items: Box<dyn Iterator<Item = Cow<'v, Json>> + 'v> = match self.eval(over, names)? {
            Cow::Borrowed(Json::Array(items)) => Box::new(items.iter().map(Cow::Borrowed)),
            Cow::Owned(Json::Array(items)) => Box::new(items.into_iter().map(Cow::Owned)),
            // Of a map it is the keys.
            Cow::Borrowed(Json::Object(entries)) => {
                Box::new(entries.keys().map(|key| owned(key.as_str().into())))
            }
            Cow::Owned(Json::Object(entries)) => {
                Box::new(entries.into_iter().map(|(key, _)| owned(key.into())))
            }
            other => return self.at(over, Err(format!("{} has no items", kind(&other)))),
        };
        let (mut count, mut failed, mut kept) = (0_usize, None, Vec::new());
        for value in items {
            self.at(body, self.fuel.burn(1))?;
            if let Cow::Owned(Json::String(text)) = &value {
                // A key was copied.
                self.at(body, self.fuel.read(text.len()))?;
            }
            let inner = Names { name, value: &value, outer: names };
            match what {
                Macro::All | Macro::Exists => match self.truth(body, Some(&inner)) {
                    Ok(truth) if truth == (*what == Macro::Exists) => return Ok(owned(truth.into())),
                    Ok(_) => {}
                    Err(error) => drop(failed.get_or_insert(error)),
                },
                Macro::ExistsOne => count += usize::from(self.truth(body, Some(&inner))?),
                Macro::Filter => {
                    if self.truth(body, Some(&inner))? {
                        self.at(body, self.fuel.whole(&value))?;
                        kept.push(value.into_owned());
                    }
                }
                Macro::Map => {
                    let passes = only.as_ref().map_or(Ok(true), |only| self.truth(only, Some(&inner)))?;
                    if passes {
                        let found = self.eval(body, Some(&inner))?;
                        self.at(body, self.fuel.whole(&found))?;
                        kept.push(found.into_owned());
                    }
                }
            }
        }
        Ok(owned(match what {
            Macro::All | Macro::Exists => match failed {
                Some(error) => return Err(error),
                None => (*what == Macro::All).into(),
            },
            Macro::ExistsOne => (count == 1).into(),
            Macro::Filter | Macro::Map => Json::Array(kept),
        }))
    }

    fn binary(&self, op: Op, left: &Json, right: &Json) -> Result<Json, String> {
        Ok(match op {
            Op::Equal => self.equal(left, right)?.into(),
            Op::Unequal => (!self.equal(left, right)?).into(),
            Op::Less => (self.order(op, left, right)? == Some(Ordering::Less)).into(),
            Op::LessOrEqual => self.order(op, left, right)?.is_some_and(Ordering::is_le).into(),
            Op::Greater => (self.order(op, left, right)? == Some(Ordering::Greater)).into(),
            Op::GreaterOrEqual => self.order(op, left, right)?.is_some_and(Ordering::is_ge).into(),
            Op::In => self.is_in(left, right)?.into(),
            Op::Add => match (left, right) {
                (Json::String(left), Json::String(right)) => {
                    self.fuel.read(left.len() + right.len())?;
                    [left.as_str(), right].concat().into()
                }
                (Json::Array(first), Json::Array(then)) => {
                    self.fuel.whole(left)?;
                    self.fuel.whole(right)?;
                    Json::Array(first.iter().chain(then).cloned().collect())
                }
                _ => calculated(op, left, right)?,
            },
            Op::Subtract | Op::Multiply | Op::Divide | Op::Remainder => calculated(op, left, right)?,
        })
    }

    fn equal(&self, left: &Json, right: &Json) -> Result<bool, String> {
        self.fuel.burn(1)?;
        Ok(match (left, right) {
            (Json::Number(_), Json::Number(_)) => numbers(left, right) == Some(Ordering::Equal),
            (Json::String(left), Json::String(right)) => {
                self.fuel.read(left.len().min(right.len()))?;
                left == right
            }
            (Json::Array(left), Json::Array(right)) => {
                left.len() == right.len() && all(left.iter().zip(right), |(l, r)| self.equal(l, r))?
            }
            (Json::Object(left), Json::Object(right)) => {
                left.len() == right.len()
                    && all(left, |(key, l)| {
                        self.fuel.read(key.len())?;
                        right.get(key).map_or(Ok(false), |r| self.equal(l, r))
                    })?
            }
            (Json::Null, Json::Null) => true,
            (Json::Bool(left), Json::Bool(right)) => left == right,
            // What is of another kind is not equal.
            _ => false,
        })
    }

    fn order(&self, op: Op, left: &Json, right: &Json) -> Result<Option<Ordering>, String> {
        match (left, right) {
            (Json::Number(_), Json::Number(_)) => Ok(numbers(left, right)),
            (Json::String(left), Json::String(right)) => {
                self.fuel.read(left.len().min(right.len()))?;
                Ok(Some(left.cmp(right)))
            }
            (Json::Bool(left), Json::Bool(right)) => Ok(Some(left.cmp(right))),
            _ => Err(unfit(op, left, right)),
        }
    }

    fn is_in(&self, left: &Json, right: &Json) -> Result<bool, String> {
        match (left, right) {
            (_, Json::Array(items)) => all(items, |item| Ok(!self.equal(left, item)?)).map(|none| !none),
            (Json::String(key), Json::Object(entries)) => {
                self.fuel.read(key.len())?;
                Ok(entries.contains_key(key))
            }
            (_, Json::Object(_)) => Ok(false),
            _ => Err(unfit(Op::In, left, right)),
        }
    }

    /// What stands at an index of a list or a map; `shown` is how that is called.
    fn item(&self, of: Cow<'v, Json>, index: &Json, shown: &str) -> Result<Cow<'v, Json>, String> {
        let missing = || {
            let index = match index {
                Json::String(name) => format!("{:?}", short(name)),
                other => other.to_string(),
            };
            format!("there is no item {index} in `{shown}`; `in` asks whether there is")
        };
        match (of, index) {
            (of, Json::String(name)) if of.is_object() => {
                self.fuel.read(name.len())?;
                field(of, name, shown).map_err(|_| missing())
            }
            (Cow::Borrowed(Json::Array(items)), Json::Number(_)) => {
                let found = place(index).and_then(|place| items.get(place));
                found.map(Cow::Borrowed).ok_or_else(missing)
            }
            (Cow::Owned(Json::Array(mut items)), Json::Number(_)) => {
                let found = place(index).filter(|place| *place < items.len());
                found.map(|place| owned(items.swap_remove(place))).ok_or_else(missing)
            }
            (of, index) => Err(format!("{} cannot be looked up in {}", kind(index), kind(&of))),
        }
    }
}

fn owned<'v>(json: Json) -> Cow<'v, Json> {
    Cow::Owned(json)
}

/// Whether all pass; the first that does not ends it.
fn all<T>(
    items: impl IntoIterator<Item = T>,
    passes: impl Fn(T) -> Result<bool, String>,
) -> Result<bool, String> {
    for item in items {
        if !passes(item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The field of a map; `shown` is how the map is called.
fn field<'v>(of: Cow<'v, Json>, name: &str, shown: &str) -> Result<Cow<'v, Json>, String> {
    let found = match of {
        Cow::Borrowed(Json::Object(entries)) => entries.get(name).map(Cow::Borrowed),
        Cow::Owned(Json::Object(mut entries)) => entries.remove(name).map(Cow::Owned),
        other => return Err(format!("`{shown}` is {} and has no field `{name}`", kind(&other))),
    };
    found.ok_or_else(|| {
        format!("there is no `{name}` in `{shown}`; `has({shown}.{name})` asks whether there is")
    })
}

/// An index: an integer, or a double that is one.
fn place(index: &Json) -> Option<usize> {
    let double =
        || index.as_f64().filter(|d| d.fract() == 0.0 && (0.0..9e15).contains(d)).map(|d| d as usize);
    index.as_u64().and_then(|index| usize::try_from(index).ok()).or_else(double)
}

/// An integer and a double are compared as numbers.
fn numbers(left: &Json, right: &Json) -> Option<Ordering> {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn unfit(op: Op, left: &Json, right: &Json) -> String {
    format!("`{}` cannot stand between {} and {}", op.sign(), kind(left), kind(right))
}

fn calculated(op: Op, left: &Json, right: &Json) -> Result<Json, String> {
    let (Json::Number(l), Json::Number(r)) = (left, right) else { return Err(unfit(op, left, right)) };
    if let (Some(l), Some(r)) = (l.as_i64(), r.as_i64()) {
        let found = match op {
            Op::Add => l.checked_add(r),
            Op::Subtract => l.checked_sub(r),
            Op::Multiply => l.checked_mul(r),
            Op::Divide | Op::Remainder if r == 0 => return Err("this divides by zero".to_owned()),
            Op::Divide => l.checked_div(r),
            _ => l.checked_rem(r),
        };
        return found.map(Json::from).ok_or_else(|| "this does not fit into 64 bits".to_owned());
    }
    // An integer and a double are two kinds: CEL wants to be told which one is meant.
    if l.is_f64() != r.is_f64() || op == Op::Remainder {
        let hint = if op == Op::Remainder { "" } else { "; `int(x)` and `double(x)` make one of the other" };
        return Err(format!("{}{hint}", unfit(op, left, right)));
    }
    let (Some(l), Some(r)) = (l.as_f64(), r.as_f64()) else { return Err(unfit(op, left, right)) };
    let found = match op {
        Op::Add => l + r,
        Op::Subtract => l - r,
        Op::Multiply => l * r,
        _ => l / r,
    };
    serde_json::Number::from_f64(found).map(Json::Number).ok_or_else(|| "this is no finite number".to_owned())
}

fn negated(json: &Json) -> Result<Json, String> {
    let Json::Number(number) = json else { return Err(format!("`-` cannot stand before {}", kind(json))) };
    match (number.as_i64(), number.as_f64()) {
        (Some(integer), _) => {
            integer.checked_neg().map(Json::from).ok_or_else(|| "this does not fit into 64 bits".to_owned())
        }
        (None, Some(double)) => Ok((-double).into()),
        (None, None) => Err("this is no number".to_owned()),
    }
}
