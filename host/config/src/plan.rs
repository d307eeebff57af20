//! What a reconfig would change, and why: two checked configurations in, a readable difference out.
//!
//! A configuration may have any number of things, and a plan has an end: what it has no room for is counted.

mod bound;
mod identity;
mod text;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use windlass_core::builder::{Builder, Merge, OnError, PolicyUse};
use windlass_core::condition::Condition;
use windlass_core::digest::Digest;
use windlass_core::lock::{Access, Mode};
use windlass_core::policy::HookKind;
use windlass_core::properties::Properties;

use crate::config::{Fixed, GitPoller, Logs, Master, Reporter, Scheduler, SchedulerKind, Worker};
use crate::uses;
use bound::Changes;
use identity::{Verdict, judge};

pub use identity::Why;

/// The difference between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What changes, in the order of the file's sections: the first 10,000 things, and no more than some 8 MiB of them.
    pub changes: Vec<Change>,
    /// How many things more change.
    #[serde(default)]
    pub left_out: u64,
    /// Settings that differ and need a restart. Nothing is changed if there is one.
    pub refused: Vec<Field>,
}

/// A thing of the configuration that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// How.
    pub how: How,
    /// `setting`, `configurator`, `lock`, `worker`, `policy`, `builder`, `git poller`, `scheduler`, `reporter`,
    /// `user manager`, `user`, `grant`, `secret`.
    pub what: String,
    /// Its name.
    pub name: String,
    /// Why it does.
    pub why: Vec<Why>,
    /// What becomes of what it has or had, in a sentence; empty where there is nothing to say.
    pub effect: String,
    /// The fields that differ, if it was and stays there: the first 100.
    pub fields: Vec<Field>,
    /// How many fields more differ.
    #[serde(default)]
    pub fields_left_out: u64,
}

/// How a thing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It is new.
    Added,
    /// It is different, and goes on as the same thing.
    Changed,
    /// It is another thing of the same name: the old one stops, the new one begins.
    Restarted,
    /// It is gone.
    Removed,
}

/// A field that differs. Values are shown as JSON, up to 2,000 bytes of each; none: not set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// `steps.compile.args.command`; empty if the thing is a single value.
    pub name: String,
    /// Before.
    pub old: Option<String>,
    /// After.
    pub new: Option<String>,
}

impl Plan {
    /// Whether the two are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.left_out == 0 && self.refused.is_empty()
    }

    /// Says of the workers that go which tokens, made by commands, go with them.
    pub fn name_tokens(&mut self, of: impl Fn(&str) -> Vec<u64>) {
        let gone = |change: &&mut Change| change.what == "worker" && change.how == How::Removed;
        for worker in self.changes.iter_mut().filter(gone) {
            let tokens = of(&worker.name);
            if !tokens.is_empty() {
                worker.why.push(Why::Tokens { tokens });
            }
        }
    }
}

/// A configuration, and the components that it was checked against.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The configuration.
    pub config: &'a Master,
    /// Which component a hook is; none: nobody knows, and none counts as replaced.
    pub components: Option<&'a dyn Components>,
}

/// Knows components by the hooks that they offer.
pub trait Components {
    /// The bytes that offer this hook.
    fn component(&self, kind: HookKind, hook: &str) -> Option<Digest>;
}

impl<'a> From<&'a Master> for Side<'a> {
    fn from(config: &'a Master) -> Side<'a> {
        Side { config, components: None }
    }
}

/// Returns what a reconfig from `old` to `new` would change.
#[must_use]
pub fn diff<'a>(old: impl Into<Side<'a>>, new: impl Into<Side<'a>>) -> Plan {
    let (before, after) = (old.into(), new.into());
    let (old, new) = (before.config, after.config);
    let mut refused = refused(&old.fixed, &new.fixed);
    // The store keeps the limit that it was opened with.
    if old.logs.max_bytes != new.logs.max_bytes {
        let shown = |limit: Option<u64>| limit.map(|bytes| bytes.to_string());
        let (old, new) = (shown(old.logs.max_bytes), shown(new.logs.max_bytes));
        refused.push(Field { name: "logs.max_bytes".into(), old, new });
    }

    let mut changes = Changes::default();
    let renewed = renewed(before, after);
    let mut compare = |what, (old, new): (Things, Things)| compare(what, &old, &new, &renewed, &mut changes);
    let each = |things: &dyn Fn(&Master) -> Things| (things(old), things(new));
    compare("setting", each(&settings));
    compare("configurator", each(&configurators));
    compare("lock", each(&|m| m.locks.iter().map(|(name, lock)| (name.clone(), json!(lock))).collect()));
    compare("worker", both(&old.workers, &new.workers, |w| &w.name, worker));
    compare("policy", each(&policies));
    compare("builder", both(&old.builders, &new.builders, |b| &b.name, builder));
    compare("git poller", each(&|m| m.git_pollers.iter().map(|p| (p.name.clone(), poller(p))).collect()));
    compare(
        "user manager",
        each(&|m| m.user_managers.iter().map(|u| (u.path.clone(), json!("file"))).collect()),
    );
    compare("user", each(&|m| m.users.list().iter().map(|user| (user.name.clone(), json!(user))).collect()));
    compare("scheduler", both(&old.schedulers, &new.schedulers, |s| &s.name, scheduler));
    compare("reporter", each(&|m| m.reporters.iter().map(|r| (r.name.clone(), reporter(r))).collect()));
    compare(
        "grant",
        each(&|m| m.grants.iter().map(|(hook, scopes)| (hook.clone(), json!(scopes))).collect()),
    );
    compare("secret", each(&|m| m.secrets.iter().map(|(name, from)| (name.clone(), json!(from))).collect()));
    let Changes { listed, left_out, .. } = changes;
    Plan { changes: listed, left_out, refused }
}

/// Returns what of these needs a restart.
#[must_use]
pub fn refused(old: &Fixed, new: &Fixed) -> Vec<Field> {
    let pairs = [
        ("master.listen", old.listen.clone(), new.listen.clone()),
        ("master.state_dir", old.state_dir.display().to_string(), new.state_dir.display().to_string()),
        ("master.plugins_dir", old.plugins_dir.display().to_string(), new.plugins_dir.display().to_string()),
        ("master.public_dir", old.public_dir.display().to_string(), new.public_dir.display().to_string()),
    ];
    let differ = pairs.into_iter().filter(|(_, old, new)| old != new);
    differ.map(|(name, old, new)| Field { name: name.into(), old: Some(old), new: Some(new) }).collect()
}

type Things = BTreeMap<String, Json>;

/// The things of one kind on both sides. What is the same is shown as null: there may be a thousand, of which few
/// differ.
fn both<T: PartialEq>(
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &String,
    shown: impl Fn(&T) -> Json,
) -> (Things, Things) {
    let by_name = |list| -> BTreeMap<&String, &T> { <[T]>::iter(list).map(|one| (name(one), one)).collect() };
    let (before, after) = (by_name(old), by_name(new));
    let side = |ours: &BTreeMap<&String, &T>, theirs: &BTreeMap<&String, &T>| {
        let one = |(name, one): (&&String, &&T)| {
            let is_same = theirs.get(*name).is_some_and(|other| other == one);
            ((*name).clone(), if is_same { Json::Null } else { shown(one) })
        };
        ours.iter().map(one).collect()
    };
    (side(&before, &after), side(&after, &before))
}

/// What uses a component that was replaced, though both sides name the same hook.
type Renewed<'a> = BTreeMap<(&'static str, Cow<'a, str>), Vec<Why>>;

fn renewed<'a>(old: Side<'a>, new: Side<'a>) -> Renewed<'a> {
    let mut renewed = Renewed::new();
    let (Some(before), Some(after)) = (old.components, new.components) else { return renewed };
    // Few hooks serve many builders: each is looked up once.
    let mut known: HashMap<(HookKind, String), Option<Why>> = HashMap::new();
    for each in uses::all(new.config) {
        let hook = each.hook.into_owned();
        let why = known.entry((each.kind, hook)).or_insert_with_key(|(kind, hook)| {
            let (old, new) = (before.component(*kind, hook)?, after.component(*kind, hook)?);
            (old != new).then(|| Why::Component { kind: *kind, hook: hook.clone(), old, new })
        });
        if let Some(why) = why {
            let whys = renewed.entry(each.thing).or_default();
            if !whys.contains(why) {
                whys.push(why.clone());
            }
        }
    }
    renewed
}

fn compare(what: &'static str, old: &Things, new: &Things, renewed: &Renewed<'_>, changes: &mut Changes) {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let (before, after) = (old.get(name), new.get(name));
        let mut fields = Vec::new();
        if let (Some(before), Some(after)) = (before, after) {
            differences("", before, after, &mut fields);
        }
        let whys = renewed.get(&(what, Cow::Borrowed(name.as_str()))).cloned().unwrap_or_default();
        let there = (before.is_some(), after.is_some());
        if let Some(Verdict { how, why, effect }) = judge(what, there, &fields, whys) {
            let (what, effect) = (what.to_owned(), effect.to_owned());
            changes.add(Change { how, what, name: name.clone(), why, effect, fields, fields_left_out: 0 });
        }
    }
}

/// The leaves that differ. A list is one leaf: what moved in it is best seen whole.
fn differences(path: &str, old: &Json, new: &Json, fields: &mut Vec<Field>) {
    if old == new {
        return;
    }
    // A table that is new or gone differs in every entry.
    let nothing = Json::Object(serde_json::Map::new());
    let (old, new) = match (old, new) {
        (Json::Object(_), Json::Null) => (old, &nothing),
        (Json::Null, Json::Object(_)) => (&nothing, new),
        same => same,
    };
    let (Json::Object(before), Json::Object(after)) = (old, new) else {
        let shown = |value: &Json| (!value.is_null()).then(|| value.to_string());
        fields.push(Field { name: path.into(), old: shown(old), new: shown(new) });
        return;
    };
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let (before, after) = (before.get(key).unwrap_or(&Json::Null), after.get(key).unwrap_or(&Json::Null));
        differences(&path, before, after, fields);
    }
}

fn logs(logs: &Logs) -> serde_json::Value {
    json!({
        "max_log_bytes": logs.max_log_bytes,
        "log_max_tail_size": logs.max_log_tail_bytes,
        "log_compression_method": logs.keeping.method,
        "log_compression_limit": logs.keeping.limit,
        "log_horizon_ms": logs.keeping.horizon_ms,
    })
}

fn settings(master: &Master) -> Things {
    let mut things = Things::from([
        ("title".to_owned(), json!(master.title)),
        ("title_url".to_owned(), json!(master.title_url)),
        ("url".to_owned(), json!(master.url)),
        ("horizons".to_owned(), json!(master.logs.keeping.horizons)),
        ("validation".to_owned(), json!(master.validation)),
        ("db_poll_interval_ms".to_owned(), json!(master.db_poll_interval_ms)),
        ("step_deadline_ms".to_owned(), json!(master.step_deadline_ms)),
        ("worker_grace_ms".to_owned(), json!(master.worker_grace_ms)),
        // Steps that start from then on go by it; the limit of all logs is refused above.
        ("logs".to_owned(), logs(&master.logs)),
        ("decisions".to_owned(), json!(master.decisions)),
        ("artifacts".to_owned(), json!(master.artifacts)),
    ]);
    if let Some(debug) = &master.debug {
        // That it is another one is all that is shown of a password.
        let password = Digest::of(debug.password_hash.as_bytes()).short();
        let shown = json!({ "password": password, "allow_changes": debug.allow_changes });
        things.insert("debug".to_owned(), shown);
    }
    things.insert("properties".to_owned(), properties(&master.properties));
    things
}

fn policies(master: &Master) -> Things {
    [("prioritize_builders", &master.prioritize_builders), ("codebase_generator", &master.codebase_generator)]
        .into_iter()
        .filter_map(|(name, policy)| Some((name.to_owned(), policy_use(policy.as_ref()?))))
        .collect()
}

/// The hash is not shown: that it changed is all that a reader can use.
fn worker(worker: &Worker) -> Json {
    let shown = |hash: &String| hash.chars().take("blake3:".len() + 8).chain(['…']).collect::<String>();
    json!({
        "token_hash": worker.token_hash.as_ref().map(shown), "max_builds": worker.max_builds,
        "properties": properties(&worker.properties),
        "default_properties": properties(&worker.default_properties), "locks": locks(&worker.locks),
    })
}

fn builder(builder: &Builder) -> Json {
    let optional = |policy: &Option<PolicyUse>| policy.as_ref().map(policy_use);
    let merge = match &builder.merge_requests {
        Merge::Never => json!(false),
        Merge::Compatible => json!(true),
        Merge::Policy(policy) => policy_use(policy),
    };
    // Steps of one name get a number here as they get one in a build.
    let mut steps = serde_json::Map::new();
    for step in &builder.steps {
        let mut name = step.name.clone();
        let mut number = 1;
        while steps.contains_key(&name) {
            name = format!("{}_{number}", step.name);
            number += 1;
        }
        let (args, locks) = (parsed(&step.args), locks(&step.locks));
        steps.insert(
            name,
            json!({
                "use": step.hook, "args": args, "flags": step.flags, "locks": locks,
                "deadline_ms": step.deadline_ms, "update_build_summary_policy": step.summary_policy,
                "do_step_if": step.do_step_if.as_ref().map(condition),
                "hide_step_if": step.hide_step_if.as_ref().map(condition),
            }),
        );
    }
    let order: Vec<&str> = builder.steps.iter().map(|step| step.name.as_str()).collect();
    json!({
        "description": builder.description, "tags": builder.tags, "workers": builder.workers,
        "builddir": builder.builddir, "workdir": builder.workdir, "properties": properties(&builder.properties),
        "default_properties": properties(&builder.default_properties), "env": builder.env,
        "do_build_if": builder.do_build_if.as_ref().map(condition),
        "secrets": builder.secrets, "locks": locks(&builder.locks), "order of steps": order, "steps": steps,
        "max_retries": builder.max_retries, "merge_requests": merge, "next_slave": optional(&builder.next_slave), "next_build": optional(&builder.next_build),
        "can_start_build": optional(&builder.can_start_build),
    })
}

fn scheduler(scheduler: &Scheduler) -> Json {
    let kind = match &scheduler.kind {
        SchedulerKind::SingleBranch { filter, tree_stable_ms } => {
            json!({ "change_filter": filter, "tree_stable_ms": tree_stable_ms })
        }
        SchedulerKind::Dependent { upstream } => json!({ "upstream": upstream }),
        SchedulerKind::Force | SchedulerKind::Triggerable => json!({}),
    };
    let mut all = json!({
        "type": scheduler.kind.as_str(), "builders": scheduler.builders, "priority": scheduler.priority,
        "properties": properties(&scheduler.properties),
    });
    let (Json::Object(all_entries), Json::Object(kind)) = (&mut all, kind) else { return all };
    all_entries.extend(kind);
    all
}

/// By their hooks; a hook that is used again gets a number.
fn configurators(master: &Master) -> Things {
    let named = uses::configurators(master).into_iter().zip(&master.configurators);
    named.map(|(used, one)| (used.thing.1.into_owned(), json!({ "args": parsed(&one.args) }))).collect()
}

fn poller(poller: &GitPoller) -> Json {
    json!(poller)
}

fn reporter(reporter: &Reporter) -> Json {
    json!({
        "use": reporter.hook, "args": parsed(&reporter.args), "mode": reporter.modes, "report_new": reporter.starts,
        "builders": reporter.builders, "tags": reporter.tags, "schedulers": reporter.schedulers,
        "branches": reporter.branches, "secrets": reporter.secrets,
    })
}

/// As in the file.
fn condition(condition: &Condition) -> Json {
    match condition {
        Condition::Cel(expression) => json!(expression.text()),
        Condition::Renderer { hook, args } => json!({ "renderer": hook, "args": parsed(args) }),
    }
}

/// As in the file; nothing where there are none.
fn locks(uses: &[Access]) -> Json {
    let one = |access: &Access| match access.mode {
        Mode::Counting(1) => json!(access.lock),
        Mode::Counting(count) => json!({ "lock": access.lock, "count": count }),
        Mode::Exclusive => json!({ "lock": access.lock, "mode": "exclusive" }),
    };
    if uses.is_empty() { Json::Null } else { uses.iter().map(one).collect() }
}

/// A hook without arguments is its name; otherwise a table, as in the file.
fn policy_use(policy: &PolicyUse) -> Json {
    let args = parsed(&policy.args);
    match policy.on_error {
        OnError::Default if args == json!({}) => json!(policy.hook),
        on_error => json!({ "use": policy.hook, "args": args, "on_error": on_error }),
    }
}

fn properties(properties: &Properties) -> Json {
    properties.iter().map(|(name, value, _)| (name.to_owned(), value.to_json())).collect()
}

fn parsed(args: &str) -> Json {
    serde_json::from_str(args).unwrap_or_else(|_| json!(args))
}
