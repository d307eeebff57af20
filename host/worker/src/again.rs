//! What an earlier agent of the same holder left: commands to go on with, and children that nobody knows any more.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::process::Pid;
use windlass_protocol::message::CommandUid;

use crate::child::PATIENCE;
use crate::commands::TakenUp;
use crate::group::Group;
use crate::machine::Machine;
use crate::spool::left::Running;
use crate::spool::{Spool, TAPE};

/// What the holder has of one command.
#[derive(Default)]
struct Held {
    tape: Option<File>,
    children: BTreeMap<u32, Running>,
}

/// Reads what there is of commands that run still or whose last words the master lacks. What cannot be read is named,
/// and its children end: the master learns that this worker does not know the command. Blocks.
pub fn read(machine: &Arc<Machine>, spool: &Arc<Spool>) -> io::Result<Vec<TakenUp>> {
    let mut held: BTreeMap<String, Held> = BTreeMap::new();
    for child in machine.holder.children()? {
        let running = held.entry(child.command).or_default().children.entry(child.child).or_default();
        running.pid = child.status.is_none().then_some(child.pid);
        running.status = child.status;
    }
    for kept in machine.holder.kept()? {
        // What is no command's is somebody else's business.
        if kept.command.is_empty() {
            continue;
        }
        let of = held.entry(kept.command).or_default();
        match kept.name.split_once('.') {
            Some((child, _)) => {
                if let Ok(child) = child.parse() {
                    of.children.entry(child).or_default().kept.insert(kept.name, kept.descriptor);
                }
            }
            None if kept.name == TAPE => of.tape = Some(kept.descriptor.into()),
            None => {}
        }
    }
    let mut taken_up = Vec::new();
    for (command, Held { tape, children }) in held {
        let uid = CommandUid(command);
        let reopened = tape.map(|tape| spool.reopen(&uid, tape));
        match reopened {
            Some(Ok((spool, left))) => taken_up.push(TakenUp { spool, left, running: children }),
            None | Some(Err(_)) => {
                if let Some(Err(error)) = reopened {
                    tracing::error!(command = uid.0, %error, "what an earlier agent left of a command can't be read");
                }
                bury(machine, &uid.0, &children);
                machine.holder.forget(&uid.0, "")?;
            }
        }
    }
    Ok(taken_up)
}

/// Ends the children of a command, and all that it left behind. Blocks until they are gone, but for what the kernel holds.
pub fn bury(machine: &Arc<Machine>, command: &str, children: &BTreeMap<u32, Running>) {
    machine.orphans.begin(command);
    for pid in children.values().filter_map(|child| child.pid) {
        bury_one(machine, command, pid);
    }
    let ended = machine.orphans.end(command);
    tracing::info!(command, "its programs were ended{}", ended.report().trim_end());
}

fn bury_one(machine: &Arc<Machine>, command: &str, pid: Pid) {
    let group = Group::of(pid, Arc::clone(machine));
    if let Err(error) = group.reap(PATIENCE) {
        tracing::warn!(command, ?pid, %error, "failed to reap a child that an earlier agent left");
        group.disown();
    }
}
