//! Reconfiguration as a transaction: prepare everything, then swap, or leave all as it was.
//!
//! Read, load what is new, check the configuration against it, compare; keep the bytes and the number
//! of the generation; swap. Everything that can fail comes before the swap, the swap cannot.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use windlass_config::{Diagnostics, MasterText, Side};
use windlass_runtime::files;

use crate::answers::{Answered, Answers};
use crate::include;
use crate::plugins::{self, Hooks};
use crate::policies;
use crate::reading::{Faults, Good, Reading, Text};
use crate::running::Running;
use crate::secrets;
use crate::start::blocking;
use crate::view;
use crate::world::World;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ReconfigError {
    /// The configuration file cannot be read.
    #[error("failed to read `{path}`; nothing was changed", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration or plugins are wrong: all that is.
    #[error("nothing was changed: {0}")]
    Invalid(Faults),
    /// Settings that need a restart differ.
    #[error("settings that need a restart differ; nothing was changed")]
    Refused(view::Plan),
    /// One runs and one waits already.
    #[error("a reconfiguration runs and another waits already; that one will see what you changed")]
    Busy,
    /// The master is going down.
    #[error("the master is shutting down")]
    ShuttingDown,
    /// The store did not take it.
    #[error("the new generation could not be stored; nothing was changed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ReconfigError {
    /// Each thing that is wrong, rendered for a terminal without colours; empty: the message says all.
    #[must_use]
    pub fn details(&self) -> Vec<String> {
        match self {
            ReconfigError::Invalid(faults) => faults.details(),
            ReconfigError::Refused(plan) => {
                let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
                let line = |f: &windlass_config::plan::Field| {
                    format!("{}: {} -> {} (needs a restart)", f.name, value(&f.old), value(&f.new))
                };
                plan.refused.iter().map(line).collect()
            }
            ReconfigError::Read { .. }
            | ReconfigError::Busy
            | ReconfigError::ShuttingDown
            | ReconfigError::Store(_) => Vec::new(),
        }
    }

    /// The same for machines, as JSON; null: the message says all.
    #[must_use]
    pub fn diagnostics(&self) -> serde_json::Value {
        match self {
            ReconfigError::Invalid(faults) => faults.to_json(),
            ReconfigError::Refused(plan) => serde_json::json!(plan.refused),
            ReconfigError::Read { .. }
            | ReconfigError::Busy
            | ReconfigError::ShuttingDown
            | ReconfigError::Store(_) => serde_json::Value::Null,
        }
    }
}

/// At most one reconfiguration runs, at most one waits.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    turn: tokio::sync::Mutex<()>,
    inside: AtomicUsize,
}

/// A place before or in the gate.
pub(crate) struct Ticket<'a>(&'a Gate);

impl Gate {
    /// How many run or wait.
    pub fn inside(&self) -> usize {
        self.inside.load(Ordering::SeqCst)
    }

    /// Takes a place; none: both are taken.
    pub fn enter(&self) -> Option<Ticket<'_>> {
        let more = |inside| (inside < 2).then_some(inside + 1);
        let entered = self.inside.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        entered.is_ok().then(|| Ticket(self))
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reconfigures, or says what that would change.
pub(crate) async fn reconfigure(
    running: &Arc<Running>,
    plan_only: bool,
) -> Result<view::Reconfigured, ReconfigError> {
    // A plan changes nothing and takes no place; it only waits for its turn.
    let _ticket = match plan_only {
        true => None,
        false => Some(running.gate.enter().ok_or(ReconfigError::Busy)?),
    };
    let _turn = running.gate.turn.lock().await;
    if running.closing.is_cancelled() {
        return Err(ReconfigError::ShuttingDown);
    }
    let old = running.world.load_full();
    let next = {
        let (running, old) = (Arc::clone(running), Arc::clone(&old));
        blocking(move || prepare(&running, &old, plan_only)).await?
    };
    let Next { world: new, mut plan, changes, bytes, answered, warnings } = next;
    let tokens = running.links.tokens();
    let changed = !plan.is_empty() || !changes.is_empty();
    // Nobody makes a token for a worker that goes, and those that it has are said to go with it.
    let _turn_of_tokens = match changed && plan.refused.is_empty() && !plan_only {
        true => Some(tokens.turn().await),
        false => None,
    };
    plan.name_tokens(|worker| tokens.of(worker).iter().map(|token| token.number.0).collect());
    if !plan.refused.is_empty() && !plan_only {
        return Err(ReconfigError::Refused(plan));
    }
    let mut lifted = if plan_only { Vec::new() } else { policies::suspended(running, &old) };
    if changed && !plan_only {
        persist(running, &new, bytes, Arc::clone(&answered)).await?;
        running.swap(Arc::clone(&new)).await;
        let generation = new.generation.number;
        running.events.tell(|| view::Event::Reconfigured { generation });
        tracing::info!(generation, "reconfigured");
    } else if !plan_only {
        // Nothing that a plan shows differs, the order of things at the most; whoever asked may have mended something
        // elsewhere that policies trip over.
        let (config, generation) = (Arc::clone(&new.config), Arc::clone(&old.generation));
        running.swap(Arc::new(World { config, generation })).await;
    }
    let now = running.world.load_full();
    lifted.retain(|called| policies::uses(&now.config, called));
    // What was done is done, even if this cannot be told.
    let builds = running.store.running_builds().unwrap_or_else(|error| {
        tracing::error!(error = plugins::chain(&error), "failed to list the running builds");
        Vec::new()
    });
    if !plan_only {
        running.names.reconfigured(&old, &now, &builds, &running.runtime);
    }
    if !plan_only {
        let (keeper, answers) = (running.store.clone(), Answers::of(&running.folders.state));
        // What found no room before may find some now; until then the others stay.
        let keep = move || {
            if answers.keep_or_say(&answered, |bytes| keeper.has_room(bytes)) {
                answers.forget_others(&answered);
            }
        };
        blocking(keep).await;
    }
    Ok(view::Reconfigured {
        generation: now.generation.number,
        plan_only,
        changed,
        plan,
        plugins: changes,
        warnings,
        builds_holding: plugins::holding(&builds, &now.generation),
        lifted,
    })
}

fn compare(old: &World, new: &World) -> windlass_config::Plan {
    let (before, after) = (Hooks(&old.generation), Hooks(&new.generation));
    let old = Side { config: &old.config, components: Some(&before) };
    windlass_config::diff(old, Side { config: &new.config, components: Some(&after) })
}

struct Next {
    world: Arc<World>,
    plan: windlass_config::Plan,
    /// Of the plugins.
    changes: view::PluginChanges,
    /// Components that the old generation had not.
    bytes: Vec<bytes::Bytes>,
    /// What configurators wrote.
    answered: Arc<[Answered]>,
    warnings: Vec<String>,
}

/// Everything that computes or reads: off the async threads.
fn prepare(running: &Running, old: &World, plan_only: bool) -> Result<Next, ReconfigError> {
    let path = &running.config_path;
    let text = files::text(path, files::MOST)
        .map_err(|source| ReconfigError::Read { path: path.clone(), source })?;
    let last = running.read.load_full();
    // First what costs nothing: a slip in the file need not wait for compilers.
    let (text, fixed) = if last.is_of(path, &text) {
        let fixed = last.config.fixed.clone();
        (Text::Same(last), fixed)
    } else {
        let text = MasterText::parse(path, &text);
        let fixed = text.peek(&include::variable).map_err(|errors| ReconfigError::Invalid(errors.into()))?;
        (Text::Parsed(Box::new(text)), fixed)
    };
    // A plan shows them beside the rest; else they are the first news, before another plugins folder
    // makes everything look wrong.
    let refused = windlass_config::plan::refused(&old.config.fixed, &fixed);
    if !refused.is_empty() && !plan_only {
        return Err(ReconfigError::Refused(view::Plan { refused, ..view::Plan::default() }));
    }
    let reading = Reading {
        runtime: &running.runtime,
        old: Some(&old.generation),
        bundled: &running.bundled,
        folder: &running.folders.plugins,
        path,
        text,
        is_master: true,
        before: None,
    };
    let (read, warnings) = reading.read();
    let Good { read, generation, bytes, answered } = read.map_err(ReconfigError::Invalid)?;
    secrets::hide(&read.config.secrets);
    let world = World { config: Arc::clone(&read.config), generation: Arc::new(generation) };
    running.read.store(read);
    let warnings = warnings.iter().map(Diagnostics::render).collect();
    let (plan, changes) = (compare(old, &world), plugins::changes(&old.generation, &world.generation));
    Ok(Next { world: Arc::new(world), plan, changes, bytes, answered: answered.into(), warnings })
}

/// The bytes first, and what configurators wrote if there is room for it, then the number: a generation that is named
/// can be had.
async fn persist(
    running: &Arc<Running>,
    new: &World,
    bytes: Vec<bytes::Bytes>,
    answered: Arc<[Answered]>,
) -> Result<(), ReconfigError> {
    let (keeper, answers) = (running.store.clone(), Answers::of(&running.folders.state));
    blocking(move || {
        plugins::keep(keeper.cas(), &bytes).map_err(|e| ReconfigError::Store(Box::new(e)))?;
        let kept = answers.keep(&answered, |bytes| keeper.has_room(bytes));
        kept.map(drop).map_err(|e| ReconfigError::Store(Box::new(e)))
    })
    .await?;
    let mut batch = vec![plugins::remember(&new.generation)];
    batch.extend(running.links.tokens().without(&new.config.workers));
    let committed = running.store.commit(batch).await;
    committed.map(drop).map_err(|e| ReconfigError::Store(Box::new(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_runs_one_waits_a_third_is_told() {
        let gate = Gate::default();
        let first = gate.enter().unwrap();
        let second = gate.enter().unwrap();
        assert!(gate.enter().is_none());
        drop(first);
        let third = gate.enter().unwrap();
        assert!(gate.enter().is_none());
        drop((second, third));
        assert!(gate.enter().is_some());
    }
}
