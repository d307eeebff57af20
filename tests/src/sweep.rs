//! The build that is played under faults, and what must be as if none had been.
//!
//! Each of its commands appends a line to one file when it begins and another when it ends, so that what was done
//! twice, or not at all, is seen even where no row tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::faults::{Output, Plan, Run, Story, play};
use crate::fixtures::component;
use crate::languages;
use crate::site::{Site, text};

const WHOLE: &str = "whole";
const CHILD: &str = "child";

/// What a fault may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing: builds go on where they stood.
    TakenUp,
    /// A build that is cut off ends as *retry*, and another does the same from the beginning.
    BuiltAgain,
    /// Builds that say these words in their summary may be built again, and no others.
    BuiltAgainFor(&'static str),
}

/// What a build says that was cut off by the death of a holder.
pub const HOLDER: &str = "the holder of ";

/// What a build says that was cut off since no other agent can go on with one of its commands.
pub const OPEN_INPUT: &str = "its component holds the input of a program open";

/// What the build is made of.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Lines of output of its first command.
    pub lines: u32,
    /// Whether it uploads a file.
    pub upload: bool,
    /// Whether it has steps in C, JavaScript and Python, too, and a command in C.
    pub languages: bool,
}

/// The projects in other languages, and what their plugins are called.
const LANGUAGES: [(&str, &str); 4] =
    [("c/all", "c-all"), ("js/all", "js-all"), ("python/all", "py-all"), ("c/tee", TEE)];

/// The one that has a command and no step.
const TEE: &str = "c-tee";

/// One kind of run, and the undisturbed one that all others are compared with.
pub struct Sweep {
    size: Size,
    undisturbed: Run,
}

impl Sweep {
    /// Has the undisturbed run.
    ///
    /// # Panics
    /// If that is not as it should be.
    #[must_use]
    pub fn new(size: Size) -> Sweep {
        // The first finds nothing compiled, and takes its time at other places.
        let cold = play(story(size, &built), &Plan::default());
        cold.site.keep_compiled();
        let undisturbed = play(story(size, &built), &Plan::default());
        assert_eq!(undisturbed.outcome, "success", "{:#?}", undisturbed.builds);
        assert_eq!(undisturbed.builds.len(), 2, "{:#?}", undisturbed.builds);
        let sweep = Sweep { size, undisturbed };
        let between = sweep.differences(&cold, Rule::TakenUp);
        assert!(between.is_empty(), "without any fault: {between:#?}");
        sweep
    }

    /// The run without faults.
    #[must_use]
    pub fn undisturbed(&self) -> &Run {
        &self.undisturbed
    }

    /// Plays it under a plan.
    #[must_use]
    pub fn play(&self, plan: &Plan) -> Run {
        play(story(self.size, &built), plan)
    }

    /// What is otherwise than it may be, in words.
    #[must_use]
    pub fn differences(&self, run: &Run, rule: Rule) -> Vec<String> {
        let mut wrong = Wrong { undisturbed: &self.undisturbed, run, rule, told: Vec::new() };
        wrong.look();
        wrong.told
    }
}

/// What is played, with components by their names as plugins from `component`.
#[must_use]
pub fn story(size: Size, component: &dyn Fn(&str) -> Vec<u8>) -> Story<'static> {
    let mut site = Site::new(&["w1", "w2"], "");
    let languages = LANGUAGES.iter().filter(|_| size.languages).map(|(_, name)| *name);
    for name in ["courier", "sender"].into_iter().chain(languages) {
        site.plugin(name, &component(name));
    }
    let effects = effects(&site);
    let effects = effects.to_str().expect("UTF-8");
    site.configure(&config(effects, size));
    if size.languages {
        let worker = site.path("w1/worker.toml");
        let allowed = "\n[allow.\"c-tee:tee\"]\nexec = [\"/bin/sh\"]\n";
        std::fs::write(&worker, text(&worker) + allowed).expect("a file of the site");
    }
    Story { site, builder: WHOLE, watched: "w1" }
}

/// From the sources of the tests.
fn built(name: &str) -> Vec<u8> {
    match LANGUAGES.iter().find(|(_, plugin)| *plugin == name) {
        Some((project, _)) => languages::component(project),
        None => component(name),
    }
}

fn effects(site: &Site) -> std::path::PathBuf {
    site.path("effects")
}

fn config(effects: &str, Size { lines, upload, languages }: Size) -> String {
    let errand = |name: &str, script: &str| {
        let mark = |word| format!("echo \"$BUILD {name} {word}\" >> $EFFECTS");
        format!("set -e; {}; {script}; {}", mark("begins"), mark("ends"))
    };
    // Neither of the two ends before both have begun.
    let twin = |name: &str, other: &str| {
        let met = format!(
            "n=${{BUILD#*/}}; touch {name}-$n; until test -e {other}-$n; do sleep 0.02; done; echo {name}"
        );
        json!({
            "command": "windlass:shell", "observe": [name],
            "args": { "command": errand(name, &met), "log": name },
        })
    };
    let added = json!({
        "use": "shell-command", "name": "added",
        "args": { "command": errand("added", "echo added") },
    });
    let mut steps = vec![
        json!({ "use": "shell-command", "name": "lines", "args": { "command": errand("lines", &format!("seq {lines}")) } }),
        json!({ "use": "send", "name": "twins", "args": {
            "rows": Value::from(vec![twin("left", "right"), twin("right", "left")]).to_string(),
        } }),
        json!({ "use": "set-property-from-command", "name": "find", "args": {
            "command": errand("find", "echo treasure"), "property": "found",
        } }),
        json!({ "use": "carry", "name": "add", "args": {
            "add": [added.to_string()],
            "command": "windlass:shell", "args": { "command": errand("adder", "echo adder") },
        } }),
        json!({ "use": "trigger", "name": "trigger", "args": {
            "schedulers": ["child"], "wait_for_finish": true, "copy_properties": ["found"],
        } }),
    ];
    if upload {
        steps.push(json!({ "use": "shell-command", "name": "make", "args": {
            "command": errand("make", "seq 20000 > made; echo made"), "workdir": "build",
        } }));
        steps.push(json!({ "use": "file-upload", "name": "upload", "args": { "worker_src": "made" } }));
    }
    for (_, plugin) in LANGUAGES.iter().filter(|(_, plugin)| languages && *plugin != TEE) {
        // The step starts the last one when it reads the word of the first, which does not stand in the header that shows
        // the command; and what they say has one order.
        let heard = format!("heard-{plugin}-${{BUILD#*/}}");
        let until = format!("until test -e {heard}; do sleep 0.02; done");
        let mut args = json!({
            "watch": errand(&format!("{plugin}-watched"), &format!("echo one; echo rea''dy; {until}")),
            "beside": errand(&format!("{plugin}-beside"), &format!("{until}; seq 100")),
            "word": "ready", "then": errand(&format!("{plugin}-then"), &format!("touch {heard}")),
        });
        if *plugin == "c-all" {
            args["with"] = "c-tee:tee".into();
        }
        steps.push(json!({ "use": format!("{plugin}:pair"), "name": plugin, "args": args }));
    }
    steps.push(json!({ "use": "shell-command", "name": "last", "args": {
        "command": errand("last", "echo last saw %(prop:found)s"),
    } }));
    let child = json!({ "use": "shell-command", "name": "child", "args": {
        "command": errand("child", "seq 1000; echo child of a %(prop:found)s"),
    } });
    let mut config = String::new();
    for (builder, worker, steps) in [(WHOLE, "w1", steps), (CHILD, "w2", vec![child])] {
        let builder = json!({
            "name": builder, "workers": [worker], "merge_requests": false,
            "env": { "EFFECTS": effects, "BUILD": "%(prop:buildername)s/%(prop:buildnumber)s" },
        });
        writeln!(config, "[[builders]]\n{}", toml(&builder)).expect("a string takes all");
        for step in steps {
            writeln!(config, "[[builders.steps]]\n{}", toml(&step)).expect("a string takes all");
        }
    }
    if languages {
        config += "[grants.\"c-tee:tee\"]\nexec = [\"/bin/sh\"]\n";
    }
    config + "[[schedulers]]\nname = \"child\"\ntype = \"triggerable\"\nbuilders = [\"child\"]\n"
}

/// The members of an object as lines of TOML.
fn toml(object: &Value) -> String {
    let members = object.as_object().expect("an object");
    members.iter().map(|(name, value)| format!("{name} = {}\n", inline(value))).collect()
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name} = {}", inline(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(values) => {
            format!("[{}]", values.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        // What JSON has besides is written alike.
        plain => plain.to_string(),
    }
}

/// What was found to be wrong with a run.
struct Wrong<'a> {
    undisturbed: &'a Run,
    run: &'a Run,
    rule: Rule,
    told: Vec<String>,
}

impl Wrong<'_> {
    fn look(&mut self) {
        for flaw in &self.run.flaws {
            self.told.push(format!("the store: {flaw}"));
        }
        self.same("the buildset's outcome", &self.undisturbed.outcome, &self.run.outcome);
        self.requests();
        self.builds();
        self.effects();
        self.artifacts();
    }

    fn same<T: PartialEq + std::fmt::Debug + ?Sized>(&mut self, what: &str, should: &T, is: &T) {
        if should != is {
            self.told.push(format!("{what}: {is:?} instead of {should:?}"));
        }
    }

    /// No request is lost, none is doubled, and all have ended as they should.
    fn requests(&mut self) {
        let outcomes = |run: &Run, builder: &str| -> Vec<String> {
            let all = run.requests.iter().filter(|request| request["builder"] == builder);
            all.map(|request| request["outcome"].to_string()).collect()
        };
        let (should, is) = (outcomes(self.undisturbed, WHOLE), outcomes(self.run, WHOLE));
        self.same("the requests", &should, &is);
        let (should, mut is) = (outcomes(self.undisturbed, CHILD), outcomes(self.run, CHILD));
        if self.is_built_again() {
            // Each build that triggers has a child of its own, and that of one which was cut off goes on.
            is.dedup();
        }
        self.same("the requests of children", &should, &is);
    }

    fn is_built_again(&self) -> bool {
        of(self.run, WHOLE).any(|(_, build)| build["outcome"] == "retry")
    }

    fn builds(&mut self) {
        for builder in [WHOLE, CHILD] {
            let (place, should) = of(self.undisturbed, builder).next().expect("it was built");
            let mut ended = BTreeSet::new();
            for (at, build) in of(self.run, builder) {
                let name = format!("{builder}/{}", build["number"]);
                if build["outcome"] == "retry" {
                    self.cut_off(&name, build, &self.undisturbed.output[place], &self.run.output[at]);
                } else {
                    self.complete(&name, should, build);
                    self.outputs(&name, &self.undisturbed.output[place], &self.run.output[at]);
                    if !ended.insert(build["requests"].to_string()) {
                        self.told.push(format!("{name} builds what was built already"));
                    }
                }
            }
        }
    }

    /// A build that was built again: that may be, and nothing that it wrote is wrong.
    fn cut_off(&mut self, name: &str, build: &Value, should: &Output, is: &Output) {
        let summary = build["summary"].as_str().unwrap_or_default();
        let expected = match self.rule {
            Rule::TakenUp => false,
            Rule::BuiltAgain => true,
            Rule::BuiltAgainFor(words) => summary.contains(words),
        };
        if !expected {
            self.told.push(format!("{name} is built again: {summary}"));
        }
        for (log, bytes) in is {
            if !should.get(log).is_some_and(|whole| whole.starts_with(bytes)) {
                self.told.push(format!("{name} {log}: {} bytes are no beginning of it", bytes.len()));
            }
        }
        if build["ended"].is_null() {
            self.told.push(format!("{name} has not ended"));
        }
    }

    fn complete(&mut self, name: &str, should: &Value, is: &Value) {
        self.same(&format!("{name} outcome"), &should["outcome"], &is["outcome"]);
        self.same(&format!("{name} properties"), &properties(should), &properties(is));
        let steps = |build: &Value| build["steps"].as_array().cloned().unwrap_or_default();
        let (should, is) = (steps(should), steps(is));
        let again = self.is_built_again();
        self.same(&format!("{name}: number of steps"), &should.len(), &is.len());
        for (should, is) in should.iter().zip(&is) {
            let (should, is) = (shape(should, again), shape(is, again));
            for (member, should) in &should {
                self.same(&format!("{name} step {} {member}", is["name"]), should, &is[member]);
            }
        }
    }

    fn outputs(&mut self, name: &str, should: &Output, is: &Output) {
        self.same(&format!("{name} logs"), &Vec::from_iter(should.keys()), &Vec::from_iter(is.keys()));
        for (log, should) in should {
            let Some(is) = is.get(log).filter(|is| *is != should) else { continue };
            let at = should.iter().zip(is).take_while(|(a, b)| a == b).count();
            self.told.push(format!(
                "{name} {log}: other bytes from {at} on; {} bytes in {} lines instead of {} in {}",
                is.len(),
                lines(is),
                should.len(),
                lines(should),
            ));
        }
    }

    /// What the commands left outside: of each build that ended all of it, each line once; of others at most that.
    fn effects(&mut self) {
        let (should, is) = (by_build(&self.undisturbed.site), by_build(&self.run.site));
        for builder in [WHOLE, CHILD] {
            let should = should.get(&format!("{builder}/1")).cloned().unwrap_or_default();
            for (_, build) in of(self.run, builder) {
                let name = format!("{builder}/{}", build["number"]);
                let is = is.get(&name).cloned().unwrap_or_default();
                for (line, times) in &is {
                    if *times > 1 || !should.contains_key(line) {
                        self.told.push(format!("{name}: `{line}` was done {times} times"));
                    }
                }
                if build["outcome"] != "retry" {
                    let lost = should.keys().filter(|line| !is.contains_key(*line));
                    self.told.extend(lost.map(|line| format!("{name}: `{line}` was not done")));
                }
            }
        }
        let builds: BTreeSet<String> = self
            .run
            .builds
            .iter()
            .map(|build| format!("{}/{}", build["builder"].as_str().unwrap_or_default(), build["number"]))
            .collect();
        for name in is.keys().filter(|name| !builds.contains(*name)) {
            self.told.push(format!("{name} did something, and there is no such build"));
        }
    }

    fn artifacts(&mut self) {
        for (at, build) in of(self.run, WHOLE).filter(|(_, build)| build["outcome"] != "retry") {
            let (place, _) = of(self.undisturbed, WHOLE).next().expect("it was built");
            let (should, is) = (&self.undisturbed.artifacts[place], &self.run.artifacts[at]);
            self.same(&format!("{WHOLE}/{} artifacts", build["number"]), should, is);
        }
    }
}

/// The builds of a builder with their places.
fn of<'a>(run: &'a Run, builder: &'a str) -> impl Iterator<Item = (usize, &'a Value)> {
    run.builds.iter().enumerate().filter(move |(_, build)| build["builder"] == builder)
}

/// The lines of each build, with how often each stands there.
fn by_build(site: &Site) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut all: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for line in text(&effects(site)).lines() {
        let (build, what) = line.split_once(' ').expect("build and what was done");
        *all.entry(build.to_owned()).or_default().entry(what.to_owned()).or_default() += 1;
    }
    all
}

/// The properties that do not say which build it is.
fn properties(build: &Value) -> Vec<String> {
    let all = build["properties"].as_array().into_iter().flatten();
    let told = all.filter(|property| property["name"] != "buildnumber");
    told.map(|property| format!("{} = {} ({})", property["name"], property["value"], property["source"]))
        .collect()
}

/// What must be the same of a step.
fn shape(step: &Value, again: bool) -> Map<String, Value> {
    let mut shape = step.as_object().cloned().unwrap_or_default();
    for log in shape["logs"].as_array_mut().into_iter().flatten() {
        // Headers have times in them, and count in it.
        log["length"] = Value::Null;
    }
    if let Some(logs) = shape["logs"].as_array_mut() {
        logs.sort_by_key(|log| log["name"].to_string());
    }
    shape.retain(|member, _| {
        let is_time = ["started", "ended"].contains(&member.as_str());
        // The number of the child's buildset.
        let is_number = again && step["name"] == "trigger" && member == "summary";
        !is_time && !is_number
    });
    shape
}

fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}
