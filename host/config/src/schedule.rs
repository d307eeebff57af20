//! What makes builds: git pollers and schedulers.

use windlass_core::properties::Properties;

use crate::builder::read_properties;
use crate::config::{ChangeFilter, GitPoller, Scheduler, SchedulerKind};
use crate::diagnostic::Report;
use crate::names::Names;
use crate::node::Tree;
use crate::section::{Field, Section, canonical};

/// Reads one of `[[git_pollers]]`.
pub(crate) fn read_poller(mut section: Section<'_>, names: &mut Names, report: &mut Report) -> GitPoller {
    let repository = section.need(&["repository", "repourl", "repo_url"], report);
    let name = section.take(&["name"], report).or(repository);
    let branches = section.take(&["branches", "branch"], report);
    let interval = section.take(&["poll_interval"], report);
    let project = section.take(&["project"], report);
    let category = section.take(&["category"], report);
    let build_existing = section.take(&["build_existing"], report);
    section.finish(report);
    if let Some(name) = name.and_then(|f| Some((f.name(report)?, f))) {
        names.give(name.0, &name.1.node.span, report);
    }
    GitPoller {
        name: name.and_then(|f| f.node.as_text()).unwrap_or_default().to_owned(),
        repository: repository.and_then(|f| f.name(report)).unwrap_or_default().to_owned(),
        branches: branches.map(|f| f.strings(report)).unwrap_or_default(),
        poll_interval_ms: interval.and_then(|f| read_interval(f, report)).unwrap_or(60_000),
        project: project.and_then(|f| f.text(report)).unwrap_or_default().to_owned(),
        category: category.and_then(|f| f.text(report)).map(str::to_owned),
        build_existing: build_existing.and_then(|f| f.boolean(report)).unwrap_or(false),
    }
}

/// A time between two looks at something: at least 100 ms, so that nobody asks for a busy loop.
pub(crate) fn read_interval(field: Field<'_>, report: &mut Report) -> Option<u64> {
    match field.duration_ms(report)? {
        ms if ms < 100 => field.refuse("is too short: the least is \"100ms\"", "", report),
        ms => Some(ms),
    }
}

/// Reads one of `[[schedulers]]`.
pub(crate) fn read_scheduler(
    mut section: Section<'_>,
    names: &mut Names,
    builders: &mut Names,
    report: &mut Report,
) -> Scheduler {
    let name_field = section.need(&["name"], report);
    let name = name_field.and_then(|f| f.name(report)).unwrap_or_default().to_owned();
    if let (Some(field), false) = (name_field, name.is_empty()) {
        names.give(&name, &field.node.span, report);
    }
    let kind = section.need(&["type"], report);
    let asked = section.need(&["builders", "builder_names"], report);
    let priority = section.take(&["priority"], report);
    let properties = section.take(&["properties"], report);
    let kind = kind.and_then(|field| read_kind(field, &mut section, report));
    // Without a type it is unknown what belongs here.
    if kind.is_some() {
        section.finish(report);
    }

    let mut asks = Vec::new();
    for (builder, span) in asked.map(|f| f.texts(report)).unwrap_or_default() {
        builders.mean(builder, span, report);
        asks.push(builder.to_owned());
    }
    if let Some(field) = asked.filter(|f| matches!(&f.node.value, Tree::List(items) if items.is_empty())) {
        field.refuse::<()>("is empty: this scheduler would do nothing", "name at least one builder", report);
    }
    let priority = priority.and_then(|f| f.integer(i32::MIN.into(), i32::MAX.into(), report)).unwrap_or(0);
    Scheduler {
        name,
        builders: asks,
        priority: i32::try_from(priority).expect("its range was checked"),
        properties: properties.map_or_else(Properties::default, |f| read_properties(f, "Scheduler", report)),
        kind: kind.unwrap_or(SchedulerKind::Force),
    }
}

fn read_kind(field: Field<'_>, section: &mut Section<'_>, report: &mut Report) -> Option<SchedulerKind> {
    match canonical(field.text(report)?).as_str() {
        "single_branch" | "single_branch_scheduler" => {
            let filter = section.take(&["change_filter"], report);
            let timer = section.take(&["tree_stable_timer"], report);
            Some(SchedulerKind::SingleBranch {
                filter: filter.and_then(|f| read_filter(f, report)).unwrap_or_default(),
                tree_stable_ms: timer.and_then(|f| f.duration_ms(report)).unwrap_or(0),
            })
        }
        "force" | "force_scheduler" => Some(SchedulerKind::Force),
        other => {
            report.error("bad-value", &field.node.span, "there is no such type of scheduler").near(
                other,
                ["single-branch", "force"],
                "",
            );
            None
        }
    }
}

fn read_filter(field: Field<'_>, report: &mut Report) -> Option<ChangeFilter> {
    let mut section = field.section("a change filter", report)?;
    let mut list = |names, report: &mut Report| {
        section.take(names, report).map(|f| f.strings(report)).unwrap_or_default()
    };
    let filter = ChangeFilter {
        branches: list(&["branch", "branches"], report),
        repositories: list(&["repository", "repositories"], report),
        projects: list(&["project", "projects"], report),
        categories: list(&["category", "categories"], report),
        codebases: list(&["codebase", "codebases"], report),
    };
    section.finish(report);
    Some(filter)
}
