//! For tests: file systems that do what real ones do at the worst moment. Root mounts them, with the `mount` of every
//! system. Where that cannot be, tests that need one fail, unless the environment says that they are to be left out.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Leaves out the tests that need one.
const LEAVE_OUT: &str = "WINDLASS_TEST_WITHOUT_MOUNTS";

/// A folder in which nothing can be looked up, as one whose server is gone.
///
/// FUSE without anybody who serves it: the kernel sends its first request, and whoever looks for a file in it waits. It
/// ends when the device is closed.
pub struct Dead {
    device: Option<File>,
    folder: tempfile::TempDir,
}

impl Dead {
    /// Mounts one. None: nobody wants to.
    pub fn folder() -> Option<Dead> {
        if is_left_out() {
            return None;
        }
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let device = device.unwrap_or_else(|error| panic!("failed to open `/dev/fuse`: {error}; {}", cure()));
        let folder = tempfile::tempdir().unwrap();
        let options = "fd=0,rootmode=40000,user_id=0,group_id=0";
        mount("fuse", options, folder.path(), device.try_clone().unwrap().into());
        Some(Dead { device: Some(device), folder })
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
    /// Mounts one of so many bytes. None: nobody wants to.
    pub fn of(bytes: usize) -> Option<SmallDisk> {
        if is_left_out() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        mount("tmpfs", &format!("size={bytes}"), folder.path(), Stdio::null());
        Some(SmallDisk(folder))
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

fn is_left_out() -> bool {
    std::env::var_os(LEAVE_OUT).is_some_and(|value| !value.is_empty())
}

fn cure() -> String {
    format!("run this test as root, where FUSE and tmpfs can be mounted, or leave it out with {LEAVE_OUT}=1")
}

fn mount(kind: &str, options: &str, folder: &Path, stdin: Stdio) {
    let mut mount = Command::new("mount");
    mount.args(["-i", "-t", kind, "-o", options, "for-a-test"]).arg(folder);
    let output = mount.stdin(stdin).output().unwrap_or_else(|error| panic!("failed to run `mount`: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "failed to mount a {kind}: {}; {}", said.trim(), cure());
}

fn unmount(folder: &Path) {
    // Lazily: somebody may be just leaving it.
    Command::new("umount").arg("-l").arg(folder).stderr(Stdio::null()).status().ok();
}
