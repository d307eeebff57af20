//! The threads that run guests and nothing else.
//!
//! A call begins on the quick threads. One that computes for longer than a moment moves to the slow
//! ones, which have a lower priority, and comes back once it has waited: so a loop takes neither a turn
//! from a guest that has something to do nor a processor from the dispatcher, the store or a link.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinHandle, coop};

use crate::charge::{Charged, Counters};

/// How much slower threads give way to the rest of this machine; as of `nice`.
const SLOW: i32 = 10;

/// The threads of one kind of call.
#[derive(Debug)]
pub(crate) struct Guests {
    quick: Threads,
    /// None: whoever computes stays where it is.
    slow: Option<Threads>,
}

impl Guests {
    /// Starts threads named `<name>-<number>` and, for those who compute, `slow-<name>-<number>`.
    pub(crate) fn start(name: &'static str, threads: usize) -> std::io::Result<Guests> {
        let slow = Threads::start(format!("slow-{name}"), threads, true)?;
        Ok(Guests { quick: Threads::start(name.to_owned(), threads, false)?, slow: Some(slow) })
    }

    /// Starts threads for calls that may not compute for longer than a moment.
    pub(crate) fn start_quick(name: &'static str, threads: usize) -> std::io::Result<Guests> {
        Ok(Guests { quick: Threads::start(name.to_owned(), threads, false)?, slow: None })
    }

    /// The threads on which a call begins.
    pub(crate) fn threads(&self) -> &Handle {
        &self.quick.handle
    }

    /// Calls that compute, on the slow threads.
    pub(crate) fn computing(&self) -> usize {
        self.slow.as_ref().map_or(0, |slow| slow.handle.metrics().num_alive_tasks())
    }

    /// Runs `call` on a guest thread and charges it; dropping what is returned ends it there.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        counters: Arc<Counters>,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Running<T> {
        let call = Charged::new(counters, call);
        let slow = self.slow.as_ref().map(|slow| slow.handle.clone());
        self.quick.handle.spawn_call(there_and_back(call, slow))
    }
}

/// A tokio runtime of our own.
#[derive(Debug)]
struct Threads {
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Threads {
    fn start(name: String, threads: usize, slow: bool) -> std::io::Result<Threads> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name_fn(move || {
                use std::sync::atomic::{AtomicUsize, Ordering};
                static NUMBER: AtomicUsize = AtomicUsize::new(0);
                format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
            })
            .on_thread_start(move || {
                if slow && let Err(error) = rustix::process::setpriority_process(None, SLOW) {
                    tracing::warn!(%error, "the threads of guests that compute keep their priority");
                }
            })
            // A turn may take 10 ms: after each one, look for calls whose wait is over, and take them
            // before those that only gave way.
            .event_interval(1)
            .global_queue_interval(1)
            .enable_time()
            .build()?;
        Ok(Threads { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // The last handle may be dropped on an async thread, where nothing may block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

trait SpawnCall {
    fn spawn_call<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> Running<T>;
}

impl SpawnCall for Handle {
    /// Without tokio's own budget: to tokio a call that used it up seems to wait.
    fn spawn_call<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> Running<T> {
        Running(self.spawn(coop::unconstrained(call)))
    }
}

/// A call from its beginning to its end, on whichever threads it belongs.
async fn there_and_back<T: Send + 'static>(mut call: Charged<T>, slow: Option<Handle>) -> T {
    let Some(slow) = slow else { return call.await };
    loop {
        call = match (Leg { call: Some(call), slow: false }).await {
            Leave::Over(end) => return end,
            Leave::Moves(call) => call,
        };
        call = match slow.spawn_call(Leg { call: Some(call), slow: true }).await {
            Ok(Leave::Over(end)) => return end,
            Ok(Leave::Moves(call)) => call,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // These threads are being shut down, and so is this one.
                Err(_) => std::future::pending().await,
            },
        };
    }
}

/// The part of a call that runs on one kind of threads.
struct Leg<T> {
    /// Taken at its end.
    call: Option<Charged<T>>,
    slow: bool,
}

enum Leave<T> {
    Over(T),
    Moves(Charged<T>),
}

impl<T> Future for Leg<T> {
    type Output = Leave<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Leave<T>> {
        let slow = self.slow;
        let call = self.call.as_mut().expect("BUG: polled after its end");
        if let Poll::Ready(end) = Pin::new(&mut *call).poll(cx) {
            return Poll::Ready(Leave::Over(end));
        }
        if call.computes() == slow {
            return Poll::Pending;
        }
        Poll::Ready(Leave::Moves(self.call.take().expect("it was there")))
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
