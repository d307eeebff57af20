//! Carries requests to a keeper: in a thread of the agent's own process, or one at a time.

use std::os::fd::OwnedFd;

use rustix::net::{RecvFlags, SendFlags};

use super::keeper::{Keeper, failed};
use super::wire::{self, Received, Request, Room};

/// Answers until the other side is gone.
pub fn serve(socket: &OwnedFd) {
    let (mut keeper, mut room) = (Keeper::default(), Room::default());
    while let Ok(true) = serve_one(&mut keeper, socket, &mut room, RecvFlags::empty()) {}
}

/// Answers one request; false: the other side is gone.
pub fn serve_one(
    keeper: &mut Keeper,
    socket: &OwnedFd,
    room: &mut Room,
    flags: RecvFlags,
) -> std::io::Result<bool> {
    let (request, beside) = match wire::receive::<Request>(socket, room, flags)? {
        Received::Message(request, beside) => (request, beside),
        Received::Unknown(why) => {
            let error = std::io::Error::other(format!("the holder does not understand a request: {why}"));
            // One request, one answer: so there is always room for it.
            wire::send(socket, &failed(&error), &[], SendFlags::DONTWAIT)?;
            return Ok(true);
        }
        Received::End => return Ok(false),
    };
    if let Some((answer, beside)) = keeper.answer(request, beside) {
        wire::send(socket, &answer, &beside, SendFlags::DONTWAIT)?;
    }
    Ok(true)
}
