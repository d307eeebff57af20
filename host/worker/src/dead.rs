//! For tests: a file system that does not answer, as one whose server is gone.
//!
//! FUSE without anybody who serves it: the kernel sends its first request, and whoever looks for a file in it waits. It
//! ends when the device is closed. Root mounts it, with the `mount` of every system.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A folder in which nothing can be looked up.
pub struct Dead {
    device: Option<File>,
    folder: tempfile::TempDir,
}

impl Dead {
    /// Mounts one. None: this machine does not let us.
    pub fn folder() -> Option<Dead> {
        let device = File::options().read(true).write(true).open("/dev/fuse").ok()?;
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=40000,user_id=0,group_id=0", "dead"])
            .arg(folder.path())
            .stdin(device.try_clone().unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let dead = Dead { device: Some(device), folder };
        mounted.is_ok_and(|status| status.success()).then_some(dead)
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
        // Lazily: somebody may be just leaving it.
        Command::new("umount").arg("-l").arg(self.folder.path()).stderr(Stdio::null()).status().ok();
    }
}
