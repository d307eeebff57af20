//! The environment of a child: the names of the worker's own that `worker.toml` lists (`inherit_env`), then
//! the builder's variables, then the command's. Nothing else leaks, the worker's token least of all.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags};

/// Where programs are found if the worker has no `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of a child.
pub type Variables = BTreeMap<OsString, OsString>;

/// What the worker's own environment contributes, taken once at its start.
pub fn base(own: impl Iterator<Item = (OsString, OsString)>, inherit: &[String]) -> Variables {
    let inherited = |name: &OsStr| inherit.iter().any(|n| n.as_str() == name);
    let mut variables: Variables = own.filter(|(name, _)| inherited(name)).collect();
    variables.entry("PATH".into()).or_insert_with(|| PATH.into());
    variables.entry("LANG".into()).or_insert_with(|| "C.UTF-8".into());
    variables
}

/// Names the command that a process belongs to, so that what it leaves behind is found again.
pub const MARK: &str = "WINDLASS_COMMAND";

/// The variables of one child.
pub fn of_child(
    mark: &str,
    base: &Variables,
    builder: &[(String, OsString)],
    command: &[(String, Option<OsString>)],
    directory: &Path,
) -> Variables {
    let mut variables = base.clone();
    variables.extend(builder.iter().map(|(name, value)| (name.into(), value.into())));
    for (name, value) in command {
        match value {
            Some(value) => variables.insert(name.into(), value.into()),
            None => variables.remove(OsStr::new(name)),
        };
    }
    // As a shell would set it, so that a program that asks `PWD` gets the name and not a link's target.
    variables.insert("PWD".into(), directory.into());
    variables.insert(MARK.into(), mark.into());
    variables
}

/// The most bytes of one value after its expansion: Linux takes no longer one.
const MAX_EXPANDED: usize = 128 * 1024;

/// The most bytes of all values of a child: Linux takes no more.
pub const MAX_VARIABLES: usize = 2 * 1024 * 1024;

/// A value with `${NAME}` replaced by what the worker's own environment has; what it has not is nothing.
/// `PYTHONPATH` is put before the worker's, if that has one. `room` is what is left for all values of the child.
/// None: it would be longer than any may be, or than there is room for.
pub fn expanded(name: &str, value: &str, base: &Variables, room: &mut usize) -> Option<OsString> {
    let most = MAX_EXPANDED.min(*room);
    let mut out = OsString::new();
    let mut rest = value;
    while let Some((before, variable, after)) = reference(rest) {
        out.push(before);
        out.push(base.get(OsStr::new(variable)).map_or(OsStr::new(""), OsString::as_os_str));
        if out.len() > most {
            return None;
        }
        rest = after;
    }
    out.push(rest);
    if name == PYTHONPATH
        && let Some(own) = base.get(OsStr::new(PYTHONPATH)).filter(|own| !own.is_empty())
    {
        out.push(":");
        out.push(own);
    }
    *room = room.checked_sub(out.len())?;
    (out.len() <= MAX_EXPANDED).then_some(out)
}

const PYTHONPATH: &str = "PYTHONPATH";

/// The first `${NAME}`: what stands before it, the name, what stands behind. Anything else that looks like one
/// stays as it is.
fn reference(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = text[from..].find("${").map(|at| from + at) {
        let name = &text[at + 2..];
        let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(name.len());
        if let Some(after) = name[end..].strip_prefix('}') {
            return Some((&text[..at], &name[..end], after));
        }
        from = at + 2;
    }
    None
}

/// The file of a program that is named without a slash, as `execvp` finds it in a `PATH`.
///
/// Looked up here, since the standard library spawns without `fork` only if it need not look itself,
/// and since the message can then say where it looked.
pub fn find_program(name: &str, variables: &Variables) -> Option<PathBuf> {
    candidates(name, variables).find(|file| is_program(file))
}

/// The file of a program that was granted by name: as the worker's own `PATH` finds it, and never below
/// `private`, where builds write.
pub fn find_granted(name: &str, worker: &Variables, private: &Path) -> Option<PathBuf> {
    candidates(name, worker).find(|file| is_program(file) && !lies_below(file, private))
}

/// Whether a path leads below a directory, whatever links stand on its way.
pub fn lies_below(file: &Path, directory: &Path) -> bool {
    // A folder of its own: a link may stand in it, or lead to it.
    let real = |path: &Path| path.canonicalize().is_ok_and(|path| path.starts_with(directory));
    real(file) || file.parent().is_some_and(real)
}

fn candidates(name: &str, variables: &Variables) -> impl Iterator<Item = PathBuf> {
    let path = variables.get(OsStr::new("PATH")).map_or(OsStr::new(PATH), OsString::as_os_str);
    std::env::split_paths(path).filter(|folder| folder.is_absolute()).map(move |folder| folder.join(name))
}

fn is_program(file: &Path) -> bool {
    rustix::fs::accessat(rustix::fs::CWD, file, Access::EXEC_OK, AtFlags::EACCESS).is_ok() && file.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(list: &[(&str, &str)]) -> Variables {
        list.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn only_named_variables_are_inherited() {
        let own = variables(&[("HOME", "/h"), ("SECRET", "s"), ("CARGO_HOME", "/c"), ("PATH", "/bin")]);
        let base = base(own.into_iter(), &["CARGO_HOME".to_owned(), "PATH".to_owned()]);
        let expected = [("CARGO_HOME", "/c"), ("LANG", "C.UTF-8"), ("PATH", "/bin")];
        assert_eq!(base, variables(&expected));
    }

    #[test]
    fn the_command_has_the_last_word() {
        let base = variables(&[("A", "worker"), ("B", "worker"), ("C", "worker")]);
        let pairs = |list: &[(&str, &str)]| {
            list.iter().map(|(n, v)| ((*n).to_owned(), (*v).into())).collect::<Vec<_>>()
        };
        let builder = pairs(&[("B", "builder"), ("D", "builder")]);
        let command = [
            ("D".to_owned(), Some("command".into())),
            ("C".to_owned(), None),
            ("PWD".to_owned(), Some("/elsewhere".into())),
        ];
        let expected =
            [("A", "worker"), ("B", "builder"), ("D", "command"), ("PWD", "/w"), ("WINDLASS_COMMAND", "m")];
        assert_eq!(of_child("m", &base, &builder, &command, Path::new("/w")), variables(&expected));
    }

    #[test]
    fn a_value_is_expanded_from_the_workers_environment_alone() {
        let base = variables(&[("PATH", "/bin"), ("EMPTY", ""), ("A_1", "a")]);
        let cases = [
            ("/opt/bin:${PATH}", "/opt/bin:/bin"),
            ("${A_1}${A_1}-${EMPTY}-${NONE}", "aa--"),
            ("$PATH ${ ${A-1} ${A_1", "$PATH ${ ${A-1} ${A_1"),
            ("${${A_1}}", "${a}"),
            ("", ""),
        ];
        for (value, expected) in cases {
            assert_eq!(expanded("X", value, &base, &mut 100), Some(expected.into()), "{value}");
        }
        let long = variables(&[("A", &"x".repeat(MAX_EXPANDED))]);
        let expanded = |value: &str| expanded("X", value, &long, &mut { MAX_VARIABLES });
        assert_eq!(expanded("${A}").map(|value| value.len()), Some(MAX_EXPANDED));
        assert_eq!(expanded(&"${A}".repeat(1_000)), None);
    }

    /// Symptom: one spawn took half a gigabyte of the worker's memory. Cause: each value was bounded, and 4,096 of
    /// them were made. Cure: they share their room, which is what a program can be given.
    #[test]
    fn all_values_together_have_no_more_room_than_a_program_can_be_given() {
        let base = variables(&[("A", &"x".repeat(MAX_EXPANDED / 2))]);
        let mut room = MAX_VARIABLES;
        let made = std::iter::repeat_with(|| expanded("X", "${A}", &base, &mut room)).take(4_096);
        assert_eq!(made.flatten().count(), 2 * MAX_VARIABLES / MAX_EXPANDED);
        assert_eq!(room, 0);
    }

    /// Symptom elsewhere: a worker without a `PYTHONPATH` got one with an empty part, which Python takes for the
    /// present directory. Cure: there is only something to append if there is something.
    #[test]
    fn a_python_path_is_put_before_the_workers_if_that_has_one() {
        let expanded = |base: &[(&str, &str)]| expanded("PYTHONPATH", "/mine", &variables(base), &mut 100);
        assert_eq!(expanded(&[("PYTHONPATH", "/own")]), Some("/mine:/own".into()));
        assert_eq!(expanded(&[]), Some("/mine".into()));
        assert_eq!(expanded(&[("PYTHONPATH", "")]), Some("/mine".into()));
    }

    #[test]
    fn a_program_is_found_in_the_path_of_the_child() {
        assert_eq!(find_program("sh", &variables(&[("PATH", "/nowhere:/bin")])), Some("/bin/sh".into()));
        assert_eq!(find_program("sh", &variables(&[("PATH", "/nowhere:.")])), None);
        assert_eq!(find_program("etc", &variables(&[("PATH", "/")])), None, "a directory is no program");
    }

    #[test]
    fn a_granted_program_is_never_one_that_a_build_put_there() {
        let private = tempfile::tempdir().unwrap();
        let private = private.path().canonicalize().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let bin = private.join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink("/bin/sh", bin.join("sh")).unwrap();
        std::os::unix::fs::symlink(&bin, elsewhere.path().join("link")).unwrap();
        for folder in [bin.display().to_string(), format!("{}/link", elsewhere.path().display())] {
            let path = format!("{folder}:/bin");
            let worker = variables(&[("PATH", path.as_str())]);
            assert_eq!(find_program("sh", &worker), Some(Path::new(&folder).join("sh")));
            assert_eq!(find_granted("sh", &worker, &private), Some("/bin/sh".into()));
        }
    }
}
