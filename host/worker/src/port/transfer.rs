//! Files between a command and its master. Each transfer has a thread while it lasts, and is one of the
//! command's children: the command has not ended before it has stopped.

use std::sync::Arc;

use async_trait::async_trait;
use windlass_core::value::Failure;
use windlass_runtime::port::{CommandTransfer, TransferOptions};

use super::{Context, Port};
use crate::child::interrupted;
use crate::transfer::Target;
use crate::work::Work;

impl Port {
    /// Runs a transfer once it is its turn.
    async fn transfer<T: Send + 'static>(
        &mut self,
        call: &'static str,
        run: impl FnOnce(&Context, Work) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.context.grants.files().map_err(|failure| self.context.denied(call, failure))?;
        let context = Arc::clone(&self.context);
        let turn = tokio::select! {
            turn = context.transfers.turn(context.root.path()) => turn,
            reason = interrupted(&mut self.interrupt) => {
                return Err(Failure::new("interrupted", reason));
            }
        };
        let of_task = Arc::clone(&context);
        let task = move || {
            let _turn = turn;
            let work = Work::unhurried(of_task.over.clone(), of_task.interrupt.clone());
            run(&of_task, work)
        };
        let task = context.children.spawn_blocking_on(task, &context.runtime);
        let done = task.await;
        done.unwrap_or_else(|error| Err(Failure::new("io", format!("a transfer broke off: {error}"))))
            .map_err(|failure| context.masked_failure(failure))
    }
}

#[async_trait]
impl CommandTransfer for Port {
    async fn send_file(&mut self, token: &str, path: &str, options: TransferOptions) -> Result<u64, Failure> {
        let (token, path) = (token.to_owned(), path.to_owned());
        self.transfer("send-file", move |context, work| {
            let Context { transfers, spool, root, .. } = context;
            transfers.send_file(spool.uid(), &token, root, &path, &options, work)
        })
        .await
    }

    async fn send_tree(&mut self, token: &str, path: &str, options: TransferOptions) -> Result<u64, Failure> {
        let (token, path) = (token.to_owned(), path.to_owned());
        self.transfer("send-tree", move |context, work| {
            let Context { transfers, spool, root, .. } = context;
            let walking = Work::unhurried(context.over.clone(), context.interrupt.clone());
            transfers.send_tree(spool.uid(), &token, root, &path, &options, (work, walking))
        })
        .await
    }

    async fn receive_file(
        &mut self,
        token: &str,
        path: &str,
        mode: Option<u32>,
        max_bytes: Option<u64>,
    ) -> Result<u64, Failure> {
        let (token, path) = (token.to_owned(), path.to_owned());
        self.transfer("receive-file", move |context, work| {
            let Context { transfers, spool, root, .. } = context;
            transfers.receive_file(spool.uid(), &token, root, Target { path: &path, mode, max_bytes }, &work)
        })
        .await
    }
}
