//! Tokens of workers by command: made, listed and revoked while the master runs.
//!
//! Whoever wants a token makes it, and tells the master its hash alone: so there is no token that works and that
//! nobody has, whenever the master is killed. What is answered is durable.
//!
//! A worker's tokens go with the worker: the reconfig that takes it out of the configuration takes them away in its own
//! commit, and a start does the same. One that is put back later needs new ones.

use std::sync::Arc;

use windlass_config::config;
use windlass_core::id::TokenId;
use windlass_core::persist::Persist;
use windlass_core::worker_token::{MAX_TOKENS, WorkerToken};
use windlass_store::{CommitError, ReadError, Store};

use crate::hint::hint;
use crate::running::Running;
use crate::view;
use crate::worker_link::{Links, Tokens};

/// Why nothing was made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The configuration has no such worker.
    #[error("there is no worker `{name}`{hint}")]
    NoSuchWorker {
        /// The name.
        name: String,
        /// Those that there are.
        hint: String,
    },
    /// What came is no hash.
    #[error("this is not the hash of a token: `blake3:` and 64 hexadecimal digits")]
    NotAHash,
    /// The worker has the very token already.
    #[error("worker `{0}` has this token already")]
    Known(String),
    /// It has enough.
    #[error(
        "worker `{0}` has {MAX_TOKENS} tokens already; `windlass workers revoke {0} NUMBER` takes one away"
    )]
    TooMany(String),
    /// It has no such token.
    #[error("worker `{worker}` has no token {number}{hint}")]
    NoSuchToken {
        /// The worker.
        worker: String,
        /// The number that was asked for.
        number: u64,
        /// Those that there are.
        hint: String,
    },
    /// The master is going down.
    #[error("the master is shutting down")]
    ShuttingDown,
    /// The store did not take it.
    #[error("the token could not be stored; nothing was changed")]
    Store(#[source] CommitError),
    /// The store did not forget them.
    #[error(
        "the tokens count no more, but the store did not forget them: they count again after the next start of the master, \
         unless they are revoked again"
    )]
    NotForgotten(#[source] CommitError),
}

impl From<CommitError> for TokenError {
    fn from(error: CommitError) -> TokenError {
        match error {
            CommitError::Closed => TokenError::ShuttingDown,
            other => TokenError::Store(other),
        }
    }
}

/// What a start finds of them, without those of workers that the configuration has no more, and without those that
/// cannot be read.
pub(crate) async fn open(
    store: &Store,
    tokens: &Tokens,
    workers: &[config::Worker],
) -> Result<(), OpenTokensError> {
    let (found, damaged) = store.worker_tokens()?;
    found.into_iter().for_each(|token| tokens.add(token));
    for (worker, number) in &damaged {
        tracing::error!(
            worker,
            number = number.0,
            "a token is damaged and is taken away: its worker needs another one"
        );
    }
    let damaged = (!damaged.is_empty()).then_some(Persist::DropTokens(damaged));
    let gone: Vec<_> = tokens.without(workers).into_iter().chain(damaged).collect();
    if !gone.is_empty() {
        store.commit(gone).await?;
    }
    Ok(())
}

/// Why a start cannot read the tokens.
#[derive(Debug, thiserror::Error)]
pub enum OpenTokensError {
    /// The store cannot be read.
    #[error("failed to read the tokens of workers")]
    Read(#[from] ReadError),
    /// The store takes nothing.
    #[error("failed to take away the tokens of workers that are configured no more")]
    Commit(#[from] CommitError),
}

/// A worker may connect by the token with this hash from now on.
pub(crate) async fn mint(
    running: &Running,
    worker: &str,
    hash: &str,
) -> Result<view::WorkerToken, TokenError> {
    let hash = windlass_config::token_digest(hash).ok_or(TokenError::NotAHash)?;
    let tokens = running.links.tokens();
    let _turn = tokens.turn().await;
    is_configured(running, worker)?;
    let has = tokens.of(worker);
    if has.iter().any(|token| token.hash == hash) {
        return Err(TokenError::Known(worker.to_owned()));
    }
    if has.len() >= MAX_TOKENS {
        return Err(TokenError::TooMany(worker.to_owned()));
    }
    let number = running.store.ids().next_token();
    let token =
        WorkerToken { number, worker: worker.to_owned(), hash, made: running.clock.now(), used: None };
    running.store.commit(vec![Persist::AddToken(token.clone())]).await?;
    tokens.add(token.clone());
    tracing::info!(worker, token = number.0, "a token was made for a worker");
    Ok(shown(running, token))
}

/// The tokens of a worker, or of all.
pub(crate) fn list(running: &Running, worker: Option<&str>) -> Result<Vec<view::WorkerToken>, TokenError> {
    let tokens = running.links.tokens();
    let tokens = match worker {
        Some(worker) => {
            is_configured(running, worker)?;
            tokens.of(worker)
        }
        None => tokens.all(),
    };
    Ok(tokens.into_iter().map(|token| shown(running, token)).collect())
}

/// A worker cannot connect any more by one of its tokens, or by any that a command made. It is sent away at once if it
/// came by it, whatever the disk does; this returns once that is durable.
pub(crate) async fn revoke(
    running: &Running,
    worker: &str,
    number: Option<u64>,
) -> Result<view::RevokedTokens, TokenError> {
    is_configured(running, worker)?;
    let has: Vec<TokenId> = running.links.tokens().of(worker).iter().map(|token| token.number).collect();
    let revoked = match number.map(TokenId) {
        None => has,
        Some(one) if has.contains(&one) => vec![one],
        Some(one) => {
            let names: Vec<String> = has.iter().map(|number| number.0.to_string()).collect();
            let hint = hint("", names.iter().map(String::as_str));
            return Err(TokenError::NoSuchToken { worker: worker.to_owned(), number: one.0, hint });
        }
    };
    let closed = take_away(&running.links, &running.store, worker, &revoked).await?;
    let configured = running.world.load().config.workers.iter().any(|one| {
        // What stands in the configuration is not for commands to revoke.
        one.name == worker && one.token_hash.is_some()
    });
    let revoked = revoked.into_iter().map(|number| number.0).collect();
    Ok(view::RevokedTokens { worker: worker.to_owned(), revoked, closed, configured })
}

/// Takes tokens of a worker away, first in memory, and says whether its link was closed for it.
async fn take_away(
    links: &Links,
    store: &Store,
    worker: &str,
    tokens: &[TokenId],
) -> Result<bool, TokenError> {
    if tokens.is_empty() {
        return Ok(links.revoke(worker, tokens).await);
    }
    let gone = tokens.iter().map(|number| (worker.to_owned(), *number)).collect();
    let forgotten = store.commit(vec![Persist::DropTokens(gone)]);
    // Neither waits for the other.
    let (closed, forgotten) = tokio::join!(links.revoke(worker, tokens), forgotten);
    forgotten.map_err(TokenError::NotForgotten)?;
    links.tokens().remove(worker, tokens);
    tracing::info!(worker, ?tokens, "tokens of a worker were revoked");
    Ok(closed)
}

/// Tells the store when tokens were used, as long as the master runs.
pub(crate) async fn mind(running: std::sync::Weak<Running>, tokens: Arc<Tokens>) {
    loop {
        let uses = tokens.uses().await;
        let Some(running) = running.upgrade() else { return };
        if let Err(error) = running.store.commit(uses).await {
            tracing::warn!(
                error = windlass_core::text::chain(&error),
                "failed to note when tokens were used"
            );
        }
    }
}

fn is_configured(running: &Running, name: &str) -> Result<(), TokenError> {
    if running.closing.is_cancelled() {
        return Err(TokenError::ShuttingDown);
    }
    let config = running.world.load().config.clone();
    if config.workers.iter().any(|worker| worker.name == name) {
        return Ok(());
    }
    let hint = hint(name, config.workers.iter().map(|worker| worker.name.as_str()));
    Err(TokenError::NoSuchWorker { name: name.to_owned(), hint })
}

fn shown(running: &Running, token: WorkerToken) -> view::WorkerToken {
    let connected = running.links.of(&token.worker);
    let WorkerToken { number, worker, hash: _, made, used } = token;
    let connected = connected.is_some_and(|link| link.token == Some(number));
    let revoked = !running.links.tokens().has(&worker, number);
    view::WorkerToken { worker, number: number.0, made, used, connected, revoked }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::timeout;
    use windlass_core::time::Timestamp;
    use windlass_protocol::message::Hello;
    use windlass_store::{DiskRoom, Options};

    use super::*;
    use crate::worker_link::tests::{Scripted, hello, limits, told, world_with};

    const BOUND: Duration = Duration::from_secs(30);

    /// Symptom: a worker whose token was revoked stayed for as long as a full disk held a mint or a reconfig up. Cause: who
    /// revokes waited for their turn, and the link was cut after the commit. Cure: it is cut first, and what is to be
    /// durable waits for nobody's turn.
    #[tokio::test]
    async fn a_revoked_worker_is_sent_away_before_the_disk_answers_and_the_answer_comes_after() {
        // The disk answers when it is let.
        let (answer, answers) = mpsc::channel::<()>();
        let answers = std::sync::Mutex::new(answers);
        let room = DiskRoom::new(move |_, _| {
            answers.lock().unwrap().recv().ok();
            Ok(u64::MAX)
        });
        let world = world_with(limits(), Options { room, ..Options::default() }).await;
        let mut told = told(&world).await;
        let number = TokenId(1);
        let hash = windlass_config::token_digest(&windlass_config::hash_token("made")).unwrap();
        let token = WorkerToken { number, worker: "w1".into(), hash, made: Timestamp(1), used: None };
        answer.send(()).unwrap();
        world.store.commit(vec![Persist::AddToken(token.clone())]).await.unwrap();
        world.links.tokens().add(token);
        let came = Hello { token: "made".into(), ..hello("w1") };
        let (mut worker, _) = Scripted::join(&world, came.clone()).await;
        told("up w1").await;

        // As somebody who makes a token has it while the disk is full.
        let _turn = world.links.tokens().turn().await;
        let tokens = [number];
        let mut revoking = Box::pin(take_away(&world.links, &world.store, "w1", &tokens));
        tokio::select! {
            done = &mut revoking => panic!("the disk has not answered: {done:?}"),
            () = worker.is_sent_away() => {}
        }
        told("down w1").await;
        assert_eq!(world.store.worker_tokens().unwrap().0.len(), 1);
        let (code, _, _) = Scripted::refused(&world, came).await;
        assert_eq!(code, "bad-token");
        drop(answer);
        assert!(timeout(BOUND, revoking).await.expect("the disk answers").unwrap());
        assert_eq!((world.store.worker_tokens().unwrap().0, world.links.tokens().all()), (vec![], vec![]));
    }
}
