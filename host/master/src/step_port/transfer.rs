//! Files between a step, its worker and the master: tokens that die with the step, and the artifacts that it
//! writes itself.
//!
//! A token is an entry of the journal: a step that is taken up hands out the same ones again. What it wrote itself it
//! writes again, beginning with the artifact that was there before; the row comes with the step's end.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use windlass_core::artifact::{ArtifactKind, check_name};
use windlass_core::id::ArtifactId;
use windlass_core::journal::{Call, Many};
use windlass_core::persist::Persist;
use windlass_core::value::Failure;
use windlass_protocol::transfer::{Sent, SentKind};
use windlass_runtime::port::StepTransfer;

use super::{Port, StepContext, StepState, replay};
use crate::build_driver::chain;
use crate::start::blocking;
use crate::transfer::download::{Source, not_found};
use crate::transfer::keep::{self, Making};
use crate::transfer::{Accept, Grant, Transfers};

/// The most tokens of one step: each may be a file.
const MAX_TOKENS: usize = 10_000;

/// The most bytes that a step may offer of its own: they are held in memory. Each piece counts for so much more.
const MAX_OFFERED: usize = 16 * 1024 * 1024;
const PIECE: usize = 64;

/// The most artifacts that a step may be writing itself: each is an open file.
const MAX_APPENDED: usize = 100;

/// What a step may do with files. Dropping it takes its tokens back.
pub(super) struct StepFiles {
    transfers: Transfers,
    tokens: Vec<String>,
    closed: CancellationToken,
    /// The step goes on in another master, with its tokens.
    is_left: bool,
    /// Names of what it offers: the token, and the bytes so far.
    offered: BTreeMap<String, (String, Pieces)>,
    offered_bytes: usize,
    /// Names that a command of it may upload, and those of them that it may upload more than once.
    accepted: BTreeMap<String, bool>,
    /// Artifacts that it writes itself, not finished yet.
    appended: BTreeMap<String, Appended>,
}

type Pieces = Arc<Mutex<Vec<Bytes>>>;

/// An artifact that a step writes itself. It stays here while something is being written: a step that is cut off
/// meanwhile leaves what it wrote.
#[derive(Clone)]
struct Appended {
    /// Where its bytes are meanwhile.
    path: PathBuf,
    /// None: it is finished.
    making: Arc<Mutex<Option<Making>>>,
}

impl Appended {
    fn new(making: Making) -> Appended {
        Appended { path: making.path(), making: Arc::new(Mutex::new(Some(making))) }
    }

    /// Does something with it after what is being written. Blocks.
    fn with<T>(&self, act: impl FnOnce(&mut Option<Making>) -> T) -> T {
        act(&mut self.making.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StepFiles {
    pub(super) fn new(transfers: Transfers) -> StepFiles {
        StepFiles {
            transfers,
            tokens: Vec::new(),
            closed: CancellationToken::new(),
            is_left: false,
            offered: BTreeMap::new(),
            offered_bytes: 0,
            accepted: BTreeMap::new(),
            appended: BTreeMap::new(),
        }
    }

    /// The step got this token before the master's restart, and will come to it again.
    pub(super) fn expect(&mut self, worker: &str, token: String) {
        if !self.tokens.contains(&token) {
            self.transfers.expect(token.clone(), worker.to_owned(), self.closed.clone());
            self.tokens.push(token);
        }
    }

    /// A token for this: a new one, or the one that it had `before`.
    fn grant(&mut self, worker: &str, grant: Grant, before: Option<&str>) -> Result<String, Failure> {
        let token = match before {
            Some(token) => token.to_owned(),
            None => self.new_token()?,
        };
        self.transfers.grant(token.clone(), worker.to_owned(), grant, self.closed.clone());
        Ok(token)
    }

    fn new_token(&mut self) -> Result<String, Failure> {
        if self.tokens.len() == MAX_TOKENS {
            return Err(Failure::new("quota", format!("a step may have {MAX_TOKENS} tokens of transfers")));
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| Failure::new("io", format!("there are no random numbers: {error}")))?;
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        self.tokens.push(token.clone());
        Ok(token)
    }

    /// A token for bytes: the one that they have, or one for the first of them.
    fn offer(
        &mut self,
        worker: &str,
        name: &str,
        data: Vec<u8>,
        before: Option<&str>,
    ) -> Result<String, Failure> {
        let known = self.offered.get(name);
        if let (Some((token, _)), true) = (known, data.is_empty()) {
            return Ok(token.clone());
        }
        let cost = PIECE + data.len() + if known.is_some() { 0 } else { name.len() };
        if self.offered_bytes + cost > MAX_OFFERED {
            let message = format!("a step may offer {MAX_OFFERED} bytes of its own");
            return Err(Failure::new("quota", message));
        }
        self.offered_bytes += cost;
        let data = Bytes::from(data);
        if let Some((token, pieces)) = known {
            pieces.lock().unwrap_or_else(PoisonError::into_inner).push(data);
            return Ok(token.clone());
        }
        let pieces = Arc::new(Mutex::new(vec![data]));
        let token = self.grant(worker, Grant::Offer(Source::Bytes(Arc::clone(&pieces))), before)?;
        self.offered.insert(name.to_owned(), (token.clone(), pieces));
        Ok(token)
    }
}

impl StepFiles {
    /// The master goes down: what is under way goes on as long as it can, and is not refused.
    pub(super) fn part(&mut self) {
        self.is_left = true;
    }
}

impl Drop for StepFiles {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        self.closed.cancel();
        self.transfers.revoke(&self.tokens);
    }
}

impl StepContext {
    /// What an artifact of this step is made with.
    fn accept(&self, transfers: &Transfers, name: &str, max_bytes: u64) -> Result<Accept, Failure> {
        check_name(name).map_err(|why| Failure::new("bad-argument", why))?;
        Ok(Accept {
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            build: self.build.id,
            fence: self.build.fence,
            step: self.step.id,
            name: name.to_owned(),
            limit: self.config.artifacts.limit(max_bytes),
            keep_free: self.config.artifacts.keep_free,
            stored: transfers.stored(),
        })
    }
}

impl StepState {
    /// Makes the artifacts that the step wrote itself durable, as far as that can be: their rows, for the commit that
    /// records its end.
    pub(super) async fn settle_files(&mut self) -> Vec<Persist> {
        let mut rows = Vec::new();
        for (name, appended) in std::mem::take(&mut self.files.appended) {
            match self.settle_file(&name, appended).await {
                Ok(row) => rows.extend(row),
                Err(failure) => self.break_off(&format!(
                    "an artifact that the step wrote could not be kept: {}",
                    failure.message
                )),
            }
        }
        rows
    }

    async fn settle_file(&mut self, name: &str, appended: Appended) -> Result<Option<Persist>, Failure> {
        let accept = self.context.accept(&self.files.transfers, name, u64::MAX)?;
        let build = accept.build;
        let made = blocking(move || {
            let making = appended.with(Option::take);
            making.map(|making| making.finish(build, None)).transpose()
        });
        let row = made.await?.map(|made| accept.row(made));
        // In a moment it is stored.
        accept.stored.notify_one();
        Ok(row)
    }

    /// An artifact that the step writes itself. Which artifact it begins with is an entry of the journal: a step that is
    /// taken up begins with the same.
    async fn appending(&mut self, name: &str) -> Result<Appended, Failure> {
        if let Some(appended) = self.files.appended.get(name) {
            return Ok(appended.clone());
        }
        let args = replay::args(&[b"the first of", name.as_bytes()]);
        let before = self.replayed::<Result<Option<ArtifactId>, Failure>>(Call::Append, args)?;
        if let Some(Err(failure)) = before {
            return Err(failure);
        }
        let begun = self.begin_appending(name, before.is_none()).await;
        if before.is_none() {
            self.record(Call::Append, args, &begun.as_ref().map(|(_, first)| *first));
        }
        let (appended, first) = begun?;
        if before.is_some_and(|before| before != Ok(first)) {
            return Err(
                self.diverged(&format!("the artifact `{name}`, to which the step appends, was replaced"))
            );
        }
        self.files.appended.insert(name.to_owned(), appended.clone());
        Ok(appended)
    }

    /// Begins it with what there is of it already, and says which artifact that is. An upload that may still take its
    /// place is in the way, where this is `live`: nobody could begin with the same again.
    async fn begin_appending(
        &mut self,
        name: &str,
        live: bool,
    ) -> Result<(Appended, Option<ArtifactId>), Failure> {
        if self.files.appended.len() == MAX_APPENDED {
            let message = format!("a step may be writing {MAX_APPENDED} artifacts itself");
            return Err(Failure::new("quota", message));
        }
        let accept = self.context.accept(&self.files.transfers, name, u64::MAX)?;
        let accepted = self.files.accepted.get(name).copied().filter(|_| live);
        let begun = blocking(move || {
            let store = &accept.store;
            let before = keep::open(store, accept.build, &accept.name).map_err(|error| io(&error))?;
            let is_there = before.as_ref().is_some_and(|before| before.row.step == accept.step);
            if accepted.is_some_and(|again| again || !is_there) {
                let message = format!(
                    "a command of the step may upload the artifact `{}` still: nothing can be appended",
                    accept.name
                );
                return Err(Failure::new("bad-argument", message));
            }
            let sent = Sent { kind: SentKind::File, mode: 0o644, modified_ms: None, compression: None };
            let id = store.ids().next_artifact();
            let mut making =
                Making::begin(store.artifact_files(), id, &sent, accept.limit, accept.keep_free)?;
            let first = before.as_ref().map(|before| before.row.id);
            match before {
                None => {}
                Some(keep::Opened { row, .. }) if row.kind == ArtifactKind::Tree => {
                    let message = format!("the artifact `{}` is a tree: nothing can be appended", row.name);
                    return Err(Failure::new("bad-argument", message));
                }
                Some(keep::Opened { file, .. }) => {
                    let file = file.expect("an artifact that is no tree is a file");
                    keep::copy_into(&mut making, file)?;
                }
            }
            Ok((Appended::new(making), first))
        });
        begun.await
    }

    /// The token that the journal has for a call; none: the call is live.
    fn token_before(&mut self, call: Call, args: u64) -> Result<Option<String>, Failure> {
        self.replayed::<Result<String, Failure>>(call, args)?.transpose()
    }

    /// Hands a token out: a new one, of which the journal keeps what came of it, or the one of `before`.
    fn hand_out(
        &mut self,
        (call, args): (Call, u64),
        before: Option<&str>,
        granted: Result<String, Failure>,
    ) -> Result<String, Failure> {
        match (before, granted) {
            (Some(_), Err(failure)) => {
                Err(self.diverged(&format!("a file was offered or accepted, and cannot be again: {failure}")))
            }
            (Some(_), granted) => granted,
            (None, granted) => {
                self.record(call, args, &granted);
                granted
            }
        }
    }

    async fn write(&mut self, name: &str, data: Vec<u8>) -> Result<(), Failure> {
        let appended = self.appending(name).await?;
        // What was written before stays, whatever comes of this.
        blocking(move || {
            appended.with(|making| match making {
                Some(making) => making.write(&data),
                None => Err(Failure::new("io", "the artifact is finished")),
            })
        })
        .await
    }
}

fn io(error: &keep::OpenFailed) -> Failure {
    Failure::new("io", chain(error))
}

#[async_trait]
impl StepTransfer for Port {
    async fn accept(&mut self, name: &str, max_bytes: u64) -> Result<String, Failure> {
        let state = self.state();
        let args = replay::args_of(&(name, max_bytes));
        let before = state.token_before(Call::Accept, args)?;
        let StepState { context, files, .. } = &mut *state;
        let accept = context.accept(&files.transfers, name, max_bytes);
        let granted = accept.and_then(|accept| {
            if before.is_none() && files.appended.contains_key(name) {
                let message = format!("the step is writing the artifact `{name}` itself");
                return Err(Failure::new("bad-argument", message));
            }
            files.grant(&context.build.worker, Grant::Accept(Arc::new(accept)), before.as_deref())
        });
        if granted.is_ok() {
            files.accepted.entry(name.to_owned()).and_modify(|again| *again = true).or_insert(false);
        }
        state.hand_out((Call::Accept, args), before.as_deref(), granted)
    }

    async fn offer_file(&mut self, path: &str) -> Result<String, Failure> {
        let state = self.state();
        let args = replay::args_of(&path);
        let before = state.token_before(Call::OfferFile, args)?;
        let folder = match state.files.transfers.public().cloned() {
            // Whoever downloads it finds out whether it is there still.
            Some(folder) if before.is_some() => Some(folder),
            Some(folder) => {
                let (beneath, wanted) = (folder.clone(), path.to_owned());
                let there = blocking(move || keep::open_beneath(&beneath, &wanted)).await;
                there.ok().flatten().map(|_| folder)
            }
            None => None,
        };
        let StepState { context, files, .. } = &mut *state;
        let granted = folder.ok_or_else(|| not_found(path)).and_then(|folder| {
            let source = Source::File { folder, path: path.to_owned() };
            files.grant(&context.build.worker, Grant::Offer(source), before.as_deref())
        });
        state.hand_out((Call::OfferFile, args), before.as_deref(), granted)
    }

    async fn offer_bytes(&mut self, name: &str, data: Vec<u8>) -> Result<String, Failure> {
        let state = self.state();
        let args = replay::args(&[name.as_bytes(), &data]);
        let before = state.token_before(Call::OfferBytes, args)?;
        let StepState { context, files, .. } = &mut *state;
        let granted = files.offer(&context.build.worker, name, data, before.as_deref());
        state.hand_out((Call::OfferBytes, args), before.as_deref(), granted)
    }

    async fn append(&mut self, name: &str, data: Vec<u8>) -> Result<(), Failure> {
        let state = self.state();
        let args = replay::args(&[name.as_bytes(), &data]);
        // First the entry of the artifact that it begins with, if this begins it.
        state.appending(name).await?;
        let before = state.made_before(Many::Pieces, args)?;
        if let Some(Err(failure)) = before {
            return Err(failure);
        }
        let written = state.write(name, data).await;
        match (before, &written) {
            (Some(_), Err(failure)) => {
                let why = format!("what was appended to the artifact `{name}` cannot be again: {failure}");
                return Err(state.diverged(&why));
            }
            (Some(_), Ok(())) => {}
            (None, Ok(())) => state.journal.made(Many::Pieces, args),
            (None, Err(_)) => state.record(Call::Append, args, &written),
        }
        written
    }

    async fn read_artifact(&mut self, name: &str, offset: u64, max_bytes: u32) -> Result<Vec<u8>, Failure> {
        let state = self.state();
        let args = replay::args_of(&(name, offset, max_bytes));
        if let Some(before) = state.replayed::<Result<Bytes, Failure>>(Call::ReadArtifact, args)? {
            return before.map(Vec::from);
        }
        let read = state.read(name, offset, max_bytes).await.map(Bytes::from);
        state.now = state.context.clock.now();
        state.record(Call::ReadArtifact, args, &read);
        read.map(Vec::from)
    }
}

impl StepState {
    /// Reads from an artifact of the build, one that the step itself is writing among them.
    async fn read(&mut self, name: &str, offset: u64, max_bytes: u32) -> Result<Vec<u8>, Failure> {
        let writing = self.files.appended.get(name).map(|appended| appended.path.clone());
        let (store, build, wanted) = (self.context.store.clone(), self.context.build.id, name.to_owned());
        blocking(move || {
            let file = match writing {
                Some(path) => std::fs::File::open(path).map_err(|error| io(&error.into()))?,
                None => {
                    let found = keep::open(&store, build, &wanted).map_err(|error| io(&error))?;
                    found.and_then(|found| found.file).ok_or_else(|| {
                        Failure::new(
                            "not-found",
                            format!("this build has no artifact `{wanted}` that is a file"),
                        )
                    })?
                }
            };
            let mut data = vec![0; max_bytes as usize];
            let mut filled = 0;
            while filled < data.len() {
                match file.read_at(&mut data[filled..], offset + filled as u64) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(io(&error.into())),
                }
            }
            data.truncate(filled);
            Ok(data)
        })
        .await
    }
}
