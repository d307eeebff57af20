//! `git`: brings the exact revision of the source stamp into the work directory.
//!
//! There is no `git clone`: an empty repository that fetches is a clone that can be continued after an accident,
//! and needs no case of its own. What makes the checkout fail is broken on the worker, so it is removed and made
//! anew once; what makes a fetch fail lies elsewhere, and the checkout stays.

mod checkout;
mod patch;
mod source;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json};
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{BuildStep, Failure, Hook, Outcome, Value, bad_argument};

use self::checkout::{Checkout, Stop};
use self::source::Source;
use crate::remote::{Env, ended};

/// The hook.
pub struct Git;

impl Hook for Git {
    const NAME: &'static str = "git";
    const SUMMARY: &'static str =
        "checks out the exact revision of the source stamp; a failure halts the build";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("git.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = &[("halt-on-failure", true), ("flunk-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    repourl: Option<String>,
    branch: Option<String>,
    #[serde(default)]
    codebase: String,
    #[serde(default)]
    mode: Mode,
    method: Option<Method>,
    #[serde(default)]
    always_use_latest: bool,
    #[serde(default)]
    shallow: Shallow,
    #[serde(default)]
    tags: bool,
    #[serde(default)]
    submodules: bool,
    #[serde(default)]
    lfs: bool,
    retry: Option<Retry>,
    #[serde(default)]
    config: BTreeMap<String, String>,
    #[serde(default = "build")]
    workdir: String,
    #[serde(default)]
    env: Env,
    #[serde(default = "twenty_minutes")]
    timeout: Option<f64>,
}

fn build() -> String {
    "build".to_owned()
}

#[expect(clippy::unnecessary_wraps, reason = "a default of an optional field")]
fn twenty_minutes() -> Option<f64> {
    Some(1200.0)
}

/// What stays of the last build.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Incremental,
    Full,
}

/// How a full checkout gets rid of what the last build left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    Clean,
    Fresh,
    Clobber,
    Copy,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Shallow {
    Whether(bool),
    Depth(u32),
}

impl Default for Shallow {
    fn default() -> Shallow {
        Shallow::Whether(false)
    }
}

impl Shallow {
    fn depth(&self) -> Option<u32> {
        match self {
            Shallow::Whether(false) => None,
            Shallow::Whether(true) => Some(1),
            Shallow::Depth(depth) => Some(*depth),
        }
    }
}

/// How often a fetch that failed is tried again, and after how many seconds.
#[derive(Clone, Copy, Deserialize)]
struct Retry {
    delay: f64,
    count: u32,
}

impl Args {
    /// What is done with what the last build left; none: nothing.
    fn method(&self) -> Result<Option<Method>, Failure> {
        let method = match (self.mode, self.method) {
            (Mode::Incremental, None) => return Ok(None),
            (Mode::Incremental, Some(_)) => {
                return Err(bad_argument("`method` is for `mode = \"full\"` only"));
            }
            (Mode::Full, method) => method.unwrap_or(Method::Fresh),
        };
        match method {
            Method::Clobber | Method::Copy if is_whole(&self.workdir) => Err(bad_argument(
                "`clobber` and `copy` remove `workdir`, which must be a directory below the builder's",
            )),
            method => Ok(Some(method)),
        }
    }
}

/// Whether a path means the builder's whole directory, which nobody may remove.
fn is_whole(path: &str) -> bool {
    path.split('/').all(|part| matches!(part, "" | "."))
}

impl BuildStep for Git {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let source = Source::of(&args, &step::source_stamps())?;
        let method = args.method()?;
        let checkout = Checkout { args, source, method };
        let revision = match checkout.run() {
            Ok(revision) => revision,
            Err(Stop::Ended(what, outcome, why)) => return Ok(ended(&what, outcome, &why)),
            Err(Stop::Failed(failure)) => return Err(failure),
        };
        let codebase = &checkout.args.codebase;
        let got = got_revision(step::get_property("got_revision").as_ref(), codebase, &revision);
        step::set_property("got_revision", &got)?;
        let at = checkout.source.branch.as_deref().map(|branch| format!(" of {branch}")).unwrap_or_default();
        let patched = if checkout.source.has_patch { " with a patch" } else { "" };
        let short = revision.get(..12).unwrap_or(&revision);
        Ok(StepResult::new(Outcome::Success, format!("{short}{at}{patched}")))
    }
}

/// One revision where there is one codebase, which has no name; else an object of one for each.
fn got_revision(before: Option<&Value>, codebase: &str, revision: &str) -> Value {
    if codebase.is_empty() {
        return Value::Text(revision.to_owned());
    }
    let mut all = match before {
        Some(Value::Json(json)) => serde_json::from_str::<Map<String, Json>>(json).unwrap_or_default(),
        _ => Map::new(),
    };
    all.insert(codebase.to_owned(), Json::from(revision));
    Value::Json(Json::Object(all).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(json: &str) -> Args {
        serde_json::from_str(json).expect("the arguments fit")
    }

    #[test]
    fn a_full_checkout_is_fresh_unless_told_otherwise() {
        let method = |json| args(json).method();
        assert_eq!(method("{}"), Ok(None));
        assert_eq!(method(r#"{"mode":"full"}"#), Ok(Some(Method::Fresh)));
        assert_eq!(method(r#"{"mode":"full","method":"copy"}"#), Ok(Some(Method::Copy)));
        assert_eq!(method(r#"{"method":"copy"}"#).expect_err("no such thing").code, "bad-argument");
        assert_eq!(method(r#"{"mode":"full","workdir":"."}"#), Ok(Some(Method::Fresh)));
        let whole = method(r#"{"mode":"full","method":"clobber","workdir":"./"}"#);
        assert_eq!(whole.expect_err("nobody removes that").code, "bad-argument");
    }

    #[test]
    fn what_was_got_is_one_revision_or_one_for_each_codebase() {
        assert_eq!(got_revision(None, "", "a"), Value::Text("a".into()));
        let one = got_revision(None, "lib", "a");
        assert_eq!(one, Value::Json(r#"{"lib":"a"}"#.into()));
        let two = got_revision(Some(&one), "app", "b");
        assert_eq!(two, Value::Json(r#"{"app":"b","lib":"a"}"#.into()));
        assert_eq!(got_revision(Some(&two), "lib", "c"), Value::Json(r#"{"app":"b","lib":"c"}"#.into()));
    }
}
