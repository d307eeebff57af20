//! Every durable effect, as one closed enum. `store::commit` takes a list of them: all or nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::artifact::ArtifactRow;
use crate::builder::{Builder, StepSpec};
use crate::change::Change;
use crate::decision::Decision;
use crate::digest::Digest;
use crate::id::{ArtifactId, BuildId, BuildsetId, Fence, LogId, MasterId, RequestId, StepId, TokenId};
use crate::journal::{Entry, Mark};
use crate::master::{Master, Overdue};
use crate::outcome::Outcome;
use crate::record::{BuildRow, LogRow, StepRow, StopRow};
use crate::report::Taken;
use crate::request::{Buildset, Request};
use crate::test_result::TestResult;
use crate::time::Timestamp;
use crate::value::Origin;
use crate::worker_token::WorkerToken;

/// One durable effect. Those that belong to a build carry its fence and are refused if it is stale.
#[derive(Clone, Debug, PartialEq)]
pub enum Persist {
    /// A change arrived.
    AddChange(Change),
    /// A buildset with its requests.
    AddBuildset {
        /// The buildset.
        buildset: Buildset,
        /// Its requests, in the order of `buildset.requests`.
        requests: Vec<Request>,
    },
    /// Claims all of these requests, or none.
    Claim {
        /// The requests.
        requests: Vec<RequestId>,
        /// Who claims.
        master: MasterId,
        /// Larger than any fence that these requests have seen.
        fence: Fence,
        /// When.
        at: Timestamp,
    },
    /// Gives back requests that are held under `fence`; those that are not are left alone.
    Unclaim {
        /// The requests.
        requests: Vec<RequestId>,
        /// The fence of the claim.
        fence: Fence,
    },
    /// Renews the claim of all of these requests, or of none: each must be held under `fence`.
    Renew {
        /// The requests.
        requests: Vec<RequestId>,
        /// The fence of the claim.
        fence: Fence,
        /// The claim's new moment.
        at: Timestamp,
    },
    /// Gives all of these requests another priority, or none: each must exist and not be complete. A row
    /// that changes gets a new version.
    SetPriority {
        /// The requests.
        requests: Vec<RequestId>,
        /// Larger is sooner.
        priority: i32,
    },
    /// Completes requests that are held under `fence`. A buildset whose last request this is gets the
    /// worst outcome of all.
    Complete {
        /// The requests.
        requests: Vec<RequestId>,
        /// The fence of the claim.
        fence: Fence,
        /// How they ended.
        outcome: Outcome,
        /// When.
        at: Timestamp,
    },
    /// Puts a master's row, new or changed. Its name must be its own.
    PutMaster(Master),
    /// A master says that it is there.
    Heartbeat {
        /// The master.
        master: MasterId,
        /// When.
        at: Timestamp,
    },
    /// Takes overdue claims away, as the first effect of its batch: their requests wait again, their running builds end as *retry* with
    /// their steps, and their logs are finished. `fence` is minted for it as for a claim, and refuses every
    /// later write of these builds.
    Expire {
        /// Which claims.
        overdue: Overdue,
        /// Larger than any fence that their requests have seen.
        fence: Fence,
        /// When.
        at: Timestamp,
    },
    /// Puts a build's row, new or changed. Its fence must be the one that its requests are held under.
    PutBuild(BuildRow),
    /// Puts a step's row, new or changed.
    PutStep {
        /// The fence of its build.
        fence: Fence,
        /// The row.
        step: StepRow,
    },
    /// Keeps a builder under the digest that the rows of its builds name, unless it is kept already.
    PutPlan {
        /// [`Builder::digest`].
        digest: Digest,
        /// The builder.
        builder: Arc<Builder>,
    },
    /// Takes away the plans that no running build names.
    TrimPlans,
    /// Keeps the steps that join a build behind one that has ended, until the build ends.
    AddSteps {
        /// The fence of its build.
        fence: Fence,
        /// The build.
        build: BuildId,
        /// The step that added them.
        step: StepId,
        /// They, under the names that they have in the build.
        specs: Vec<StepSpec>,
    },
    /// Keeps the order to stop a build, until it ends; of one that has ended it is forgotten.
    PutStop {
        /// The fence of the build.
        fence: Fence,
        /// The order.
        stop: StopRow,
    },
    /// Adds test results of a step: they follow the `first` that were there before.
    AddTests {
        /// The fence of its build.
        fence: Fence,
        /// The build.
        build: BuildId,
        /// The step.
        step: StepId,
        /// How many of its results came before.
        first: u64,
        /// The results.
        results: Arc<Vec<TestResult>>,
    },
    /// Puts a figure of a step.
    PutStatistic {
        /// The fence of its build.
        fence: Fence,
        /// The build.
        build: BuildId,
        /// The step.
        step: StepId,
        /// What it is a figure of.
        name: String,
        /// The figure.
        value: f64,
    },
    /// Adds a piece to the journal of a running step. The journal is gone once the step's row is complete.
    AppendJournal {
        /// The fence of its build.
        fence: Fence,
        /// The build.
        build: BuildId,
        /// The step.
        step: StepId,
        /// How many pieces came before.
        piece: u32,
        /// What it adds.
        entries: Arc<Vec<Entry>>,
    },
    /// Puts how far a command of a running step is durable; gone as the journal is.
    PutMark {
        /// The fence of its build.
        fence: Fence,
        /// The build.
        build: BuildId,
        /// The step.
        step: StepId,
        /// The command's number within the step.
        command: u32,
        /// How far.
        mark: Mark,
    },
    /// Puts a log's row, new or changed.
    PutLog {
        /// The fence of its build.
        fence: Fence,
        /// The row.
        log: LogRow,
    },
    /// Appends to a log, at `offset`, which must be its length so far.
    AppendLog {
        /// The fence of its build.
        fence: Fence,
        /// The build.
        build: BuildId,
        /// The log.
        log: LogId,
        /// The log's length before.
        offset: u64,
        /// The stream.
        origin: Origin,
        /// The bytes.
        data: bytes::Bytes,
    },
    /// Puts an artifact's row, in the place of one with its name. Its bytes are durable already.
    PutArtifact {
        /// The fence of its build.
        fence: Fence,
        /// The row.
        artifact: ArtifactRow,
    },
    /// Takes artifacts away; those that are gone are no error.
    DropArtifacts(Vec<ArtifactId>),
    /// Keeps the record of a decision for as long as the budget of records lasts.
    AddDecision(Arc<Decision>),
    /// An event of a reporter is done with; one that is gone already is no error.
    TakeEvent {
        /// The reporter's name.
        reporter: String,
        /// The event's place in its line.
        place: u64,
        /// How it went.
        taken: Taken,
    },
    /// Takes away the lines of all reporters that the store does not tell builds to, with what waits in them.
    KeepReporters,
    /// Puts or removes a value of somebody's small state: a poller, a scheduler, a plugin.
    PutState {
        /// Whose: `poller/main`, `scheduler/ci`.
        owner: String,
        /// The key.
        key: String,
        /// None: removed.
        value: Option<Vec<u8>>,
    },
    /// Adds a token of a worker.
    AddToken(WorkerToken),
    /// Notes when a token was used last; one that is gone is no error.
    UseToken {
        /// The worker.
        worker: String,
        /// Its token.
        token: TokenId,
        /// When.
        at: Timestamp,
    },
    /// Takes tokens of workers away; those that are gone are no error.
    DropTokens(Vec<(String, TokenId)>),
}

/// What a commit settled besides what it was told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    /// Buildsets that are complete now, with their outcome.
    pub buildsets: Vec<(BuildsetId, Outcome)>,
    /// Requests whose claim was taken away as overdue.
    pub freed: Vec<RequestId>,
    /// Running builds that ended as *retry* with it.
    pub cut_off: Vec<BuildId>,
    /// Artifacts whose row is gone, so that their bytes have to go.
    pub dropped: Vec<(BuildId, ArtifactId)>,
}

/// Why a commit was refused; nothing of it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Someone holds one of the requests, or it is complete, or it does not exist.
    #[error("{0} cannot be claimed: it is held, complete, or does not exist")]
    AlreadyClaimed(RequestId),
    /// The request is not held under this fence.
    #[error(
        "{request} is not held under {fence}: it is complete, was given back, claimed anew, or never claimed"
    )]
    NotClaimed {
        /// The request.
        request: RequestId,
        /// The fence that was offered.
        fence: Fence,
    },
    /// A claim under a fence that the request has seen already, or a larger one.
    #[error("{request} cannot be claimed under {offered}: it has seen {newest}")]
    OldFence {
        /// The request.
        request: RequestId,
        /// The fence that was offered.
        offered: Fence,
        /// The largest that it has seen.
        newest: Fence,
    },
    /// *Retry* does not complete a request: it is given back instead.
    #[error("{0} cannot be completed with retry: it has to be given back")]
    RetryIsNoEnd(RequestId),
    /// The request is complete, or does not exist.
    #[error("{0} cannot be changed: it is complete, or does not exist")]
    NotOpen(RequestId),
    /// A new request under a number that another one has.
    #[error("{0} exists already")]
    Exists(RequestId),
    /// A new buildset under a number that another one has.
    #[error("{0} exists already")]
    BuildsetExists(BuildsetId),
    /// An expiry that is not the first effect of its batch.
    #[error("taking claims away must come first in its batch")]
    ExpiryNotFirst,
    /// A master that has no row.
    #[error("{0} does not exist")]
    UnknownMaster(MasterId),
    /// A master's name that another one has.
    #[error("{master} cannot be called `{name}`: {by} is")]
    NameTaken {
        /// Who wants it.
        master: MasterId,
        /// The name.
        name: String,
        /// Who has it.
        by: MasterId,
    },
    /// The claims of a master that said something since.
    #[error("the claims of {master} do not expire: it was there at {last_active} ms")]
    MasterAlive {
        /// The master.
        master: MasterId,
        /// When it was heard last, in milliseconds since 1970.
        last_active: u64,
    },
    /// A write of something of a build that has no row.
    #[error("{0} does not exist")]
    UnknownBuild(BuildId),
    /// A write of a build whose claim is no longer its own.
    #[error("a write of {build} under {offered} was refused: the claim has passed to {current}")]
    StaleFence {
        /// The build.
        build: BuildId,
        /// The fence that the write carried.
        offered: Fence,
        /// The newest fence of its requests.
        current: Fence,
    },
    /// Test results that do not continue those of their step.
    #[error("{step} has {there} test results, more came for place {offered}")]
    TestGap {
        /// The step.
        step: StepId,
        /// How many it has.
        there: u64,
        /// Where the new ones wanted to go.
        offered: u64,
    },
    /// An append that does not continue the log.
    #[error("{log} has {length} bytes, an append came for offset {offset}")]
    LogGap {
        /// The log.
        log: LogId,
        /// Its length.
        length: u64,
        /// Where the append wanted to go.
        offset: u64,
    },
}
