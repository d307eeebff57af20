//! `windlass:worker/files`: files below the builder directory. The port opens them.

use windlass_core::value::Failure;

use crate::bindings::worker::windlass::worker::files;
use crate::bounds;
use crate::imports::{Answer, answer, answer_list};
use crate::port::CommandPort;
use crate::state::State;

impl State {
    fn files(&mut self) -> wasmtime::Result<&mut dyn CommandPort> {
        self.command("windlass:worker/files")
    }
}

impl files::Host for State {
    async fn make_directory(&mut self, path: String) -> Answer {
        let port = self.files()?;
        match bounds::path("the path", &path) {
            Ok(()) => answer(port.make_directory(&path).await),
            Err(failure) => answer(Err::<(), _>(failure)),
        }
    }

    async fn remove(&mut self, path: String) -> Answer {
        let port = self.files()?;
        match bounds::path("the path", &path) {
            Ok(()) => answer(port.remove(&path).await),
            Err(failure) => answer(Err::<(), _>(failure)),
        }
    }

    async fn copy(&mut self, source_path: String, target_path: String) -> Answer {
        let port = self.files()?;
        let checked = bounds::path("the source path", &source_path)
            .and_then(|()| bounds::path("the target path", &target_path));
        match checked {
            Ok(()) => answer(port.copy(&source_path, &target_path).await),
            Err(failure) => answer(Err::<(), _>(failure)),
        }
    }

    async fn stat(&mut self, path: String) -> Answer<files::Entry> {
        let port = self.files()?;
        match bounds::path("the path", &path) {
            Ok(()) => answer(port.stat(&path).await),
            Err(failure) => answer(Err::<files::Entry, _>(failure)),
        }
    }

    async fn entries(&mut self, directory: String) -> Answer<Vec<files::Entry>> {
        let port = self.files()?;
        match bounds::path("the path", &directory) {
            Ok(()) => answer_list(port.entries(&directory).await),
            Err(failure) => answer_list(Err::<Vec<files::Entry>, _>(failure)),
        }
    }

    async fn glob(&mut self, pattern: String) -> Answer<Vec<String>> {
        let port = self.files()?;
        match bounds::path("the pattern", &pattern) {
            Ok(()) => answer(port.glob(&pattern).await),
            Err(failure) => answer(Err::<Vec<String>, _>(failure)),
        }
    }

    async fn read(&mut self, path: String) -> Answer<Vec<u8>> {
        let port = self.files()?;
        let read = match bounds::path("the path", &path) {
            Ok(()) => port.read(&path).await,
            Err(failure) => Err(failure),
        };
        answer(read.and_then(|data| bounds::blob("the file", &data).map(|()| data)))
    }

    async fn write(&mut self, path: String, data: Vec<u8>) -> Answer {
        let port = self.files()?;
        match bounds::path("the path", &path).and_then(|()| bounds::blob("the content", &data)) {
            Ok(()) => answer(port.write(&path, &data).await),
            Err(failure) => answer(Err::<(), _>(failure)),
        }
    }

    async fn send_file(&mut self, _: String, _: String, _: files::TransferOptions) -> Answer<u64> {
        self.called();
        answer(Err::<u64, _>(Failure::unsupported("`files.send-file`")))
    }

    async fn send_tree(&mut self, _: String, _: String, _: files::TransferOptions) -> Answer<u64> {
        self.called();
        answer(Err::<u64, _>(Failure::unsupported("`files.send-tree`")))
    }

    async fn receive_file(&mut self, _: String, _: String, _: Option<u32>, _: Option<u64>) -> Answer<u64> {
        self.called();
        answer(Err::<u64, _>(Failure::unsupported("`files.receive-file`")))
    }
}
