//! Files under way: what steps and commands need of their surroundings for it.

use async_trait::async_trait;
use windlass_core::value::Failure;

/// `windlass:master/transfer`, for a running step.
#[async_trait]
pub trait StepTransfer: Send {
    /// A token for one upload, kept as the build's artifact `name`.
    async fn accept(&mut self, name: &str, max_bytes: u64) -> Result<String, Failure> {
        let _unused = (name, max_bytes);
        Err(Failure::unsupported("`transfer.accept`"))
    }
    /// A token to download a file below the master's public folder.
    async fn offer_file(&mut self, path: &str) -> Result<String, Failure> {
        let _unused = path;
        Err(Failure::unsupported("`transfer.offer-file`"))
    }
    /// A token to download these bytes; under the same name they are appended.
    async fn offer_bytes(&mut self, name: &str, data: Vec<u8>) -> Result<String, Failure> {
        let _unused = (name, data);
        Err(Failure::unsupported("`transfer.offer-bytes`"))
    }
    /// Appends to an artifact of the build.
    async fn append(&mut self, name: &str, data: Vec<u8>) -> Result<(), Failure> {
        let _unused = (name, data);
        Err(Failure::unsupported("`transfer.append`"))
    }
    /// Part of an artifact of the build; empty at its end.
    async fn read_artifact(&mut self, name: &str, offset: u64, max_bytes: u32) -> Result<Vec<u8>, Failure> {
        let _unused = (name, offset, max_bytes);
        Err(Failure::unsupported("`transfer.read`"))
    }
}

/// `windlass:worker/files.transfer-options`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of the record in wit/")]
pub struct TransferOptions {
    pub max_bytes: Option<u64>,
    pub keep_times: bool,
    pub compression: Option<String>,
}

/// The transfers of `windlass:worker/files`, for a running command.
#[async_trait]
pub trait CommandTransfer: Send {
    /// Sends a file to the master under a token: the number of bytes.
    async fn send_file(&mut self, token: &str, path: &str, options: TransferOptions) -> Result<u64, Failure> {
        let _unused = (token, path, options);
        Err(Failure::unsupported("`files.send-file`"))
    }
    /// Sends a tree in the same way.
    async fn send_tree(&mut self, token: &str, path: &str, options: TransferOptions) -> Result<u64, Failure> {
        let _unused = (token, path, options);
        Err(Failure::unsupported("`files.send-tree`"))
    }
    /// Receives a file under a token: the number of bytes.
    async fn receive_file(
        &mut self,
        token: &str,
        path: &str,
        mode: Option<u32>,
        max_bytes: Option<u64>,
    ) -> Result<u64, Failure> {
        let _unused = (token, path, mode, max_bytes);
        Err(Failure::unsupported("`files.receive-file`"))
    }
}
