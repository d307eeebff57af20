//! The threads that run guests and nothing else.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinHandle};

/// A tokio runtime of our own.
#[derive(Debug)]
pub(crate) struct Guests {
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Guests {
    /// Starts the threads, named `<name>-<number>`.
    pub(crate) fn start(name: &'static str, threads: usize) -> std::io::Result<Guests> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name_fn(move || {
                use std::sync::atomic::{AtomicUsize, Ordering};
                static NUMBER: AtomicUsize = AtomicUsize::new(0);
                format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
            })
            .enable_time()
            .build()?;
        Ok(Guests { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs `call` on a guest thread; dropping what is returned ends it there.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Running<T> {
        Running(self.handle.spawn(call))
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        // The last handle may be dropped on an async thread, where nothing may block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A call on a guest thread.
#[derive(Debug)]
pub(crate) struct Running<T>(JoinHandle<T>);

impl<T> Future for Running<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
