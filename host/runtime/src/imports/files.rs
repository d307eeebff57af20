//! `windlass:worker/files`: files below the builder directory. The port opens them.

use windlass_core::value::Failure;

use crate::bindings::worker::windlass::worker::files;
use crate::bounds;
use crate::imports::Answer;
use crate::port::{CommandPort, TransferOptions};
use crate::state::State;

impl State {
    fn files(&mut self) -> wasmtime::Result<&mut dyn CommandPort> {
        self.command("windlass:worker/files")
    }
}

impl files::Host for State {
    async fn make_directory(&mut self, path: String) -> Answer {
        let done = match bounds::path("the path", &path) {
            Ok(()) => self.files()?.make_directory(&path).await,
            Err(failure) => Err(failure),
        };
        self.answer(done)
    }

    async fn remove(&mut self, path: String) -> Answer {
        let done = match bounds::path("the path", &path) {
            Ok(()) => self.files()?.remove(&path).await,
            Err(failure) => Err(failure),
        };
        self.answer(done)
    }

    async fn copy(&mut self, source_path: String, target_path: String) -> Answer {
        let checked = bounds::path("the source path", &source_path)
            .and_then(|()| bounds::path("the target path", &target_path));
        let copied = match checked {
            Ok(()) => self.files()?.copy(&source_path, &target_path).await,
            Err(failure) => Err(failure),
        };
        self.answer(copied)
    }

    async fn stat(&mut self, path: String) -> Answer<files::Entry> {
        let found = match bounds::path("the path", &path) {
            Ok(()) => self.files()?.stat(&path).await,
            Err(failure) => Err(failure),
        };
        self.answer(found)
    }

    async fn entries(&mut self, directory: String) -> Answer<Vec<files::Entry>> {
        let found = match bounds::path("the path", &directory) {
            Ok(()) => self.files()?.entries(&directory).await,
            Err(failure) => Err(failure),
        };
        self.answer_list(found)
    }

    async fn glob(&mut self, pattern: String) -> Answer<Vec<String>> {
        let found = match bounds::path("the pattern", &pattern) {
            Ok(()) => self.files()?.glob(&pattern).await,
            Err(failure) => Err(failure),
        };
        self.answer(found)
    }

    async fn read(&mut self, path: String) -> Answer<Vec<u8>> {
        let read = match bounds::path("the path", &path) {
            Ok(()) => self.files()?.read(&path).await,
            Err(failure) => Err(failure),
        };
        self.answer(read.and_then(|data| bounds::blob("the file", &data).map(|()| data)))
    }

    async fn write(&mut self, path: String, data: Vec<u8>) -> Answer {
        let written = match bounds::path("the path", &path).and_then(|()| bounds::blob("the content", &data))
        {
            Ok(()) => self.files()?.write(&path, &data).await,
            Err(failure) => Err(failure),
        };
        self.answer(written)
    }

    async fn send_file(
        &mut self,
        token: String,
        path: String,
        options: files::TransferOptions,
    ) -> Answer<u64> {
        let sent = match checked(&token, &path) {
            Ok(()) => self.files()?.send_file(&token, &path, options.into()).await,
            Err(failure) => Err(failure),
        };
        self.answer(sent)
    }

    async fn send_tree(
        &mut self,
        token: String,
        path: String,
        options: files::TransferOptions,
    ) -> Answer<u64> {
        let sent = match checked(&token, &path) {
            Ok(()) => self.files()?.send_tree(&token, &path, options.into()).await,
            Err(failure) => Err(failure),
        };
        self.answer(sent)
    }

    async fn receive_file(
        &mut self,
        token: String,
        path: String,
        mode: Option<u32>,
        max_bytes: Option<u64>,
    ) -> Answer<u64> {
        let received = match checked(&token, &path) {
            Ok(()) => self.files()?.receive_file(&token, &path, mode, max_bytes).await,
            Err(failure) => Err(failure),
        };
        self.answer(received)
    }
}

fn checked(token: &str, path: &str) -> Result<(), Failure> {
    bounds::name("the token", token)?;
    bounds::path("the path", path)
}

impl From<files::TransferOptions> for TransferOptions {
    fn from(options: files::TransferOptions) -> TransferOptions {
        let files::TransferOptions { max_bytes, keep_times, compression } = options;
        TransferOptions { max_bytes, keep_times, compression }
    }
}
