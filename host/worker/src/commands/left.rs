//! Commands that an earlier agent left: gone on with, or ended together with their children. And those that this one
//! has to give up, since its holder was killed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;
use windlass_core::value::{Completion, Failure};
use windlass_protocol::message::CommandUid;

use super::{Entry, Leaving, Owner, Phase};
use crate::again;
use crate::components::Look;
use crate::spool::CommandSpool;
use crate::spool::left::{Answer, Children, Left, Running};
use crate::spool::tape::Record;

/// A command that an earlier agent of the same holder ran.
pub struct TakenUp {
    /// Its outbox.
    pub spool: Arc<CommandSpool>,
    /// As its tape says.
    pub left: Left,
    /// What the holder has of its children, by number.
    pub running: BTreeMap<u32, Running>,
}

/// What its component was told, and its children.
pub(super) struct Before {
    pub(super) answers: VecDeque<Answer>,
    pub(super) children: Children,
}

impl Owner {
    /// Goes on with a command that an earlier agent left, once its component is there.
    pub(super) fn take_up(&mut self, command: TakenUp) {
        let TakenUp { spool, left, running } = command;
        let uid = spool.uid().clone();
        let Left { start, seed, done, answers, begun, children, interrupted, refusal, .. } = left;
        let hook = format!("{}:{}", start.plugin, start.hook);
        let (digest, plugin, builddir) = (start.digest, start.plugin.clone(), start.builddir.clone());
        let (interrupt, _) = watch::channel(interrupted);
        let phase = if done { Phase::Ended } else { Phase::Waits(Box::new(start), seed) };
        let children = Children { left: children, running, begun };
        let left = (!done).then(|| Box::new(Before { answers, children }));
        let entry = Entry { hook, builddir, interrupt, spool, phase, unwanted: false, left };
        let entry = self.entries.entry(uid.clone()).insert_entry(entry);
        if done {
            return;
        }
        if let Some(why) = refusal {
            let message =
                format!("the agent of this worker ended, and the command cannot be gone on with: {why}");
            return self.end(&uid, Err(Failure::retryable("worker-lost", message)));
        }
        entry.get().spool.record(Record::Again { at: crate::child::clock() });
        match self.parts.components.look(digest, &plugin) {
            Look::Ready(plugin) => self.begin(&uid, plugin),
            Look::Later => {}
        }
    }

    /// Ends a command that did not run. If an earlier agent ran it, its children end first.
    pub(super) fn end(&mut self, uid: &CommandUid, how: Result<Completion, Failure>) {
        let Some(entry) = self.entries.get_mut(uid) else { return };
        let Some(before) = entry.left.take() else { return self.ended(uid, how, None) };
        entry.phase = Phase::Runs;
        let (machine, command) = (Arc::clone(&self.parts.machine), uid.0.clone());
        let buried = move || again::bury(&machine, &command, &before.children.running);
        let buried = tokio::task::spawn_blocking(buried);
        let task = self.runs.spawn(async move {
            if let Err(error) = buried.await {
                tracing::error!(%error, "BUG: burying the children of a command broke off");
            }
            (how, None)
        });
        self.names.insert(task.id(), uid.clone());
    }

    /// Nobody looks after those that run any more, and no other begins.
    pub(super) fn abandon(&mut self) {
        self.leaving = Some(Leaving::Interrupted);
        self.abandoned = true;
        // What they would say of their end is not how it was.
        self.names.clear();
        self.runs.abort_all();
    }

    /// All that run have ended, for this reason.
    pub(super) fn lose_all(&mut self, why: &str) {
        let running = self.entries.iter().filter(|(_, entry)| !matches!(entry.phase, Phase::Ended));
        let running: Vec<CommandUid> = running.map(|(uid, _)| uid.clone()).collect();
        for uid in running {
            self.end(&uid, Err(Failure::retryable("worker-lost", why)));
        }
    }
}
