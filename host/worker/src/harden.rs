//! What a daemon's process does to itself before programs of strangers run under its own user.

use std::os::fd::BorrowedFd;

use rustix::io::FdFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Keeps other processes of the same user out of this one, where tokens and secrets are: builds may be among
/// them. What the kernel refuses is said and survived.
pub fn conceal() {
    // They may not trace it, nor read its memory or its environment.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .unwrap_or_else(|error| refused("keep builds from looking into this process", error));
    // A crash writes none of it to disk. Inherited by builds, who may raise it again: theirs shall not fill it.
    let core = rustix::process::getrlimit(Resource::Core);
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: core.maximum })
        .unwrap_or_else(|error| refused("switch off core dumps", error));
}

/// Makes this process fit to be a worker and nothing else.
pub(crate) fn harden() {
    conceal();
    // Whatever a build leaves behind becomes a child of this process, and is found.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .unwrap_or_else(|error| refused("adopt what builds leave behind", error));
    keep_files();
}

fn refused(what: &str, error: rustix::io::Errno) {
    tracing::warn!(%error, "failed to {what}");
}

/// Children get what the worker gives them, not what whoever started the worker had open.
#[expect(unsafe_code, reason = "marks descriptors by number; it closes and takes over none")]
fn keep_files() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    for number in numbers.filter(|number| *number > 2).collect::<Vec<_>>() {
        // SAFETY: the descriptor is not used beyond this call; one that was closed meanwhile is refused.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        rustix::io::fcntl_setfd(file, FdFlags::CLOEXEC).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn nobody_looks_into_it_orphans_come_to_it_and_nothing_stays_open_for_children() {
        let file = tempfile::tempfile().unwrap();
        rustix::io::fcntl_setfd(file.as_fd(), FdFlags::empty()).unwrap();
        harden();
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert!(rustix::process::child_subreaper().unwrap().is_some());
        assert_eq!(rustix::process::getrlimit(Resource::Core).current, Some(0));
        assert_eq!(rustix::io::fcntl_getfd(file.as_fd()).unwrap(), FdFlags::CLOEXEC);
        let own = rustix::process::getpid().as_raw_nonzero();
        assert!(std::fs::read_dir(format!("/proc/{own}/fd")).is_ok(), "it still finds its own things");
    }
}
