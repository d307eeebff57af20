//! Files between a step, its worker and the master: tokens that die with the step, and the artifacts that it
//! writes itself.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use windlass_core::artifact::{ArtifactKind, check_name};
use windlass_core::value::Failure;
use windlass_protocol::transfer::{Sent, SentKind};
use windlass_runtime::port::StepTransfer;

use super::{Port, StepContext, StepState};
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
            appended: BTreeMap::new(),
        }
    }

    fn grant(&mut self, worker: &str, grant: Grant) -> Result<String, Failure> {
        if self.tokens.len() == MAX_TOKENS {
            return Err(Failure::new("quota", format!("a step may have {MAX_TOKENS} tokens of transfers")));
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| Failure::new("io", format!("there are no random numbers: {error}")))?;
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        self.transfers.grant(token.clone(), worker.to_owned(), grant, self.closed.clone());
        self.tokens.push(token.clone());
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
    /// Gives the artifacts that the step wrote itself their rows, as far as that can be; the first failure.
    pub(super) async fn settle_files(&mut self) -> Result<(), Failure> {
        let mut settled = Ok(());
        for (name, appended) in std::mem::take(&mut self.files.appended) {
            let kept = self.settle_file(&name, appended).await;
            settled = settled.and(kept);
        }
        settled
    }

    async fn settle_file(&mut self, name: &str, appended: Appended) -> Result<(), Failure> {
        let accept = self.context.accept(&self.files.transfers, name, u64::MAX)?;
        let build = accept.build;
        let made = blocking(move || {
            let making = appended.with(Option::take);
            making.map(|making| making.finish(build, None)).transpose()
        });
        match made.await? {
            Some(made) => accept.keep(made).await,
            None => Ok(()),
        }
    }

    /// Begins an artifact that the step writes itself, with what there is of it already.
    async fn appending(&mut self, name: &str) -> Result<Appended, Failure> {
        if let Some(appended) = self.files.appended.get(name) {
            return Ok(appended.clone());
        }
        if self.files.appended.len() == MAX_APPENDED {
            let message = format!("a step may be writing {MAX_APPENDED} artifacts itself");
            return Err(Failure::new("quota", message));
        }
        let accept = self.context.accept(&self.files.transfers, name, u64::MAX)?;
        let begun = blocking(move || {
            let store = &accept.store;
            let before = keep::open(store, accept.build, &accept.name).map_err(|error| io(&error))?;
            let sent = Sent { kind: SentKind::File, mode: 0o644, modified_ms: None, compression: None };
            let id = store.ids().next_artifact();
            let mut making =
                Making::begin(store.artifact_files(), id, &sent, accept.limit, accept.keep_free)?;
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
            Ok(Appended::new(making))
        });
        let appended: Appended = begun.await?;
        self.files.appended.insert(name.to_owned(), appended.clone());
        Ok(appended)
    }
}

fn io(error: &keep::OpenFailed) -> Failure {
    Failure::new("io", chain(error))
}

#[async_trait]
impl StepTransfer for Port {
    async fn accept(&mut self, name: &str, max_bytes: u64) -> Result<String, Failure> {
        self.state().give_up_journal("it received files");
        let StepState { context, files, .. } = self.state();
        let accept = Arc::new(context.accept(&files.transfers, name, max_bytes)?);
        files.grant(&context.build.worker, Grant::Accept { accept, used: false })
    }

    async fn offer_file(&mut self, path: &str) -> Result<String, Failure> {
        self.state().give_up_journal("it offered files");
        let state = self.state();
        let Some(folder) = state.files.transfers.public().cloned() else {
            return Err(not_found(path));
        };
        let source = Source::File { folder: folder.clone(), path: path.to_owned() };
        let wanted = path.to_owned();
        let there = blocking(move || keep::open_beneath(&folder, &wanted)).await;
        if there.ok().flatten().is_none() {
            return Err(not_found(path));
        }
        let StepState { context, files, .. } = state;
        files.grant(&context.build.worker, Grant::Offer(source))
    }

    async fn offer_bytes(&mut self, name: &str, data: Vec<u8>) -> Result<String, Failure> {
        self.state().give_up_journal("it offered bytes");
        let StepState { context, files, .. } = self.state();
        let known = files.offered.get(name);
        if let (Some((token, _)), true) = (known, data.is_empty()) {
            return Ok(token.clone());
        }
        let cost = PIECE + data.len() + if known.is_some() { 0 } else { name.len() };
        if files.offered_bytes + cost > MAX_OFFERED {
            let message = format!("a step may offer {MAX_OFFERED} bytes of its own");
            return Err(Failure::new("quota", message));
        }
        files.offered_bytes += cost;
        let data = Bytes::from(data);
        if let Some((token, pieces)) = files.offered.get(name) {
            pieces.lock().unwrap_or_else(PoisonError::into_inner).push(data);
            return Ok(token.clone());
        }
        let pieces = Arc::new(Mutex::new(vec![data]));
        let token = files.grant(&context.build.worker, Grant::Offer(Source::Bytes(Arc::clone(&pieces))))?;
        files.offered.insert(name.to_owned(), (token.clone(), pieces));
        Ok(token)
    }

    async fn append(&mut self, name: &str, data: Vec<u8>) -> Result<(), Failure> {
        self.state().give_up_journal("it wrote an artifact");
        let state = self.state();
        let appended = state.appending(name).await?;
        // What was written before stays, whatever comes of this.
        blocking(move || {
            appended.with(|making| match making {
                Some(making) => making.write(&data),
                None => Err(Failure::new("io", "the artifact is finished")),
            })
        })
        .await
    }

    async fn read_artifact(&mut self, name: &str, offset: u64, max_bytes: u32) -> Result<Vec<u8>, Failure> {
        self.state().give_up_journal("it read an artifact");
        let state = self.state();
        let writing = state.files.appended.get(name).map(|appended| appended.path.clone());
        let (store, build, wanted) = (state.context.store.clone(), state.context.build.id, name.to_owned());
        let read = blocking(move || {
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
        .await;
        state.now = state.context.clock.now();
        read
    }
}
