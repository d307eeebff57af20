//! `demo`: a master and two workers, as processes of their own, build a git repository; while a build
//! runs, the policy that picks its worker is replaced. What is shown is read back from the master.

mod family;
mod project;
mod story;

use std::path::{Path, PathBuf};

use anstream::println;
use anyhow::Context as _;

use crate::args::Demo;
use crate::exit::{Exit, Failed};
use crate::output::{BAD, FAINT, GOOD, HEADING, paint};

use family::Family;
use project::Project;

/// `windlass demo`.
pub async fn demo(options: &Demo) -> Result<Exit, Failed> {
    let project = Project::find(options.repo.as_deref())?;
    let folder =
        tempfile::Builder::new().prefix("windlass-demo-").tempdir().context("failed to make a directory")?;
    let dir: PathBuf = folder.path().to_owned();
    heading(&format!("building {} at {}", project.repository, project.revision));
    note(&format!("everything happens in {}", dir.display()));
    let mut family = Family::start(&dir, &project).await?;
    let told = tokio::select! {
        told = story::tell(&family, &project) => told,
        // The guard of the processes stops them on the way out.
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted").into()),
    };
    let verdict = match told {
        Ok(checks) => {
            for check in &checks {
                let (style, sign) = if check.held { (GOOD, "yes") } else { (BAD, "NO ") };
                println!("{} {}", paint(style, sign), check.what);
            }
            if checks.iter().all(|c| c.held) { Ok(Exit::Success) } else { Ok(Exit::Unsuccessful) }
        }
        Err(failed) => {
            family.show_logs();
            Err(failed)
        }
    };
    if options.stay {
        let kept = folder.keep();
        family.leave_running(&kept);
    } else {
        family.stop()?;
    }
    verdict
}

/// Something that the demo promised to show.
#[derive(Debug)]
pub struct Check {
    what: String,
    held: bool,
}

fn heading(text: &str) {
    println!("\n{}", paint(HEADING, text));
}

fn note(text: &str) {
    println!("{}", paint(FAINT, text));
}

/// Writes `bytes` to `path` so that a reader sees the old file or the new one.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failed> {
    let unfinished = path.with_extension("new");
    std::fs::write(&unfinished, bytes)
        .and_then(|()| std::fs::rename(&unfinished, path))
        .with_context(|| format!("failed to write `{}`", path.display()))?;
    Ok(())
}
