//! Messages between master and worker, their framing, and the resumable session. No sockets here.
//!
//! - [`message`]: the vocabulary
//! - [`codec`]: a message as one or several frames, and back
//! - [`session`]: numbered updates that survive a lost connection: [`session::Outbox`], [`session::Inbox`]
//! - [`lanes`]: what is sent next: control before bulk
//! - [`hello`]: may these two talk at all?
//! - [`transfer`], [`tree`]: files and directories under way
//!
//! All of it is pure, so that both sides and the tests drive the same code.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod codec;
pub mod hello;
pub mod lanes;
pub mod message;
pub mod session;
pub mod transfer;
pub mod tree;
