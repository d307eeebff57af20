//! Runs of a build under faults: processes are killed and links misbehave as a plan says, and all is started again,
//! until what was ordered has ended. What is seen then can be compared with an undisturbed run (`sweep`).

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::relay::{Relay, Trouble};
use crate::site::{PATIENCE, Site, eventually};

/// Numbers that look random and follow from a seed.
pub struct Chance(u64);

impl Chance {
    /// From the seed that `WINDLASS_SEED` names, or from the clock. Says which, so that a run can be had again.
    #[must_use]
    pub fn new() -> Chance {
        let named = std::env::var("WINDLASS_SEED").ok();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let seed =
            named.map_or(u64::from(now.subsec_nanos()), |seed| seed.parse().expect("a number as the seed"));
        eprintln!("the same again: WINDLASS_SEED={seed}");
        Chance(seed)
    }

    /// A number below `end`: splitmix64.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

impl Default for Chance {
    fn default() -> Chance {
        Chance::new()
    }
}

/// What goes wrong in a run.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// `WINDLASS_FAULT` of the master's first start (it is killed, its disk is full, its clock is set), of the next, and so
    /// on; none after that.
    pub master: Vec<String>,
    /// The worker that is watched is killed, holder and agent at once, each time that its link has carried so many bytes.
    pub worker: Vec<u64>,
    /// Its agent alone, whose holder starts another one.
    pub agent: Vec<u64>,
    /// Its holder alone; its agent finds out, and a new worker is started at once.
    pub holder: Vec<u64>,
    /// What befalls that link after so many bytes.
    pub link: Vec<(u64, Trouble)>,
}

impl Plan {
    /// How often something of the worker is to be killed.
    fn kills(&self) -> usize {
        self.worker.len() + self.agent.len() + self.holder.len()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.master.iter().map(|fault| format!("master {fault}")).collect();
        for (what, places) in [("worker", &self.worker), ("agent", &self.agent), ("holder", &self.holder)] {
            parts.extend(places.iter().map(|bytes| format!("{what} killed after {bytes} bytes")));
        }
        parts
            .extend(self.link.iter().map(|(bytes, trouble)| format!("link {trouble:?} after {bytes} bytes")));
        f.write_str(&if parts.is_empty() { "undisturbed".to_owned() } else { parts.join(", ") })
    }
}

/// What is ordered, and where.
pub struct Story<'a> {
    /// The site; nothing of it runs yet.
    pub site: Site,
    /// The builder that is told to build, once.
    pub builder: &'a str,
    /// The worker whose link is watched.
    pub watched: &'a str,
}

/// The output in the logs of a build, headers left out: by `STEP/LOG`.
pub type Output = BTreeMap<String, Vec<u8>>;

/// What was seen once all had ended.
pub struct Run {
    /// Where it was; everything has ended.
    pub site: Site,
    /// How the buildset that was ordered ended.
    pub outcome: String,
    /// All requests there ever were, oldest first.
    pub requests: Vec<Value>,
    /// All builds with their details, oldest first.
    pub builds: Vec<Value>,
    /// The output in the logs of each build.
    pub output: Vec<Output>,
    /// Name, size and digest of the artifacts of each build.
    pub artifacts: Vec<Vec<String>>,
    /// What the store has to say against itself.
    pub flaws: Vec<String>,
    /// How often a process was killed.
    pub deaths: usize,
    /// Commits of the last master.
    pub commits: u64,
    /// Those of them with entries of journals.
    pub journals: u64,
    /// Bytes that the watched link carried.
    pub carried: u64,
    /// How long it took.
    pub took: Duration,
}

/// Plays a story under a plan, to its end.
///
/// # Panics
/// If it does not come to one within [`PATIENCE`], and as much again for each fault.
#[must_use]
pub fn play(story: Story<'_>, plan: &Plan) -> Run {
    let began = Instant::now();
    let Story { mut site, builder, watched } = story;
    let relay = Relay::to(site.listen());
    relay.befall(plan.link.clone());
    site.write_worker(watched, &relay.address());
    let mut faults = plan.master.iter().map(String::as_str);
    let [mut workers, mut agents, mut holders] =
        [&plan.worker, &plan.agent, &plan.holder].map(|places| places.iter().peekable());
    let mut deaths = 0;
    site.start_master_with(faults.next());
    for worker in site.workers() {
        site.start_worker(&worker);
    }
    let patience = PATIENCE * u32::try_from(1 + plan.master.len() + plan.kills() + plan.link.len()).unwrap();
    // What the worker said before it was killed last.
    let mut said = 0;
    let outcome = loop {
        if site.has_ended("master") {
            deaths += 1;
            site.start_master_with(faults.next());
        }
        let is_due = |bytes: &&u64| relay.carried() >= **bytes;
        if workers.next_if(is_due).is_some() {
            said = site.said(watched).len();
            site.end(watched, false);
            site.start_worker(watched);
            deaths += 1;
        }
        if agents.next_if(is_due).is_some() {
            said = site.said(watched).len();
            site.kill_agent(watched);
            deaths += 1;
        }
        if holders.next_if(is_due).is_some() {
            said = site.said(watched).len();
            site.kill_holder(watched);
            site.start_worker(watched);
            deaths += 1;
        }
        if let Ok(Some(outcome)) = look(&site, builder) {
            break outcome;
        }
        assert!(began.elapsed() < patience, "{plan}: no end in sight\n{}", site.said("master"));
        std::thread::park_timeout(Duration::from_millis(20));
    };
    let carried = relay.carried();
    let Seen { requests, builds, output, artifacts, commits, journals } =
        eventually("the master tells all of it", || {
            let seen = see(&site).ok();
            // A fault may still have been ahead of it.
            if seen.is_none() && site.has_ended("master") {
                deaths += 1;
                site.start_master_with(faults.next());
            }
            seen
        });
    // One that has only just been started would not end well.
    eventually("the worker has come back", || {
        site.said(watched).get(said..)?.contains("connected").then_some(())
    });
    for name in site.workers() {
        site.end(&name, true);
    }
    // Whatever fault it still waits for: it may be met on the way out.
    site.end("master", false);
    let store = windlass_store::Store::open(&site.path("state"), windlass_store::Options::default()).unwrap();
    let flaws = store.verify().unwrap();
    store.close();
    Run {
        site,
        outcome,
        requests,
        builds,
        output,
        artifacts,
        flaws,
        deaths,
        commits,
        journals,
        carried,
        took: began.elapsed(),
    }
}

type Asked<T> = Result<T, windlass_web::client::ClientError>;

/// Orders the build if nobody has; how it ended, if all has.
fn look(site: &Site, builder: &str) -> Asked<Option<String>> {
    let requests = site.try_get(&format!("/api/v1/requests?state=all&builder={builder}"))?;
    let Some(request) = requests["requests"].as_array().and_then(|all| all.first()) else {
        // If the master dies before it answers, the next look tells whether there was an order.
        site.try_post("/api/v1/force", &json!({ "builder": builder }))?;
        return Ok(None);
    };
    let buildset = site.try_get(&format!("/api/v1/buildsets/{}", request["buildset"]))?;
    let status = site.try_get("/api/v1/status")?;
    let idle = status["pending"] == 0 && status["running"].as_array().is_some_and(Vec::is_empty);
    Ok(buildset["outcome"].as_str().filter(|_| idle).map(str::to_owned))
}

/// What a master tells of a [`Run`].
struct Seen {
    requests: Vec<Value>,
    builds: Vec<Value>,
    output: Vec<Output>,
    artifacts: Vec<Vec<String>>,
    commits: u64,
    journals: u64,
}

fn see(site: &Site) -> Asked<Seen> {
    let all = |list: &Value| list.as_array().unwrap().iter().rev().cloned().collect::<Vec<Value>>();
    let mut builds = all(&site.try_get("/api/v1/builds?limit=1000")?);
    for build in &mut builds {
        *build = site.try_get(&format!("/api/v1/builds/{}", build["id"]))?;
    }
    let output = builds.iter().map(|build| output(site, build)).collect::<Asked<_>>()?;
    let artifacts = builds.iter().map(|build| artifacts(site, build)).collect::<Asked<_>>()?;
    let requests = all(&site.try_get("/api/v1/requests?state=all&limit=1000")?["requests"]);
    let counters = site.try_get("/api/v1/status")?["store"].clone();
    let [commits, journals] = ["commits", "journals"].map(|name| counters[name].as_u64().unwrap());
    Ok(Seen { requests, builds, output, artifacts, commits, journals })
}

fn artifacts(site: &Site, build: &Value) -> Asked<Vec<String>> {
    let listed = site.try_get(&format!("/api/v1/builds/{}/artifacts", build["id"]))?;
    let all = listed.as_array().unwrap().iter();
    Ok(all
        .map(|artifact| format!("{} {} {}", artifact["name"], artifact["size"], artifact["hash"]))
        .collect())
}

fn output(site: &Site, build: &Value) -> Asked<Output> {
    let mut seen = Output::new();
    for step in build["steps"].as_array().unwrap() {
        for log in step["logs"].as_array().unwrap() {
            let (step, log) = (step["name"].as_str().unwrap(), log["name"].as_str().unwrap());
            seen.insert(format!("{step}/{log}"), read(site, &build["id"], step, log)?);
        }
    }
    Ok(seen)
}

fn read(site: &Site, build: &Value, step: &str, log: &str) -> Asked<Vec<u8>> {
    let (mut bytes, mut offset) = (Vec::new(), 0);
    loop {
        let part =
            site.try_get(&format!("/api/v1/builds/{build}/steps/{step}/logs/{log}?offset={offset}"))?;
        for piece in part["pieces"].as_array().unwrap() {
            if piece["origin"] != "header" {
                bytes.extend_from_slice(piece["data"].as_str().expect("these builds write text").as_bytes());
            }
        }
        let next = part["next"].as_u64().unwrap();
        if next == offset {
            return Ok(bytes);
        }
        offset = next;
    }
}
