//! The processes of the demo: a master and two workers, with their configuration and their ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anstream::println;
use anyhow::Context as _;
use windlass_master::view;
use windlass_web::client::Client;

use super::{note, project::Project, replace};
use crate::exit::Failed;
use crate::init::{make_private, new_token, write_new};
use crate::output::{BAD, HEADING, paint};

/// The component that the demo replaces: `plugins/placement.wasm`.
pub const PLACEMENT: &str = "placement";
/// How long processes may take to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running processes. Dropping it kills those that still run.
pub struct Family {
    dir: PathBuf,
    /// Speaks to the master.
    pub client: Client,
    processes: Vec<(&'static str, Child)>,
}

impl Family {
    /// Writes the configuration, starts everything, and waits until both workers are connected.
    pub async fn start(dir: &Path, project: &Project) -> Result<Family, Failed> {
        make_private(&dir.join("plugins"))?;
        replace(&placement_in(dir), windlass_plugins::placement().0)?;
        let workers = ["w1", "w2"];
        let mut hashes = Vec::new();
        for worker in workers {
            make_private(&dir.join(worker))?;
            hashes.push(new_token(&dir.join(worker).join("token"))?);
        }
        write_new(&dir.join("master.toml"), &master_toml(project, &workers, &hashes), 0o644)?;
        let client = Client::new(windlass_web::socket_in(&dir.join("state")));
        let mut family = Family { dir: dir.to_owned(), client, processes: Vec::new() };
        family.spawn("master", dir)?;
        let status = family.until("the master answers", |_| true).await?;
        for worker in workers {
            let text = format!(
                "name = \"{worker}\"\nmaster = \"ws://{}\"\ntoken_file = \"token\"\nbase_dir = \".\"\n\
                 inherit_env = [\"PATH\", \"HOME\", \"CARGO_HOME\", \"RUSTUP_HOME\", \"LANG\"]\n",
                status.listen
            );
            write_new(&dir.join(worker).join("worker.toml"), &text, 0o644)?;
            family.spawn(worker, &dir.join(worker))?;
        }
        family
            .until("both workers are connected", |s| s.workers.iter().all(|w| w.connected.is_some()))
            .await?;
        note(&format!("a master and two workers run, workers connect to {}", status.listen));
        Ok(family)
    }

    /// The file of the policy that is replaced.
    pub fn placement(&self) -> PathBuf {
        placement_in(&self.dir)
    }

    fn spawn(&mut self, name: &'static str, dir: &Path) -> Result<(), Failed> {
        let role = if name == "master" { "master" } else { "worker" };
        let log = File::create(self.dir.join(format!("{name}.log"))).context("failed to make a log file")?;
        let program = std::env::current_exe().context("failed to find this program")?;
        let child = Command::new(program)
            .args([role.as_ref(), dir.as_os_str()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("failed to share a log file")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("failed to start the {role}"))?;
        self.processes.push((name, child));
        Ok(())
    }

    /// Waits until the master's status is as wanted.
    pub async fn until(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&view::Status) -> bool,
    ) -> Result<view::Status, Failed> {
        let began = Instant::now();
        loop {
            let status = self.client.get::<view::Status>("/api/v1/status").await;
            if let Ok(status) = status
                && wanted(&status)
            {
                return Ok(status);
            }
            for (name, child) in &mut self.processes {
                if let Some(ended) = child.try_wait().context("failed to look after a process")? {
                    let log =
                        std::fs::read_to_string(self.dir.join(format!("{name}.log"))).unwrap_or_default();
                    return Err(
                        anyhow::anyhow!("{name} ended while we waited until {what}: {ended}\n{log}").into()
                    );
                }
            }
            if began.elapsed() > PATIENCE {
                return Err(anyhow::anyhow!("gave up waiting until {what}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Prints the end of what each process said.
    pub fn show_logs(&self) {
        for (name, _) in &self.processes {
            let log = std::fs::read_to_string(self.dir.join(format!("{name}.log"))).unwrap_or_default();
            let from = log.lines().count().saturating_sub(20);
            println!("{}", paint(BAD, format_args!("the end of {name}.log:")));
            for line in log.lines().skip(from) {
                println!("  {}", crate::output::tame(line));
            }
        }
    }

    /// Asks the workers, then the master, to stop, and waits until they have.
    pub fn stop(&mut self) -> Result<(), Failed> {
        for (name, child) in self.processes.iter_mut().rev() {
            terminate(child);
            let began = Instant::now();
            while child.try_wait().context("failed to look after a process")?.is_none() {
                if began.elapsed() > PATIENCE {
                    return Err(anyhow::anyhow!("{name} does not stop").into());
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.processes.clear();
        Ok(())
    }

    /// Lets everything run on, and says how to use and how to end it.
    pub fn leave_running(mut self, dir: &Path) {
        let pids: Vec<String> = self.processes.iter().map(|(_, child)| child.id().to_string()).collect();
        self.processes.clear();
        println!("\nall of it runs on. Try:");
        println!("  {}", paint(HEADING, format_args!("windlass --dir {} status", dir.display())));
        println!("  {}   ends it", paint(HEADING, format_args!("kill {}", pids.join(" "))));
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        for (_, child) in &mut self.processes {
            // Whoever has ended already cannot be signalled; that is as well.
            terminate(child);
            let began = Instant::now();
            while matches!(child.try_wait(), Ok(None)) && began.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(10));
            }
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn terminate(child: &Child) {
    if let Some(pid) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
    }
}

fn placement_in(dir: &Path) -> PathBuf {
    dir.join("plugins").join(format!("{PLACEMENT}.wasm"))
}

fn master_toml(project: &Project, workers: &[&str], hashes: &[String]) -> String {
    let mut text = "title = \"Windlass demo\"\n\n[master]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    for (worker, hash) in workers.iter().zip(hashes) {
        text += &format!("\n[[workers]]\nname = \"{worker}\"\ntoken_hash = \"{hash}\"\nmax_builds = 1\n");
    }
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    for builder in &project.builders {
        let command: Vec<String> = builder.command.iter().map(|word| quote(word)).collect();
        text += &format!(
            "\n[[builders]]\nname = {}\nworkers = [\"w1\", \"w2\"]\nnext_slave = \"{PLACEMENT}:placement\"\n\
             \n[[builders.steps]]\nuse = \"git\"\nargs = {{ repourl = {} }}\n\
             \n[[builders.steps]]\nuse = \"{}\"\nname = {}\nargs = {{ command = [{}] }}\n",
            quote(builder.name),
            quote(&project.repository),
            builder.step,
            quote(builder.command[..2.min(builder.command.len())].join(" ").as_str()),
            command.join(", "),
        );
    }
    let names: Vec<String> = project.builders.iter().map(|b| quote(b.name)).collect();
    text + &format!(
        "\n[[schedulers]]\nname = \"force\"\ntype = \"force\"\nbuilders = [{}]\n",
        names.join(", ")
    )
}
