//! Who is told what happens: reads `[[reporters]]`.

use std::collections::BTreeSet;

use windlass_core::builder::Builder;
use windlass_core::policy::HookKind;
use windlass_core::render::renderers_of_json;
use windlass_core::report::Mode;

use crate::args::Templates;
use crate::builder::{find_hook, read_args};
use crate::catalog::Hooks;
use crate::config::{Reporter, Scheduler};
use crate::diagnostic::Report;
use crate::names::Names;
use crate::node::Tree;
use crate::secrets::{self, Listed};
use crate::section::{Field, Section};

/// Who submits what a person forces without a scheduler.
const FORCE: &str = "force";

/// What reporters are checked against.
pub(crate) struct Surroundings<'a, 'h> {
    pub(crate) hooks: &'a Hooks<'h>,
    pub(crate) builder_names: &'a mut Names,
    pub(crate) builders: &'a [Builder],
    pub(crate) schedulers: &'a [Scheduler],
    pub(crate) secrets: &'a mut Names,
}

/// Reads all of `[[reporters]]`.
pub(crate) fn read(
    sections: Vec<Section<'_>>,
    around: &mut Surroundings<'_, '_>,
    report: &mut Report,
) -> Vec<Reporter> {
    let mut names = Names::new("reporter");
    let read = sections.into_iter().filter_map(|section| read_one(section, &mut names, around, report));
    read.collect()
}

fn read_one(
    mut section: Section<'_>,
    names: &mut Names,
    around: &mut Surroundings<'_, '_>,
    report: &mut Report,
) -> Option<Reporter> {
    let name_field = section.take("name", report);
    let name = name_field.and_then(|f| f.name(report)).unwrap_or_default().to_owned();
    if let (Some(field), false) = (name_field, name.is_empty()) {
        names.give(&name, &field.node.span, report);
    }
    let named = section.take("use", report);
    let args = section.take("args", report);
    let modes = section.take("mode", report);
    let starts = section.take("report_new", report).and_then(|f| f.boolean(report));
    let builders = section.take("builders", report);
    let tags = section.take("tags", report);
    let schedulers = section.take("schedulers", report);
    let branches = section.take("branches", report);
    let listed = section.take("secrets", report);
    section.finish(report);

    for field in [modes, builders, tags, schedulers, branches].into_iter().flatten() {
        if matches!(&field.node.value, Tree::List(items) if items.is_empty()) {
            field.refuse::<()>(
                "is empty: this reporter would be told nothing",
                "leave it out, or name one",
                report,
            );
        }
    }
    if let (Some(_), Some(tags)) = (builders, tags) {
        tags.refuse::<()>(
            "cannot stand beside `builders`",
            "say which builders, or which tags they have, not both",
            report,
        );
    }
    let has_mode = modes.is_some();
    let modes = modes.and_then(|field| read_modes(field, report));
    let builders = builders.map(|f| read_builders(f, around.builder_names, report)).unwrap_or_default();
    let tags = tags.map(|f| read_tags(f, around.builders, report)).unwrap_or_default();
    let schedulers = schedulers.map(|f| read_schedulers(f, around.schedulers, report)).unwrap_or_default();
    let branches = branches.map(|f| f.strings(report)).unwrap_or_default();
    let mut secrets: Vec<String> = Vec::new();
    for (secret, span) in listed.map(|f| f.texts(report)).unwrap_or_default() {
        around.secrets.mean(secret, span, report);
        secrets.push(secret.to_owned());
    }

    let hook = named?.name(report)?;
    let found = find_hook(hook, named?, HookKind::Reporter, around.hooks, report)?;
    if let Some(args) = args {
        let mut listed =
            Listed { what: "reporter", name: &name, names: &mut *around.secrets, listed: &secrets };
        secrets::check(args.node, found.facts.schema.as_ref(), Some(&mut listed), report);
        if !renderers_of_json(&args.node.to_json()).is_empty() {
            args.refuse::<()>("names a renderer", "a reporter's arguments have templates alone", report);
        }
    }
    let args = read_args(hook, named?, &found, args, Templates::Rendered(around.hooks), report);
    let (hook, starts) = (found.facts.qualified.clone(), starts.unwrap_or(!has_mode));
    Some(Reporter { name, hook, args, modes, starts, builders, tags, schedulers, branches, secrets })
}

/// None: all ends.
fn read_modes(field: Field<'_>, report: &mut Report) -> Option<BTreeSet<Mode>> {
    const ALL: &str = "all";
    let (mut modes, mut is_all) = (BTreeSet::new(), false);
    for (word, span) in field.texts(report) {
        match Mode::named(word) {
            Some(mode) => drop(modes.insert(mode)),
            None if word == ALL => is_all = true,
            None => {
                let known = Mode::ALL.map(Mode::as_str).into_iter().chain([ALL]);
                let all = "the modes: `change`, `failing`, `passing`, `problem`, `warnings`, `exception`, `cancelled`, `all`";
                report.error("bad-value", span, format!("there is no mode `{word}`")).near(word, known, all);
            }
        }
    }
    if is_all && !modes.is_empty() {
        field.refuse::<()>("has `all` beside others", "`all` is every end, whatever else is named", report);
    }
    (!is_all).then_some(modes)
}

fn read_builders(field: Field<'_>, names: &mut Names, report: &mut Report) -> Vec<String> {
    let mut builders = BTreeSet::new();
    for (builder, span) in field.texts(report) {
        if builder.contains('*') {
            builders.extend(names.like(builder, span, report));
        } else {
            names.check(builder, span, report);
            builders.insert(builder.to_owned());
        }
    }
    builders.into_iter().collect()
}

fn read_tags(field: Field<'_>, builders: &[Builder], report: &mut Report) -> Vec<String> {
    let known: BTreeSet<&str> = builders.iter().flat_map(|b| &b.tags).map(String::as_str).collect();
    // What was wrong elsewhere may be a builder that has it.
    let is_sure = !report.failed();
    let mut tags = Vec::new();
    for (tag, span) in field.texts(report) {
        if is_sure && !known.contains(tag) {
            let message = format!("no builder has the tag `{tag}`");
            report.error("unknown-name", span, message).near(tag, known.iter().copied(), "");
        }
        tags.push(tag.to_owned());
    }
    tags
}

fn read_schedulers(field: Field<'_>, schedulers: &[Scheduler], report: &mut Report) -> Vec<String> {
    let known = || schedulers.iter().map(|scheduler| scheduler.name.as_str()).chain([FORCE]);
    let mut asking = Vec::new();
    for (name, span) in field.texts(report) {
        if !known().any(|known| known == name) {
            let message = format!("there is no scheduler `{name}`");
            report.error("unknown-name", span, message).near(name, known(), "");
        }
        asking.push(name.to_owned());
    }
    asking
}
