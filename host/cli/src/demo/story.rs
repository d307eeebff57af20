//! What the demo does and what it checks, in the order in which it is told.

use anstream::{print, println};
use anstyle::Style;
use windlass_core::digest::Digest;
use windlass_master::view::{self, Event};

use super::family::{Family, PLACEMENT};
use super::{Check, Project, heading, replace};
use crate::exit::Failed;
use crate::order::print_reconfigured;
use crate::output::{FAINT, Table, outcome_style, outcome_word};
use crate::progress::{Progress, content};
use crate::query::took;

/// Builds everything, replaces the policy while a build runs, builds again, and checks what came of it.
pub async fn tell(family: &Family, project: &Project) -> Result<Vec<Check>, Failed> {
    let client = &family.client;
    let old = Digest::of(windlass_plugins::placement().0);
    let new = Digest::of(windlass_plugins::placement().1);

    heading("two builders, each with `git` and one command, on two workers");
    let mut progress = Progress::listen(client, false).await?;
    let mut buildsets = Vec::new();
    for builder in &project.builders {
        buildsets.push(force(family, project, builder.name, &mut progress).await?);
    }

    // The last builder is the long one; its step is under way when the policy is replaced.
    let long = project.builders.last().expect("there are two builders").name;
    let running = loop {
        if let Event::StepStarted { build, .. } = progress.next().await?
            && progress.builds().get(&build).is_some_and(|b| b.builder == long)
        {
            break build;
        }
    };
    heading(&format!(
        "while build {running} runs, plugins/{PLACEMENT}.wasm is replaced, and `windlass reconfig`:"
    ));
    replace(&family.placement(), windlass_plugins::placement().1)?;
    let done: view::Reconfigured = client.post("/api/v1/reconfig", &serde_json::json!({})).await?;
    print_reconfigured(&done);
    let during: view::BuildDetail = client.get(&format!("/api/v1/builds/{running}")).await?;

    let mut outcomes = Vec::new();
    for buildset in buildsets {
        outcomes.push(progress.until_done(client, buildset).await?.outcome);
    }

    heading("the next build");
    let next = force(family, project, project.builders[0].name, &mut progress).await?;
    outcomes.push(progress.until_done(client, next).await?.outcome);

    let mut details = Vec::new();
    for build in progress.builds().keys() {
        details.push(client.get::<view::BuildDetail>(&format!("/api/v1/builds/{build}")).await?);
    }
    heading("what was built, and by which placement policy");
    print!("{}", summary(&details, old, new));
    println!();

    let kept = details.iter().find(|d| d.build.id == running);
    let last = details.last();
    let check = |held, what: String| Check { what, held };
    Ok(vec![
        check(outcomes.iter().all(|o| content(*o)), format!("all {} builds succeeded", details.len())),
        check(
            details.iter().all(|d| d.build.revision.as_deref() == Some(&project.revision)),
            format!("each built exactly {}", project.revision),
        ),
        check(during.build.ended.is_none(), format!("build {running} was running during the reconfig")),
        check(
            kept.and_then(placement_of) == Some(old),
            format!("build {running} kept the policy it started with, {}", old.short()),
        ),
        check(
            last.and_then(placement_of) == Some(new),
            format!("the next build was placed by the new policy, {}", new.short()),
        ),
    ])
}

async fn force(
    family: &Family,
    project: &Project,
    builder: &str,
    progress: &mut Progress,
) -> Result<u64, Failed> {
    let order = view::Force {
        builder: builder.to_owned(),
        repository: Some(project.repository.clone()),
        revision: Some(project.revision.clone()),
        reason: Some("the demo".to_owned()),
        ..view::Force::default()
    };
    let forced: view::Forced = family.client.post("/api/v1/force", &order).await?;
    progress.only(&forced.requests);
    Ok(forced.buildset)
}

/// The component that picked the worker of a build.
fn placement_of(detail: &view::BuildDetail) -> Option<Digest> {
    detail.components.iter().find(|c| c.kind == "next-slave").map(|c| c.digest)
}

fn summary(details: &[view::BuildDetail], old: Digest, new: Digest) -> Table {
    let mut table = Table::new(&["build", "builder", "worker", "outcome", "took", "steps", "placed by"]);
    for detail in details {
        let build = &detail.build;
        let steps: Vec<String> =
            detail.steps.iter().map(|s| format!("{} {}", s.name, outcome_word(s.outcome))).collect();
        let placed = match placement_of(detail) {
            Some(digest) if digest == old => format!("{} (old)", digest.short()),
            Some(digest) if digest == new => format!("{} (new)", digest.short()),
            Some(digest) => digest.short(),
            None => "the default rule".to_owned(),
        };
        table.row(vec![
            (Style::new(), build.id.to_string()),
            (Style::new(), build.builder.clone()),
            (Style::new(), build.worker.clone()),
            (outcome_style(build.outcome), outcome_word(build.outcome).to_owned()),
            (FAINT, took(build)),
            (FAINT, steps.join(", ")),
            (Style::new(), placed),
        ]);
    }
    table
}
