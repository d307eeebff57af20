//! A compiler wrapper that keeps the place of a checkout out of the bytes.
//!
//! Cargo gives each crate a number, which rustc builds its symbols from. For a package that lies beside the
//! workspace, as the SDK in a checkout does, the number is made from the absolute path; functions then stand in
//! another order, and so in every crate that uses it. The wrapper puts name and version in its place. Packages
//! of a registry have a number that depends on no path, and keep it.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Writes the wrapper for packages in these folders; the file is what `RUSTC_WRAPPER` names.
pub fn wrapper<'a>(target_dir: &Path, packages: impl Iterator<Item = &'a Path>) -> io::Result<PathBuf> {
    let text = script(packages);
    // One for each set of packages: builds that share the target directory do not disturb each other.
    let hash = blake3::hash(text.as_bytes()).to_hex();
    let path = target_dir.join(format!("rustc-{}", &hash[..16]));
    if fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(path);
    }
    fs::create_dir_all(target_dir)?;
    let new = path.with_extension(std::process::id().to_string());
    fs::write(&new, text)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    fs::rename(&new, &path)?;
    Ok(path)
}

/// `sh` is on every machine that builds; cargo calls `wrapper RUSTC ARGUMENTS`.
fn script<'a>(packages: impl Iterator<Item = &'a Path>) -> String {
    let mut local = String::new();
    for folder in packages {
        let quoted = folder.to_string_lossy().replace('\'', r"'\''");
        // Writing to a string cannot fail.
        write!(local, "{}'{quoted}'", if local.is_empty() { "" } else { "|" }).expect("a string takes it");
    }
    let local = if local.is_empty() { "''".to_owned() } else { local };
    format!(
        "#!/bin/sh\n\
         case \"$CARGO_MANIFEST_DIR\" in\n\
         {local}) ;;\n\
         *) exec \"$@\" ;;\n\
         esac\n\
         left=$#\n\
         while [ \"$left\" -gt 0 ]; do\n\
         \x20 case \"$1\" in\n\
         \x20 metadata=*) set -- \"$@\" \"metadata=$CARGO_PKG_NAME-$CARGO_PKG_VERSION\" ;;\n\
         \x20 *) set -- \"$@\" \"$1\" ;;\n\
         \x20 esac\n\
         \x20 shift\n\
         \x20 left=$((left - 1))\n\
         done\n\
         exec \"$@\"\n"
    )
}
