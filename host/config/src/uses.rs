//! Where a configuration uses components: each place, with the hook that it names.

use std::borrow::Cow;

use windlass_core::builder::{Builder, OnError, PolicyUse};
use windlass_core::condition::Condition;
use windlass_core::policy::HookKind;
use windlass_core::render::{needs_rendering, renderers_of_json};

use crate::config::{Configurator, Master};

/// A use of a hook by the configuration.
#[derive(Clone, Debug)]
pub struct Use<'a> {
    /// For people: `master`, `builder ci`, `builder ci, step compile`, `reporter chat`.
    pub place: String,
    /// Which thing of the configuration uses it, as a plan calls it: `builder` and its name, `policy` and its setting.
    pub thing: (&'static str, Cow<'a, str>),
    /// The builder; none: the master as a whole.
    pub builder: Option<&'a str>,
    /// The kind of the hook.
    pub kind: HookKind,
    /// As the checked configuration names it: qualified, but for renderers, which are named as they are written.
    pub hook: Cow<'a, str>,
    /// What its failure does; none: it is no policy.
    pub on_error: Option<OnError>,
}

/// The policies that a configuration uses, in its order.
#[must_use]
pub fn policies(config: &Master) -> Vec<Use<'_>> {
    let master = [
        (HookKind::PrioritizeBuilders, "prioritize_builders", config.prioritize_builders.as_ref()),
        (HookKind::CodebaseGenerator, "codebase_generator", config.codebase_generator.as_ref()),
    ];
    let master = master.into_iter().filter_map(|(kind, setting, used)| {
        let thing = ("policy", Cow::Borrowed(setting));
        Some(policy("master".to_owned(), thing, None, kind, used?))
    });
    let builders = config.builders.iter().flat_map(|builder| {
        let used = move |(kind, used)| {
            policy(format!("builder {}", builder.name), of(builder), Some(&builder.name), kind, used)
        };
        builder.policies().map(used)
    });
    master.chain(builders).collect()
}

/// The configurators. A thing is a hook, and a number where it is used again.
#[must_use]
pub fn configurators(config: &Master) -> Vec<Use<'_>> {
    let one = |(place, used): (usize, &'_ Configurator)| {
        let hook = used.hook.clone();
        let before = config.configurators[..place].iter().filter(|other| other.hook == hook).count();
        let name = if before == 0 { hook.clone() } else { format!("{hook} {}", before + 1) };
        Use {
            place: "master".to_owned(),
            thing: ("configurator", Cow::Owned(name)),
            builder: None,
            kind: HookKind::Configurator,
            hook: Cow::Owned(hook),
            on_error: None,
        }
    };
    config.configurators.iter().enumerate().map(one).collect()
}

/// All uses: those of policies, then those of steps, then those of renderers, then configurators, then
/// those of reporters.
#[must_use]
pub fn all(config: &Master) -> Vec<Use<'_>> {
    let (steps, renderers) =
        (config.builders.iter().flat_map(steps), config.builders.iter().flat_map(renderers));
    let master = configurators(config).into_iter().chain(reporters(config));
    policies(config).into_iter().chain(steps).chain(renderers).chain(master).collect()
}

fn reporters(config: &Master) -> impl Iterator<Item = Use<'_>> {
    config.reporters.iter().map(|reporter| Use {
        place: format!("reporter {}", reporter.name),
        thing: ("reporter", Cow::Borrowed(&reporter.name)),
        builder: None,
        kind: HookKind::Reporter,
        hook: Cow::Borrowed(&reporter.hook),
        on_error: None,
    })
}

fn of(builder: &Builder) -> (&'static str, Cow<'_, str>) {
    ("builder", Cow::Borrowed(&builder.name))
}

fn policy<'a>(
    place: String,
    thing: (&'static str, Cow<'a, str>),
    builder: Option<&'a str>,
    kind: HookKind,
    used: &'a PolicyUse,
) -> Use<'a> {
    Use { place, thing, builder, kind, hook: Cow::Borrowed(&used.hook), on_error: Some(used.on_error) }
}

fn steps(builder: &Builder) -> impl Iterator<Item = Use<'_>> {
    builder.steps.iter().map(|step| Use {
        place: format!("builder {}, step {}", builder.name, step.name),
        thing: of(builder),
        builder: Some(&builder.name),
        kind: HookKind::BuildStep,
        hook: Cow::Borrowed(&step.hook),
        on_error: None,
    })
}

/// The renderers that a builder asks for values and conditions, each place once.
fn renderers(builder: &Builder) -> Vec<Use<'_>> {
    let of_condition = |condition: &Option<Condition>| match condition {
        Some(Condition::Renderer { hook, args }) => [vec![hook.clone()], of_args(args)].concat(),
        Some(Condition::Cel(_)) | None => Vec::new(),
    };
    let place = format!("builder {}", builder.name);
    let own = of_condition(&builder.do_build_if).into_iter();
    let own = own.chain(builder.env.values().flat_map(renderers_of_json));
    let mut found: Vec<(String, String)> = own.map(|hook| (place.clone(), hook)).collect();
    for step in &builder.steps {
        let place = format!("{place}, step {}", step.name);
        let conditions = [&step.do_step_if, &step.hide_step_if].into_iter().flat_map(of_condition);
        found.extend(conditions.chain(of_args(&step.args)).map(|hook| (place.clone(), hook)));
    }
    found.dedup();
    let used = |(place, hook)| Use {
        place,
        thing: of(builder),
        builder: Some(&builder.name),
        kind: HookKind::Renderer,
        hook: Cow::Owned(hook),
        on_error: None,
    };
    found.into_iter().map(used).collect()
}

fn of_args(args: &str) -> Vec<String> {
    if !needs_rendering(args) {
        return Vec::new();
    }
    serde_json::from_str(args).map(|args| renderers_of_json(&args).into_iter().collect()).unwrap_or_default()
}
