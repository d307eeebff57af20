//! A person's order to build: checked against the configuration, completed from it, one commit.

use std::collections::BTreeSet;

use windlass_config::config;
use windlass_core::builder::{Builder, StepSpec};
use windlass_core::change::{Patch, SourceStamp};
use windlass_core::properties::Properties;
use windlass_core::validation::{self, Validation};
use windlass_core::value::Value;

use crate::hint::hint;
use crate::submission::Order;
use crate::view;

/// The largest patch, in bytes: it is in the buildset's row, and in that of each of its builds.
const MAX_PATCH: usize = 1024 * 1024;

/// Why an order to build was refused.
#[derive(Debug, thiserror::Error)]
pub enum ForceError {
    /// There is no such builder.
    #[error("there is no builder `{name}`{hint}")]
    NoSuchBuilder {
        /// What was asked for.
        name: String,
        /// `; did you mean ...`, or the list of all, or nothing.
        hint: String,
    },
    /// The builder's source is not known.
    #[error("which repository? builder `{builder}` names none of its own, and {known}")]
    WhichRepository {
        /// The builder.
        builder: String,
        /// `several are polled: a, b` or `none is polled`.
        known: String,
    },
    /// A property cannot be set so.
    #[error("property `{name}` cannot be set: {why}")]
    BadProperty {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// It does not fit what the configuration allows.
    #[error("the {what} `{value}` is refused: `[validation] {pattern_name}` is `{pattern}`")]
    Invalid {
        /// `branch`, `revision`.
        what: &'static str,
        /// What was asked for.
        value: String,
        /// The setting.
        pattern_name: &'static str,
        /// Its value.
        pattern: String,
    },
    /// The patch is none.
    #[error("the patch cannot be built: {0}")]
    BadPatch(String),
    /// The master is going down.
    #[error("the master is shutting down")]
    ShuttingDown,
    /// The store did not take it.
    #[error("the order could not be stored")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What is to be submitted for `force` under this configuration.
///
/// A force scheduler that names the builder gives its priority and properties; without one, any
/// builder may be forced: whoever reaches the socket is the master's own user.
pub(crate) fn order(force: view::Force, config: &config::Master) -> Result<Order, ForceError> {
    let builder = config.builders.iter().find(|b| b.name == force.builder);
    let builder = builder.ok_or_else(|| no_such_builder(&force.builder, &config.builders))?;
    let scheduler = config
        .schedulers
        .iter()
        .find(|s| matches!(s.kind, config::SchedulerKind::Force) && s.builders.contains(&builder.name));
    let (repository, project) = match &force.repository {
        Some(repository) => (repository.clone(), project(repository, config)),
        None => source(builder, config)?,
    };
    let mut properties = scheduler.map(|s| s.properties.clone()).unwrap_or_default();
    set(&mut properties, &force)?;
    validate(&force, &config.validation)?;
    let submitter = scheduler.map_or("force", |s| s.name.as_str()).to_owned();
    properties.set("scheduler", Value::Text(submitter.clone()), "Scheduler");
    let owner = force.owner.as_deref().map(|owner| format!(" by {owner}")).unwrap_or_default();
    let reason = force.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let patch = force.patch.as_ref().map(|sent| patch(sent, &force)).transpose()?;
    Ok(Order {
        builders: vec![builder.name.clone()],
        submitter,
        reason: format!("force{owner}{reason}"),
        priority: scheduler.map_or(0, |s| s.priority),
        stamps: vec![SourceStamp {
            repository,
            project,
            branch: force.branch,
            revision: force.revision,
            patch,
            ..SourceStamp::default()
        }],
        properties,
        parent: None,
        waited_for: false,
    })
}

/// Looks at what a person wrote as `[validation]` says.
fn validate(force: &view::Force, allowed: &Validation) -> Result<(), ForceError> {
    let fit = |what, value: &str, pattern_name, pattern: &str| match validation::fits(pattern, value) {
        true => Ok(()),
        false => Err(ForceError::Invalid {
            what,
            value: value.to_owned(),
            pattern_name,
            pattern: pattern.to_owned(),
        }),
    };
    if let Some(branch) = &force.branch {
        fit("branch", branch, "branch", &allowed.branch)?;
    }
    if let Some(revision) = &force.revision {
        fit("revision", revision, "revision", &allowed.revision)?;
    }
    for (name, value) in &force.properties {
        fit("name of a property", name, "property_name", &allowed.property_name)?;
        if let (Some(pattern), Some(text)) = (&allowed.property_value, value.as_str()) {
            fit("value of a property", text, "property_value", pattern)?;
        }
    }
    Ok(())
}

fn patch(sent: &view::Patch, force: &view::Force) -> Result<Patch, ForceError> {
    let refuse = |why: String| Err(ForceError::BadPatch(why));
    if sent.body.is_empty() {
        return refuse("it is empty".to_owned());
    }
    if sent.body.len() > MAX_PATCH {
        return refuse(format!("it has {} bytes, and may have {MAX_PATCH}", sent.body.len()));
    }
    let outside = sent.directory.starts_with('/') || sent.directory.split('/').any(|part| part == "..");
    if outside {
        return refuse(format!("its directory `{}` is not one below the source", sent.directory));
    }
    Ok(Patch {
        level: sent.level,
        body: sent.body.clone(),
        directory: sent.directory.clone(),
        author: force.owner.clone().unwrap_or_default(),
        comment: force.reason.clone().unwrap_or_default(),
    })
}

fn no_such_builder(name: &str, builders: &[Builder]) -> ForceError {
    let hint = hint(name, builders.iter().map(|builder| builder.name.as_str()));
    ForceError::NoSuchBuilder { name: name.to_owned(), hint }
}

/// The builder's own repository, or the one that is polled. Empty where the builder needs no source.
fn source(builder: &Builder, config: &config::Master) -> Result<(String, String), ForceError> {
    if let Some(own) = builder.steps.iter().find_map(own_repository) {
        let project = project(&own, config);
        return Ok((own, project));
    }
    let polled: BTreeSet<&str> = config.git_pollers.iter().map(|p| p.repository.as_str()).collect();
    let mut names = polled.iter();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(((*only).to_owned(), project(only, config))),
        _ if !builder.steps.iter().any(wants_source) => Ok(Default::default()),
        (None, _) => Err(ForceError::WhichRepository {
            builder: builder.name.clone(),
            known: "none is polled".to_owned(),
        }),
        (Some(_), Some(_)) => Err(ForceError::WhichRepository {
            builder: builder.name.clone(),
            known: format!("several are polled: {}", polled.into_iter().collect::<Vec<_>>().join(", ")),
        }),
    }
}

fn project(repository: &str, config: &config::Master) -> String {
    let poller = config.git_pollers.iter().find(|p| p.repository == repository);
    poller.map(|p| p.project.clone()).unwrap_or_default()
}

/// The repository that a `git` step names in so many words.
fn own_repository(step: &StepSpec) -> Option<String> {
    let args: serde_json::Value = is_git(step).then(|| serde_json::from_str(&step.args).ok())??;
    let named = ["repository", "repourl"].iter().find_map(|key| args.get(key)?.as_str());
    named.filter(|text| !text.is_empty() && !text.contains("%(")).map(str::to_owned)
}

/// Whether a step cannot do without a source stamp's repository.
fn wants_source(step: &StepSpec) -> bool {
    is_git(step) || step.args.contains("%(src:")
}

fn is_git(step: &StepSpec) -> bool {
    step.hook.rsplit(':').next() == Some("git")
}

fn set(properties: &mut Properties, force: &view::Force) -> Result<(), ForceError> {
    for (name, value) in &force.properties {
        let bad = |why: &str| ForceError::BadProperty { name: name.clone(), why: why.to_owned() };
        if name.is_empty() {
            return Err(bad("a property needs a name"));
        }
        if name.contains(['%', '(', ')', ':']) || name.chars().any(char::is_control) {
            return Err(bad("a name has no `%`, `(`, `)`, `:` or control characters"));
        }
        properties.set(name, Value::from_json(value), "Force");
    }
    if let Some(owner) = &force.owner {
        properties.set("owner", Value::Text(owner.clone()), "Force");
    }
    Ok(())
}
