//! The messages between a worker and its master. Every one is a MessagePack map with named fields;
//! a reader ignores fields that it does not know. `docs/protocol.md` describes them for others.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use windlass_core::digest::Digest;
use windlass_core::policy::Usage;
use windlass_core::value::{Completion, Failure, Origin, Pair};

use crate::transfer::{Part, Sent, TransferId};

/// The version of this protocol. A minor difference is bridged by `features`.
pub const PROTOCOL: u32 = 2;

/// Names one remote command for ever: derived from build, step, attempt and ordinal, so that a
/// duplicate is recognised. 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandUid(pub String);

/// From a worker to its master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToMaster {
    /// The first message of a connection.
    Hello(Hello),
    /// A numbered update of a command. Sent again after a reconnect until acknowledged.
    Update {
        /// The command.
        command: CommandUid,
        /// From 1, without gaps.
        number: u64,
        /// What happened.
        update: Update,
    },
    /// The worker lacks a component that it was told to run.
    Need {
        /// Its digest.
        digest: Digest,
    },
    /// An answer to `Ping`.
    Pong {
        /// As in the ping.
        nonce: u64,
    },
    /// A fresh look at the machine, for `slave-info.load`.
    Status {
        /// The load average over one minute, divided by the number of cores.
        load: f64,
    },
    /// The worker will take no more work and leaves when its commands have ended.
    Draining,
    /// It wants to send a file or a tree under a token. Said again on each link until it is over; `Ready`
    /// answers it, and parts follow that only.
    Send {
        /// Which one.
        transfer: TransferId,
        /// What allows it.
        token: String,
        /// What comes.
        sent: Sent,
    },
    /// It wants what a token stands for. Said again on each link; the master sends what follows `received`.
    Receive {
        /// Which one.
        transfer: TransferId,
        /// What allows it.
        token: String,
        /// The number of the last part that it has.
        received: u64,
    },
    /// A numbered part of what it sends.
    Part {
        /// Of which transfer.
        transfer: TransferId,
        /// From 1, without gaps.
        number: u64,
        /// The part.
        part: Part,
    },
    /// It has written all parts up to a number of what it receives.
    Taken {
        /// Of which transfer.
        transfer: TransferId,
        /// The number.
        number: u64,
    },
    /// It goes no further with a transfer.
    GiveUp {
        /// With which one.
        transfer: TransferId,
    },
}

/// Who a worker is, what it speaks and what it still has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The newest `windlass:worker` contract that it runs: `0.1.0`.
    pub contract: String,
    /// What it can do beyond this version.
    pub features: Vec<String>,
    /// Its name in the master's configuration.
    pub name: String,
    /// The token in clear; the link is TLS or local.
    pub token: String,
    /// Random, kept in the worker's directory for its whole life.
    pub instance: String,
    /// Counts starts of the worker; among equal instances the newest wins.
    pub epoch: u64,
    /// What ended the start before this one, and its commands with it, if that was not in good order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Loss>,
    /// `control` or `bulk`.
    pub lane: String,
    /// The version of the program.
    pub version: String,
    /// Facts about the machine: `os`, `arch`, `cores`, `hostname`.
    pub facts: Vec<Pair>,
    /// Commands that it knows, running or ended but not acknowledged: the last number it has.
    pub commands: Vec<(CommandUid, u64)>,
}

/// What ended a worker that did not end itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Its holder was killed, which has the processes of its commands.
    WorkerKilled,
    /// Its machine was started anew.
    MachineRestarted,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Update {
    /// Bytes for a log of the step.
    Log {
        /// The log's name.
        log: String,
        /// The stream.
        origin: Origin,
        /// At most 32 KiB.
        data: Bytes,
    },
    /// A structured update.
    Values {
        /// The values.
        values: Vec<Pair>,
    },
    /// A diagnostic message of the command's component (`windlass:base/log`).
    Diagnostic {
        /// `debug`, `info`, `warn`, `error`.
        level: String,
        /// The text.
        message: String,
    },
    /// The last update: how it ended.
    Done {
        /// The command's answer.
        how: Result<Completion, Failure>,
        /// `core::journal::chain` over the data of all `Log` updates of this command but headers, in order.
        log_hash: Digest,
        /// What its component cost; none: it never ran, or an older worker ran it.
        #[serde(default)]
        usage: Option<Usage>,
    },
}

/// From a master to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToWorker {
    /// The hello was accepted.
    Welcome {
        /// [`PROTOCOL`], the master's.
        protocol: u32,
        /// Features that both have.
        features: Vec<String>,
        /// Which numbers the master has of each command that it still cares about. Commands that the
        /// worker has and this does not name are to be interrupted and forgotten.
        commands: Vec<(CommandUid, u64)>,
        /// The master pings at least this often; twice that without a word means that the link is dead.
        keepalive_ms: u64,
    },
    /// The hello was refused; the link closes. `code`: `bad-token`, `unknown-worker`, `name-taken`,
    /// `too-old`, `too-new`, `draining`.
    Refused {
        /// One of the documented constants.
        code: String,
        /// One sentence for people, with what to do.
        message: String,
        /// Whether to try again later.
        retry: bool,
    },
    /// Run a command. A uid that the worker knows already is not started again.
    Start(Start),
    /// Stop a command.
    Interrupt {
        /// The command.
        command: CommandUid,
        /// Why.
        reason: String,
    },
    /// All updates of a command up to `number` are durable and need not be kept.
    Ack {
        /// The command.
        command: CommandUid,
        /// The number.
        number: u64,
    },
    /// A part of a component that the worker needs.
    Component {
        /// Its digest.
        digest: Digest,
        /// Where this part begins.
        offset: u64,
        /// The whole length.
        total: u64,
        /// At most 32 KiB.
        data: Bytes,
    },
    /// The master has no such component (any more); commands that wait for it fail.
    NoComponent {
        /// Its digest.
        digest: Digest,
    },
    /// To be answered by `Pong`.
    Ping {
        /// Any number.
        nonce: u64,
    },
    /// The answer to `Send`: parts are taken, from the one after `received`.
    Ready {
        /// Of which transfer.
        transfer: TransferId,
        /// The number of the last part that the master has.
        received: u64,
    },
    /// A numbered part of what the worker receives.
    Part {
        /// Of which transfer.
        transfer: TransferId,
        /// From 1, without gaps.
        number: u64,
        /// The part.
        part: Part,
    },
    /// The master has written all parts up to a number of what the worker sends.
    Taken {
        /// Of which transfer.
        transfer: TransferId,
        /// The number.
        number: u64,
    },
    /// What the worker sends is durable, with so many bytes; or a transfer of either kind failed.
    Over {
        /// Which one.
        transfer: TransferId,
        /// How it ended.
        how: Result<u64, Failure>,
    },
    /// The master closes the link.
    Bye {
        /// Why the master closes the link: `shutdown`, `replaced`, or that the worker was removed.
        reason: String,
    },
}

/// A command to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Its name for ever.
    pub command: CommandUid,
    /// The hook within the component: `shell`.
    pub hook: String,
    /// The plugin's name, for messages.
    pub plugin: String,
    /// The component.
    pub digest: Digest,
    /// JSON text.
    pub args: String,
    /// The builder's directory below the worker's base.
    pub builddir: String,
    /// Added to the worker's environment for every child of the command.
    pub env: Vec<(String, String)>,
    /// Capabilities that the master's configuration grants: name and scope.
    pub grants: Vec<(String, Vec<String>)>,
    /// All that its builder lists: the command may use those that it is granted, and what it says is masked
    /// with all. Kept in memory alone, on both sides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
}

/// A secret on its way to the processes of one command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// As the configuration calls it.
    pub name: String,
    /// What stands for it in texts.
    pub placeholder: String,
    /// What a process gets.
    pub value: SecretValue,
    /// Values that the build used before this one: masked, and given to nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<SecretValue>,
}

/// The bytes of a secret. Shown to nobody: neither a log nor a failed test prints them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretValue(pub Bytes);

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretValue(…)")
    }
}
