//! The contract, as it stood when this crate was compiled: a plugin project needs no copy of it.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use crate::Hook;

/// The version of all its packages.
pub const VERSION: &str = "0.1.0";

/// Its files: where each lies below a folder of WIT, and its text.
pub const FILES: [(&str, &str); 3] = [
    ("deps/base/base.wit", include_str!("../../../wit/deps/base/base.wit")),
    ("deps/worker/worker.wit", include_str!("../../../wit/deps/worker/worker.wit")),
    ("deps/master/master.wit", include_str!("../../../wit/master.wit")),
];

/// The WIT of a component with these hooks: the package `windlass:project` and its world `plugin`.
#[must_use]
pub fn world<'a>(hooks: impl IntoIterator<Item = &'a Hook>) -> String {
    let mut text = String::from("package windlass:project;\n\nworld plugin {\n");
    for hook in hooks {
        writeln!(text, "  include windlass:{}/{}@{VERSION};", hook.package, hook.world)
            .expect("a string takes everything");
    }
    text.push_str("}\n");
    text
}

/// Writes the world of these hooks and the contract into a folder, as the tools of every language read it.
///
/// # Errors
/// If a file cannot be written.
pub fn write<'a>(folder: &Path, hooks: impl IntoIterator<Item = &'a Hook>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("plugin.wit"), world(hooks))?;
    for (path, text) in FILES {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, text)?;
    }
    Ok(())
}
