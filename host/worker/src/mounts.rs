//! For tests: file systems that do what real ones do at the worst moment. Root mounts them, with the `mount` of every
//! system; where this is not root, tests that need one do nothing.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder in which nothing can be looked up, as one whose server is gone.
///
/// FUSE without anybody who serves it: the kernel sends its first request, and whoever looks for a file in it waits. It
/// ends when the device is closed.
pub struct Dead {
    device: Option<File>,
    folder: tempfile::TempDir,
}

impl Dead {
    /// Mounts one. None: this machine does not let us.
    pub fn folder() -> Option<Dead> {
        let device = File::options().read(true).write(true).open("/dev/fuse").ok()?;
        let folder = tempfile::tempdir().unwrap();
        let options = "fd=0,rootmode=40000,user_id=0,group_id=0";
        let is_mounted = mount("fuse", options, folder.path(), device.try_clone().unwrap().into());
        is_mounted.then_some(Dead { device: Some(device), folder })
    }

    /// The path of something in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Dead {
    fn drop(&mut self) {
        // Whoever waits gets an error.
        drop(self.device.take());
        unmount(self.folder.path());
    }
}

/// A disk of its own, on which there is soon no room.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Mounts one of so many bytes. None: this machine does not let us.
    pub fn of(bytes: usize) -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let is_mounted = mount("tmpfs", &format!("size={bytes}"), folder.path(), Stdio::null());
        is_mounted.then_some(SmallDisk(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.path());
    }
}

fn mount(kind: &str, options: &str, folder: &Path, stdin: Stdio) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-i", "-t", kind, "-o", options, "for-a-test"]).arg(folder);
    let status = mount.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn unmount(folder: &Path) {
    // Lazily: somebody may be just leaving it.
    Command::new("umount").arg("-l").arg(folder).stderr(Stdio::null()).status().ok();
}
