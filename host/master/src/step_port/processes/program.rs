//! Which file a program is that was granted by its name, and what it sees of an environment: neither is the step's to
//! say. Whoever may write steps could otherwise run what a build has made, as the master.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use windlass_core::capability::is_free_variable;
use windlass_core::value::Failure;

/// What a program sees of the master's environment.
const INHERITED: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

/// Where programs are found if the master has no `PATH`.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program sees of the master's environment.
pub(super) fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)))
}

/// The file of a program that was granted by its name or path, with the variables that the step wants to set for it.
/// `state` is where the master keeps what builds made: nothing there is a program.
pub(super) fn granted(program: &str, env: &[(String, String)], state: &Path) -> Result<PathBuf, Failure> {
    if let Some((name, _)) = env.iter().find(|(name, _)| !is_free_variable(name)) {
        return Err(denied(&format!("set the variable `{name}` of a program that is granted by name")));
    }
    let state = state.canonicalize().unwrap_or_else(|_| state.to_owned());
    if program.contains('/') {
        let path = Path::new(program);
        let is_ours =
            path.starts_with(&state) || path.canonicalize().is_ok_and(|real| real.starts_with(&state));
        if !path.is_absolute() || is_ours {
            return Err(denied(&format!(
                "run `{program}`: it lies where builds write, or its path is not absolute"
            )));
        }
        return Ok(path.to_owned());
    }
    let own = std::env::var_os("PATH");
    find(program, own.as_deref().unwrap_or(OsStr::new(USUAL_PATH)), &state).ok_or_else(|| {
        let error = io::Error::from(io::ErrorKind::NotFound);
        Failure::new(
            "spawn-failed",
            format!("`{program}` cannot be started: the master's PATH has none: {error}"),
        )
    })
}

fn denied(what: &str) -> Failure {
    let cure = "a grant of `master-process = [\"*\"]` allows any program with any environment";
    Failure { detail: Some(cure.to_owned()), ..Failure::new("denied", format!("this step may not {what}")) }
}

/// The first file of this name in the directories of `path` that may be run.
fn find(name: &str, path: &OsStr, state: &Path) -> Option<PathBuf> {
    let places = std::env::split_paths(path).filter(|place| place.is_absolute());
    places.map(|place| place.join(name)).find(|file| {
        let runs = |file: &Path| {
            file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        runs(file) && file.canonicalize().is_ok_and(|real| !real.starts_with(state))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(folder: &Path, name: &str, mode: u32) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        let file = folder.join(name);
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    /// Symptom: a step that was granted `publish` ran any program as the master. Cause: the name was looked up in the
    /// `PATH` that the step set, which may name the folder of an artifact. Cure: the master's own `PATH`, never below
    /// its state, and no variable that decides what a program loads.
    #[test]
    fn a_name_stands_for_what_the_masters_own_path_finds_outside_of_its_state() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        let (state, bin) = (at("state"), at("bin"));
        let made = program(&state.join("artifacts/1"), "publish", 0o755);
        program(&at("other"), "publish", 0o644);
        let there = program(&bin, "publish", 0o755);
        std::fs::create_dir(at("links")).unwrap();
        std::os::unix::fs::symlink(&made, at("links").join("publish")).unwrap();
        let path = [made.parent().unwrap(), Path::new("bin"), &at("other"), &at("links"), &bin];
        let path = std::env::join_paths(path).unwrap();
        assert_eq!(find("publish", &path, &state), Some(there.clone()));
        assert_eq!(find("other", &path, &state), None);

        let code = |program: &str, env: &[(&str, &str)]| {
            let env: Vec<_> = env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            granted(program, &env, &state).map_err(|failure| failure.code)
        };
        let (made, link) = (made.to_str().unwrap(), at("links").join("publish"));
        for bad in [made, link.to_str().unwrap(), "./publish", "bin/publish"] {
            assert_eq!(code(bad, &[]), Err("denied".to_owned()), "{bad}");
        }
        assert_eq!(code(there.to_str().unwrap(), &[("LC_ALL", "C")]), Ok(there));
        for name in ["PATH", "LD_PRELOAD", "BASH_ENV"] {
            assert_eq!(code("sh", &[(name, "x")]), Err("denied".to_owned()));
        }
        assert_eq!(code("no-such-program-anywhere", &[]), Err("spawn-failed".to_owned()));
    }
}
