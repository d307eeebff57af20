//! Messages between master and worker, their framing, and the resumable session. No sockets here.

pub mod message;
