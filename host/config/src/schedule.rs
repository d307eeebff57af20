//! What makes builds: git pollers and schedulers.

use std::collections::BTreeSet;

use windlass_core::properties::Properties;

use crate::attributes::{CHANGE_FILTER, DEPENDENT, SINGLE_BRANCH};
use crate::builder::read_properties;
use crate::config::{ChangeFilter, GitPoller, Scheduler, SchedulerKind};
use crate::diagnostic::Report;
use crate::names::Names;
use crate::node::Tree;
use crate::section::{Field, Section, canonical};

/// Reads one of `[[git_pollers]]`.
pub(crate) fn read_poller(mut section: Section<'_>, names: &mut Names, report: &mut Report) -> GitPoller {
    let repository = section.take("repository", report);
    let kind = section.take("type", report);
    let name = section.take("name", report).or(repository);
    let branches = section.take("branches", report);
    let interval = section.take("poll_interval", report);
    let project = section.take("project", report);
    let category = section.take("category", report);
    let build_existing = section.take("build_existing", report);
    section.finish(report);
    if let Some((field, text)) = kind.and_then(|f| Some((f, f.text(report)?)))
        && !["git", "git_poller"].contains(&&*canonical(text))
    {
        field.refuse::<()>("is no change source that there is", "there are git pollers: \"git\"", report);
    }
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

/// Reads `[[schedulers]]`.
pub(crate) fn read_schedulers(
    sections: Vec<Section<'_>>,
    builders: &mut Names,
    report: &mut Report,
) -> Vec<Scheduler> {
    let mut names = Names::new("scheduler");
    let mut upstreams = Vec::new();
    let mut schedulers = Vec::with_capacity(sections.len());
    for section in sections {
        schedulers.push(read_scheduler(section, &mut names, builders, &mut upstreams, report));
    }
    for (upstream, _) in &upstreams {
        if let Some(name) = upstream.name(report) {
            names.check(name, &upstream.node.span, report);
        }
    }
    // Each circle is told once, at the first of its members in the file.
    let mut told: Vec<&str> = Vec::new();
    for (upstream, name) in &upstreams {
        let circle = circle(name, &schedulers);
        if circle.is_empty() || told.contains(&name.as_str()) {
            continue;
        }
        report
            .error("circle", &upstream.node.span, "a scheduler would wait for what only follows from itself")
            .label(format!("{} -> {name}", circle.join(" -> ")))
            .help("name one that begins by itself: `single-branch`, `force`, `triggerable`");
        told.extend(circle);
    }
    schedulers
}

/// The dependent schedulers from `name` upstream, if they lead back to it.
fn circle<'a>(name: &str, schedulers: &'a [Scheduler]) -> Vec<&'a str> {
    let mut way = Vec::new();
    let mut next = name;
    while let Some(scheduler) = schedulers.iter().find(|scheduler| scheduler.name == next)
        && let SchedulerKind::Dependent { upstream } = &scheduler.kind
    {
        if way.contains(&scheduler.name.as_str()) {
            return if next == name { way } else { Vec::new() };
        }
        way.push(&scheduler.name);
        next = upstream;
    }
    Vec::new()
}

/// Reads one of them. Who depends on another is noted in `upstreams`.
fn read_scheduler<'a>(
    mut section: Section<'a>,
    names: &mut Names,
    builders: &mut Names,
    upstreams: &mut Vec<(Field<'a>, String)>,
    report: &mut Report,
) -> Scheduler {
    let name_field = section.take("name", report);
    let name = name_field.and_then(|f| f.name(report)).unwrap_or_default().to_owned();
    if let (Some(field), false) = (name_field, name.is_empty()) {
        names.give(&name, &field.node.span, report);
    }
    let kind = section.take("type", report);
    let asked = section.take("builders", report);
    let priority = section.take("priority", report);
    let properties = section.take("properties", report);
    let kind = kind.and_then(|field| read_kind(field, &name, &mut section, upstreams, report));
    // Without a type it is unknown what belongs here.
    if kind.is_some() {
        section.finish(report);
    }

    let (mut asks, mut told): (Vec<String>, BTreeSet<String>) = (Vec::new(), BTreeSet::new());
    for (builder, span) in asked.map(|f| f.texts(report)).unwrap_or_default() {
        if builder.contains('*') {
            let matching = builders.matching(builder, span, report);
            asks.extend(matching.into_iter().filter(|name| told.insert(name.clone())));
            continue;
        }
        builders.mean(builder, span, report);
        if told.insert(builder.to_owned()) {
            asks.push(builder.to_owned());
        }
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

fn read_kind<'a>(
    field: Field<'_>,
    name: &str,
    section: &mut Section<'a>,
    upstreams: &mut Vec<(Field<'a>, String)>,
    report: &mut Report,
) -> Option<SchedulerKind> {
    match &*canonical(field.text(report)?) {
        "single_branch" | "single_branch_scheduler" => {
            section.extend(&SINGLE_BRANCH);
            let filter = section.take("change_filter", report);
            let timer = section.take("tree_stable_timer", report);
            Some(SchedulerKind::SingleBranch {
                filter: filter.and_then(|f| read_filter(f, report)).unwrap_or_default(),
                tree_stable_ms: timer.and_then(|f| f.duration_ms(report)).unwrap_or(0),
            })
        }
        "force" | "force_scheduler" => Some(SchedulerKind::Force),
        "triggerable" => Some(SchedulerKind::Triggerable),
        "dependent" => {
            section.extend(&DEPENDENT);
            let upstream = section.take("upstream", report);
            upstreams.extend(upstream.map(|field| (field, name.to_owned())));
            let upstream = upstream.and_then(|field| field.node.as_text()).unwrap_or_default().to_owned();
            Some(SchedulerKind::Dependent { upstream })
        }
        other => {
            report.error("bad-value", &field.node.span, "there is no such type of scheduler").near(
                other,
                ["single-branch", "force", "triggerable", "dependent"],
                "",
            );
            None
        }
    }
}

fn read_filter(field: Field<'_>, report: &mut Report) -> Option<ChangeFilter> {
    let mut section = field.section(&CHANGE_FILTER, report)?;
    let mut list =
        |name, report: &mut Report| section.take(name, report).map(|f| f.strings(report)).unwrap_or_default();
    let filter = ChangeFilter {
        branches: list("branch", report),
        repositories: list("repository", report),
        projects: list("project", report),
        categories: list("category", report),
        codebases: list("codebase", report),
    };
    section.finish(report);
    Some(filter)
}
