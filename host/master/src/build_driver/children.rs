//! Buildsets that steps submit, and their end with the step that waits for them.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::id::{BuildId, BuildsetId, RequestId};
use windlass_core::persist::Persist;
use windlass_core::text::chain;
use windlass_store::CommitError;

use super::{Builds, Detached};
use crate::dispatcher::StepLocks;
use crate::start::MASTER;
use crate::submission::Submission;
use crate::withdraw::{WithdrawError, withdraw};
use crate::world::World;

/// A request whose start is under way is looked at again so much later, and so often.
const AGAIN: Duration = Duration::from_millis(50);
const TRIES: usize = 200;

impl Builds {
    /// What the master goes by now; a running build keeps what it began with.
    pub(crate) fn present(&self) -> Arc<World> {
        self.0.world.load_full()
    }

    /// Makes a step's buildset durable after `first`, and known. Goes on to its end even if nobody waits for it.
    pub(crate) async fn submit(
        &self,
        mut first: Vec<Persist>,
        submission: Submission,
    ) -> Result<(), CommitError> {
        first.extend(submission.persist(&self.present().config.schedulers));
        let committed = self.0.parts.store.commit(first);
        let builds = self.clone();
        let done = self.0.tasks.spawn(async move {
            committed.await?;
            builds.0.parts.events.tell(|| submission.event());
            if let Some(report) = builds.0.report.get() {
                report.submitted(submission.buildset, submission.requests);
            }
            Ok(())
        });
        done.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Notes that a step waits for requests. None: nobody has slots or locks here.
    pub(crate) fn wait_for(&self, build: BuildId, requests: Vec<(RequestId, String)>) -> Option<StepLocks> {
        self.0.report.get().map(|report| report.wait_for(build, requests))
    }

    /// Ends buildsets that nobody waits for any more: what is pending is withdrawn, what runs is stopped, unless it is
    /// built for others, too. Returns at once.
    pub(crate) fn cancel(&self, buildsets: Vec<BuildsetId>, reason: String) {
        let builds = self.clone();
        self.0.tasks.spawn(async move {
            for buildset in buildsets {
                let requests = match builds.0.parts.store.buildset(buildset) {
                    Ok(found) => found.map(|buildset| buildset.requests).unwrap_or_default(),
                    Err(error) => {
                        tracing::error!(%buildset, error = chain(&error), "failed to look up what is to be cancelled");
                        continue;
                    }
                };
                for request in requests {
                    builds.cancel_one(request, &reason).await;
                }
            }
        });
    }

    /// Withdraws a request: a pending one, or one that is built together with others, whose build goes on for those.
    pub(crate) async fn withdraw(&self, request: RequestId) -> Result<(), WithdrawError> {
        let parts = &self.0.parts;
        let builder = match withdraw(&parts.store, MASTER, request, parts.clock.now()).await {
            Ok(builder) => builder,
            Err(WithdrawError::Building { request: id, build }) => match self.detach(build, request) {
                Detached::Out(builder, committed) => match committed.await {
                    Ok(_) => builder,
                    // Its claim has passed to somebody else, who builds it again.
                    Err(CommitError::Refused(_)) => return Err(WithdrawError::Starting(id)),
                    Err(CommitError::Closed) => return Err(WithdrawError::ShuttingDown),
                    Err(error) => return Err(WithdrawError::Store(error)),
                },
                Detached::Last => return Err(WithdrawError::Building { request: id, build }),
                // Between its claim and its first step, or between its end and the commit of that.
                Detached::Elsewhere => return Err(WithdrawError::Starting(id)),
            },
            Err(error) => return Err(error),
        };
        if let Some(report) = self.0.report.get() {
            report.withdrawn(&builder, request);
        }
        Ok(())
    }

    async fn cancel_one(&self, request: RequestId, reason: &str) {
        for _ in 0..TRIES {
            match self.withdraw(request).await {
                Ok(()) => return,
                Err(WithdrawError::Building { build, .. }) => {
                    if self.stop(build, reason).await {
                        return;
                    }
                    // It has ended meanwhile.
                    tokio::time::sleep(AGAIN).await
                }
                Err(
                    WithdrawError::Complete(..) | WithdrawError::NotFound(_) | WithdrawError::ShuttingDown,
                ) => return,
                // Its claim is on its way.
                Err(WithdrawError::Starting(_)) => tokio::time::sleep(AGAIN).await,
                Err(error @ (WithdrawError::Read(_) | WithdrawError::Store(_))) => {
                    return tracing::error!(%request, error = chain(&error), "failed to cancel a request");
                }
            }
        }
        tracing::error!(%request, "it was about to start for long and could not be cancelled");
    }
}
