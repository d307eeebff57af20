//! The capabilities that a plugin may ask for, an operator may grant, and a worker may allow.
//!
//! Deliberately absent: the time and chance. They give no power over anything: policies can't import
//! them, steps have them recorded, commands have them as they are.

/// All of them (`windlass:base/plugin.request`).
pub const ALL: [&str; 6] = ["exec", "env", "files", "secret", "fetch", "master-process"];

/// Whether it is for what happens on the master, and so for steps; the others are for commands of workers.
#[must_use]
pub fn is_of_steps(name: &str) -> bool {
    matches!(name, "fetch" | "master-process")
}

/// Whether it is for something named, as `exec` is for programs; `files` is as it is.
#[must_use]
pub fn is_scoped(name: &str) -> bool {
    name != "files"
}

/// Variables of a program that are anybody's to set who may start it: they change what it says, not what it runs or
/// loads. A list of what is harmless, since nobody knows all that is not. A star at the end stands for any rest.
pub const FREE_VARIABLES: [&str; 17] = [
    "CI",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    "DEBIAN_FRONTEND",
    "FORCE_COLOR",
    "GIT_AUTHOR_*",
    "GIT_COMMITTER_*",
    "GIT_TERMINAL_PROMPT",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "LINES",
    "NO_COLOR",
    "SOURCE_DATE_EPOCH",
    "TERM",
    "TZ",
];

/// Whether a variable of a program is anybody's to set who may start it.
#[must_use]
pub fn is_free_variable(name: &str) -> bool {
    FREE_VARIABLES.iter().any(|free| match free.strip_suffix('*') {
        Some(begin) => name.starts_with(begin),
        None => *free == name,
    })
}

#[cfg(test)]
mod tests {
    use super::is_free_variable;

    #[test]
    fn what_decides_what_a_program_runs_is_nobodys_to_set() {
        for name in ["CI", "LC_ALL", "GIT_AUTHOR_NAME", "TZ"] {
            assert!(is_free_variable(name), "{name}");
        }
        for name in ["PATH", "LD_PRELOAD", "BASH_ENV", "GIT_SSH_COMMAND", "CIA", "LC", ""] {
            assert!(!is_free_variable(name), "{name}");
        }
    }
}
