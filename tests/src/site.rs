//! A master and workers as real processes in a directory of their own: what the whole-system tests
//! are written against. Everything is killed when the site is dropped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use windlass_web::client::{Client, ClientError};

use crate::compiled;

/// How long anything may take before a test gives up. Long, since it costs failures only: where nothing is compiled yet,
/// a worker compiles a component before its first command, and gives way to all others while it does.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// A directory with a configuration, and the processes that run in it.
pub struct Site {
    dir: tempfile::TempDir,
    /// What `master.toml` says after the workers.
    builders: String,
    /// And before them.
    settings: String,
    /// Name, token hash, slots.
    workers: Vec<(String, String, u32)>,
    processes: Vec<(String, Child)>,
    /// Agents whose holders were killed.
    left: Vec<u32>,
    listen: String,
    /// What its processes find in their environment, beside what the test has.
    env: Vec<(String, PathBuf)>,
    /// Whether policies have a minute.
    is_patient: bool,
}

impl Site {
    /// A site with workers of these names, two slots each, and these builders (TOML).
    #[must_use]
    pub fn new(workers: &[&str], builders: &str) -> Site {
        let dir = tempfile::Builder::new().prefix("windlass-it-").tempdir().expect("a temporary directory");
        let listen = format!("127.0.0.1:{}", free_port());
        let mut site = Site {
            dir,
            builders: String::new(),
            settings: String::new(),
            workers: Vec::new(),
            processes: Vec::new(),
            left: Vec::new(),
            listen,
            env: Vec::new(),
            is_patient: false,
        };
        std::fs::create_dir(site.path("plugins")).expect("a fresh directory");
        for worker in workers {
            site.add_worker(worker);
        }
        site.configure(builders);
        site
    }

    /// A site with one builder `b` on workers `w1` and `w2`, which runs `command` under `/bin/sh`.
    #[must_use]
    pub fn with_command(command: &str) -> Site {
        Site::new(&["w1", "w2"], &Site::builder("b", command, ""))
    }

    /// TOML of a builder on `w1` and `w2` with one `shell-command`, and `more` keys of its own.
    #[must_use]
    pub fn builder(name: &str, command: &str, more: &str) -> String {
        let command = Value::from(command);
        format!(
            "[[builders]]\nname = \"{name}\"\nworkers = [\"w1\", \"w2\"]\nmerge_requests = false\n{more}\n\
             [[builders.steps]]\nuse = \"shell-command\"\nargs = {{ command = {command} }}\n"
        )
    }

    /// A path below the site.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces everything in `master.toml` after the workers.
    pub fn configure(&mut self, builders: &str) {
        self.builders = builders.to_owned();
        self.write_config();
    }

    /// Replaces what stands in `master.toml` before its first section.
    pub fn settings(&mut self, settings: &str) {
        self.settings = settings.to_owned();
        self.write_config();
    }

    fn write_config(&self) {
        let mut text = format!("{}[master]\nlisten = \"{}\"\n", self.settings, self.listen);
        for (name, hash, slots) in &self.workers {
            text +=
                &format!("[[workers]]\nname = \"{name}\"\ntoken_hash = \"{hash}\"\nmax_builds = {slots}\n");
        }
        text += &self.builders;
        // In one move: a master that starts just now reads the old one or the new one.
        let unfinished = self.path(".master.toml.new");
        std::fs::write(&unfinished, text).expect("the directory is ours");
        std::fs::rename(unfinished, self.path("master.toml")).expect("same directory");
    }

    /// Makes the directory, the token and `worker.toml` of another worker.
    pub fn add_worker(&mut self, name: &str) {
        std::fs::create_dir(self.path(name)).expect("a fresh name");
        let said =
            self.ok(&["token", self.path(&format!("{name}/token")).to_str().expect("UTF-8"), "--json"]);
        let hash = said["token_hash"].as_str().expect("a hash").to_owned();
        self.workers.push((name.to_owned(), hash, 2));
        self.write_worker(name, &self.listen.clone());
        self.write_config();
    }

    /// Makes another token for a worker, whose hash stands in `master.toml` from now on. It lies beside the old one, as
    /// `token.new`.
    pub fn renew_token(&mut self, name: &str) {
        let path = self.path(&format!("{name}/token.new"));
        let said = self.ok(&["token", path.to_str().expect("UTF-8"), "--json"]);
        let hash = said["token_hash"].as_str().expect("a hash").to_owned();
        let worker = self.workers.iter_mut().find(|worker| worker.0 == name).expect("a worker of this site");
        worker.1 = hash;
        self.write_config();
    }

    /// Writes a `worker.toml` that leads to `address`, with the sections that it has.
    pub fn write_worker(&self, name: &str, address: &str) {
        let path = self.path(&format!("{name}/worker.toml"));
        let was = std::fs::read_to_string(&path).unwrap_or_default();
        let sections = was.find("\n[").map_or("", |at| &was[at..]);
        let text = format!(
            "name = \"{name}\"\nmaster = \"ws://{address}\"\ntoken_file = \"token\"\nbase_dir = \".\"\n\
             inherit_env = [\"PATH\", \"HOME\"]\n{sections}"
        );
        std::fs::write(path, text).expect("the directory is ours");
    }

    /// The names of the workers.
    #[must_use]
    pub fn workers(&self) -> Vec<String> {
        self.workers.iter().map(|(name, ..)| name.clone()).collect()
    }

    /// Gives every worker so many slots.
    pub fn slots(&mut self, slots: u32) {
        for (_, _, max_builds) in &mut self.workers {
            *max_builds = slots;
        }
        self.write_config();
    }

    /// Has a worker allow what the master grants, whatever it is.
    pub fn allow_everything(&self, worker: &str) {
        let path = self.path(&format!("{worker}/worker.toml"));
        let text = text(&path) + "[allow.\"*\"]\nexec = [\"*\"]\nfiles = [\"*\"]\n";
        std::fs::write(path, text).expect("the directory is ours");
    }

    /// Gives processes that start from now on a variable that names a file.
    pub fn env(&mut self, name: &str, file: &Path) {
        self.env.push((name.to_owned(), file.to_owned()));
    }

    /// Gives policies a minute for each decision, for a test in which none may fail: what they usually have is little for
    /// the first decision of an interpreter on a busy machine.
    pub fn patient_with_policies(&mut self) {
        self.is_patient = true;
    }

    /// Where workers connect.
    #[must_use]
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// Puts a component into the plugins folder, in one move.
    pub fn plugin(&self, name: &str, bytes: &[u8]) {
        let unfinished = self.path(&format!("plugins/.{name}.new"));
        std::fs::write(&unfinished, bytes).expect("the directory is ours");
        std::fs::rename(unfinished, self.path(&format!("plugins/{name}.wasm"))).expect("same directory");
    }

    /// Starts the master and every worker, and waits until all are connected.
    #[must_use]
    pub fn start(mut self) -> Site {
        self.start_master();
        for name in self.workers() {
            self.start_worker(&name);
        }
        self.until_connected();
        self
    }

    /// Waits until all workers are connected.
    pub fn until_connected(&self) {
        self.until("all workers are connected", are_connected);
    }

    /// Starts the master, and waits until it answers.
    pub fn start_master(&mut self) {
        self.start_master_with(None);
        eventually("the master answers", || {
            assert!(!self.has_ended("master"), "the master ended at its start:\n{}", self.said("master"));
            self.status()
        });
    }

    /// Starts the master, which does this to itself (`WINDLASS_FAULT`), and does not wait.
    pub fn start_master_with(&mut self, fault: Option<&str>) {
        let dir = self.dir.path().to_owned();
        let faults: Vec<&str> =
            self.is_patient.then_some("policies:60000").into_iter().chain(fault).collect();
        let env = [("WINDLASS_FAULT", &*faults.join(","))];
        self.spawn_with("master", &["master", dir.to_str().expect("UTF-8")], &env);
    }

    /// Starts the worker of this name; does not wait.
    pub fn start_worker(&mut self, name: &str) {
        let dir = self.path(name);
        self.spawn(name, &["worker", dir.to_str().expect("UTF-8")]);
    }

    /// Starts the worker of this name from another file than the program under test; does not wait.
    pub fn start_worker_from(&mut self, name: &str, file: &Path) {
        let dir = self.path(name);
        self.spawn_from(file, name, &["worker", dir.to_str().expect("UTF-8")], &[]);
    }

    /// Starts a process under a name; what it says goes to `NAME.log`.
    pub fn spawn(&mut self, name: &str, args: &[&str]) {
        self.spawn_with(name, args, &[]);
    }

    fn spawn_with(&mut self, name: &str, args: &[&str], env: &[(&str, &str)]) {
        self.spawn_from(crate::binary::windlass(), name, args, env);
    }

    fn spawn_from(&mut self, file: &Path, name: &str, args: &[&str], env: &[(&str, &str)]) {
        for home in self.homes() {
            compiled::lend(&home);
        }
        let log =
            File::options().create(true).append(true).open(self.path(&format!("{name}.log"))).expect("a log");
        let child = Command::new(file)
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .env("NO_COLOR", "1")
            .envs(self.env.iter().map(|(name, file)| (name, file)))
            .envs(env.iter().copied())
            .spawn()
            .expect("the program starts");
        self.processes.push((name.to_owned(), child));
    }

    /// What a process has said so far.
    #[must_use]
    pub fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// Ends a process: politely (SIGTERM, waited for), or with SIGKILL, a worker's agent along with it.
    pub fn end(&mut self, name: &str, politely: bool) {
        let place = self.processes.iter().position(|(n, _)| n == name).expect("it was started");
        let (_, mut child) = self.processes.remove(place);
        if politely {
            signal(&child, rustix::process::Signal::TERM);
        } else {
            kill_whole(&mut child);
        }
        let ended = eventually(&format!("{name} has ended"), || child.try_wait().expect("ours to wait for"));
        assert!(!politely || ended.success(), "{name} ended badly: {ended}\n{}", self.said(name));
    }

    /// Waits until a process ends by itself, and answers its exit code.
    pub fn ended(&mut self, name: &str) -> i32 {
        let place = self.processes.iter().position(|(n, _)| n == name).expect("it was started");
        let (_, mut child) = self.processes.remove(place);
        let ended = eventually(&format!("{name} ends"), || child.try_wait().expect("ours to wait for"));
        ended.code().expect("no signal")
    }

    /// Forgets a process that has ended by itself; false: it runs.
    pub fn has_ended(&mut self, name: &str) -> bool {
        let place = self.processes.iter().position(|(n, _)| n == name).expect("it was started");
        let ended = self.processes[place].1.try_wait().expect("ours to wait for").is_some();
        if ended {
            self.processes.remove(place);
        }
        ended
    }

    /// Kills a process if it runs still.
    pub fn end_whatever(&mut self, name: &str) {
        if self.processes.iter().any(|(n, _)| n == name) {
            self.end(name, false);
        }
    }

    /// The number of a worker's agent; none: it is just being started again.
    #[must_use]
    pub fn agent(&self, worker: &str) -> Option<u32> {
        agent_of(self.pid(worker))
    }

    /// Kills a worker's agent, and its holder starts another one.
    pub fn kill_agent(&self, worker: &str) {
        let agent = eventually("there is an agent", || self.agent(worker));
        kill(agent, rustix::process::Signal::KILL);
    }

    /// Kills a worker's holder; its agent finds out.
    pub fn kill_holder(&mut self, worker: &str) {
        let place = self.processes.iter().position(|(n, _)| n == worker).expect("it was started");
        let (_, mut child) = self.processes.remove(place);
        self.left.extend(agent_of(child.id()));
        child.kill().expect("it runs");
        child.wait().expect("ours to wait for");
    }

    /// The number of a process.
    #[must_use]
    pub fn pid(&self, name: &str) -> u32 {
        self.processes.iter().find(|(n, _)| n == name).expect("it was started").1.id()
    }

    /// Sends a signal to a process.
    pub fn signal(&self, name: &str, signal_: rustix::process::Signal) {
        signal(&self.processes.iter().find(|(n, _)| n == name).expect("it was started").1, signal_);
    }

    /// Runs `windlass` in this site.
    pub fn windlass(&self, args: &[&str]) -> Output {
        Command::new(crate::binary::windlass())
            .arg("--dir")
            .arg(self.dir.path())
            .args(args)
            .env("NO_COLOR", "1")
            .output()
            .expect("the program starts")
    }

    /// Runs `windlass` in this site; it must succeed and print JSON.
    pub fn ok(&self, args: &[&str]) -> Value {
        let output = self.windlass(args);
        assert!(
            output.status.success(),
            "windlass {args:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            self.said("master")
        );
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("windlass {args:?}: {e}\n{}", String::from_utf8_lossy(&output.stdout)))
    }

    /// Waits until the status is as wanted, and answers it.
    pub fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || self.status().filter(|status| wanted(status)))
    }

    /// The status; none: no master answers.
    fn status(&self) -> Option<Value> {
        let output = self.windlass(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success())
    }

    /// Submits a build and waits for its end: the build's details.
    pub fn build(&self, builder: &str) -> Value {
        let buildset = self.submit(builder);
        self.outcome(buildset);
        self.newest(builder)
    }

    /// Submits a build: the buildset.
    pub fn submit(&self, builder: &str) -> u64 {
        self.ok(&["force", builder, "--json"])["buildset"].as_u64().expect("a number")
    }

    /// Waits until a buildset is complete: its outcome.
    pub fn outcome(&self, buildset: u64) -> String {
        let path = format!("/api/v1/buildsets/{buildset}");
        eventually(&format!("buildset {buildset} is complete"), || {
            Some(self.get(&path)["outcome"].as_str()?.to_owned())
        })
    }

    /// The newest build of a builder, with all its details.
    pub fn newest(&self, builder: &str) -> Value {
        let builds = self.ok(&["builds", "--builder", builder, "-n", "1", "--json"]);
        let id = builds[0]["id"].as_u64().unwrap_or_else(|| panic!("no build of {builder}"));
        self.ok(&["build", &id.to_string(), "--json"])
    }

    /// Waits until a build of `builder` runs, and answers its number.
    pub fn running(&self, builder: &str) -> u64 {
        let status = self.until(&format!("a build of {builder} runs"), |s| running(s, builder).is_some());
        running(&status, builder).expect("just seen")
    }

    /// Asks the API.
    pub fn get(&self, path: &str) -> Value {
        self.try_get(path).unwrap_or_else(|e| panic!("{path}: {e}\n{}", self.said("master")))
    }

    /// Asks the API of a master that may be gone.
    pub fn try_get(&self, path: &str) -> Result<Value, ClientError> {
        self.call(async |client| client.get(path).await)
    }

    /// Tells the API something, and the master may be gone.
    pub fn try_post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.call(async |client| client.post(path, body).await)
    }

    fn call<T>(&self, call: impl AsyncFnOnce(&Client) -> T) -> T {
        let client = Client::new(windlass_web::socket_in(&self.path("state")));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(call(&client))
    }

    /// Lets other sites have what this one has compiled so far; what it has at its end they get in any case.
    pub fn keep_compiled(&self) {
        for home in self.homes() {
            compiled::keep(&home);
        }
    }

    /// Where processes keep what they compile.
    fn homes(&self) -> impl Iterator<Item = PathBuf> {
        std::iter::once("state")
            .chain(self.workers.iter().map(|(name, ..)| name.as_str()))
            .map(|name| self.path(name))
    }
}

/// Whether a status shows all workers connected.
#[must_use]
pub fn are_connected(status: &Value) -> bool {
    status["workers"].as_array().is_some_and(|w| w.iter().all(|w| !w["connected"].is_null()))
}

fn running(status: &Value, builder: &str) -> Option<u64> {
    status["running"].as_array()?.iter().find(|b| b["builder"] == builder)?["id"].as_u64()
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("it runs");
}

/// Kills a process; if it is the holder of a worker, its agent first, so that nothing of it can say anything about that.
fn kill_whole(child: &mut Child) {
    kill(child.id(), rustix::process::Signal::STOP);
    if let Some(agent) = agent_of(child.id()) {
        kill(agent, rustix::process::Signal::KILL);
    }
    child.kill().ok();
}

fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid =
        i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a number of a process");
    // Gone is as well.
    rustix::process::kill_process(pid, signal).ok();
}

/// The agent among the children of a holder.
fn agent_of(holder: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{holder}/task/{holder}/children")).ok()?;
    children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid| is_agent(*pid))
}

fn is_agent(pid: u32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).nth(1) == Some(b"--held")
}

impl Drop for Site {
    fn drop(&mut self) {
        for agent in std::mem::take(&mut self.left) {
            // Those that have not found out yet that their holder is gone.
            if is_agent(agent) {
                kill(agent, rustix::process::Signal::KILL);
            }
        }
        for (name, child) in &mut self.processes {
            kill_whole(child);
            child.wait().ok();
            if std::thread::panicking() {
                let log =
                    std::fs::read_to_string(self.dir.path().join(format!("{name}.log"))).unwrap_or_default();
                eprintln!("== {name}.log\n{log}");
            }
        }
        if !std::thread::panicking() {
            self.keep_compiled();
        }
    }
}

/// Waits for a state, with a bound: asks until there is an answer, or fails with what was waited for.
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, ask)
}

/// The same with a bound of its own.
pub fn within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < patience, "gave up waiting until {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Waits until a process of this machine has ended; one that nobody has buried yet has ended, too.
pub fn until_ended(pid: u32) {
    eventually(&format!("process {pid} has ended"), || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(Some(()), |stat| stat.contains(") Z").then_some(()))
    });
}

/// A port that nobody listens at just now.
#[must_use]
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("it is bound").port()
}

/// Milliseconds since 1970, as masters here have them.
#[must_use]
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).expect("it is not that late")
}

/// The text of a file, for messages.
#[must_use]
pub fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| format!("{}: {e}", path.display()))
}
