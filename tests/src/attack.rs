//! How the hostile components of [`crate::hostile`] are put to work: what each is, and what a configuration must
//! say for it to get its chance.

use std::collections::BTreeMap;

use crate::hostile::names;
use crate::repository::Repository;
use crate::site::Site;

/// What a hostile component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A file that must not load.
    File,
    /// A policy, by the key that names it in a configuration.
    Policy(&'static str),
    /// A build step.
    Step,
    /// A slave-command.
    Command,
    /// A slave-command that ends the worker on which it runs.
    Fatal,
    /// It has a test of its own.
    Apart,
}

const POLICIES: &[(&str, &str)] = &[
    ("merges-everything", "merge_requests"),
    ("merges-out-of-range", "merge_requests"),
    ("builds-a-ghost", "next_build"),
    ("allows-nobody-known", "can_start_build"),
    ("orders-ghosts", "prioritize_builders"),
];

const NEXT_SLAVES: &[&str] = &[
    "realloc-spins",
    "realloc-lies",
    "realloc-misaligns",
    "realloc-hoards",
    "cleanup-spins",
    "memories-hoard",
    "tables-hoard",
    "garbage-hoards",
    "answers-no-text",
    "answers-from-nowhere",
    "answers-no-case",
    "throws",
    "describe-chatters",
];

/// Those that nothing ends but a person.
pub const ENDLESS: &[&str] = &[
    "step-sleeps",
    "step-ignores-interrupts",
    "step-spins-in-cleanup",
    "command-sleeps",
    "child-waits",
    "command-floods-updates",
];

impl Role {
    /// Whether it is a policy of the whole master, which has one of each kind.
    #[must_use]
    pub fn is_of_master(self) -> bool {
        matches!(self, Role::Policy("prioritize_builders" | "codebase_generator"))
    }

    /// Of the component `name`.
    #[must_use]
    pub fn of(name: &str) -> Role {
        if let Some((_, key)) = POLICIES.iter().find(|(policy, _)| *policy == name) {
            Role::Policy(key)
        } else if name.starts_with("codebase-") {
            Role::Policy("codebase_generator")
        } else if name.starts_with("policy-") || NEXT_SLAVES.contains(&name) {
            Role::Policy("next_slave")
        } else if ["impostor", "name-clash"].contains(&name) {
            Role::Apart
        } else if name == "child-kills-the-worker" {
            Role::Fatal
        } else if name.starts_with("step-") {
            Role::Step
        } else if ["command-", "path-", "exec-", "env-", "child"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            Role::Command
        } else {
            Role::File
        }
    }
}

/// The names of the components of some role.
#[must_use]
pub fn those(wanted: impl Fn(Role) -> bool) -> Vec<String> {
    names().into_iter().filter(|name| wanted(Role::of(name))).collect()
}

/// What a careless checkout may leave in a builder's directory; run in the `build` below it. The pipe is the last:
/// where it and what an attack removes stand, all do.
const LINKS: &str = "cd ..; test -p pipe -a -f hard-link || { ln -sfn ../.. link; ln -sfn ../../token file-link; \
                     ln -f ../../token hard-link; ln -sfn /proc proc; ln -sfn /proc/self/root root; \
                     ln -sfn /dev/zero zero; test -p pipe || mkfifo pipe; }";

/// TOML of a builder `b-NAME` on these workers that gives the component its chance, with the grants that it asks
/// for. A policy that is the master's, not a builder's, has none.
#[must_use]
pub fn builder(name: &str, workers: &[&str]) -> String {
    let head = format!("[[builders]]\nname = \"b-{name}\"\nworkers = {workers:?}\n");
    let shell = |command: &str| {
        format!("[[builders.steps]]\nuse = \"shell-command\"\nargs = {{ command = {command:?} }}\n")
    };
    match Role::of(name) {
        Role::File | Role::Apart => String::new(),
        role if role.is_of_master() => String::new(),
        // All requests wait for the same worker, so that there is something to merge.
        Role::Policy("merge_requests") => {
            let head = format!("[[builders]]\nname = \"b-{name}\"\nworkers = [{:?}]\n", workers[1]);
            format!("{head}merge_requests = \"{name}:{name}\"\n{}", shell("true"))
        }
        Role::Policy(key) => {
            format!("{head}merge_requests = false\n{key} = \"{name}:{name}\"\n{}", shell("true"))
        }
        Role::Step => format!("{head}merge_requests = false\n[[builders.steps]]\nuse = \"{name}:{name}\"\n"),
        role @ (Role::Command | Role::Fatal) => {
            // The others have workers that it does not reach.
            let reached = if role == Role::Fatal { &workers[..1] } else { workers };
            let head = format!("[[builders]]\nname = \"b-{name}\"\nworkers = {reached:?}\n");
            let programs = match name {
                "exec-ungranted" | "exec-own-path" | "env-preload" | "env-git-helper" => "git",
                _ => "*",
            };
            format!(
                "{head}merge_requests = false\n{}[[builders.steps]]\nuse = \"starts:starts\"\n\
                 args = {{ command = \"{name}:{name}\" }}\n\
                 [grants.\"{name}:{name}\"]\nfiles = [\"*\"]\nexec = [\"{programs}\"]\n",
                shell(LINKS)
            )
        }
    }
}

/// A site on which all of `names` get their chance beside a builder `innocent`, on two workers.
#[must_use]
pub fn site(names: &[String]) -> Site {
    site_on(&["w1", "w2"], names)
}

/// The same on these workers, which have plenty of slots.
#[must_use]
pub fn site_on(workers: &[&str], names: &[String]) -> Site {
    let mut site = Site::new(workers, "");
    for name in names {
        site.plugin(name, &crate::hostile::component(name));
    }
    if names.iter().any(|name| matches!(Role::of(name), Role::Command | Role::Fatal)) {
        site.plugin("starts", &crate::hostile::component("starts"));
    }
    for worker in workers {
        site.allow_everything(worker);
    }
    site.slots(100);
    site.configure(&config(workers, names));
    site
}

/// What follows after the workers in the configuration of such a site. A master has one policy of its own of each
/// kind: the last of them.
#[must_use]
pub fn config(workers: &[&str], names: &[String]) -> String {
    let mut builders = format!(
        "[[builders]]\nname = \"innocent\"\nworkers = {workers:?}\nmerge_requests = false\n\
         [[builders.steps]]\nuse = \"shell-command\"\nargs = {{ command = \"true\" }}\n"
    );
    let mut policies = BTreeMap::new();
    for name in names {
        builders += &builder(name, workers);
        if let role @ Role::Policy(key) = Role::of(name)
            && role.is_of_master()
        {
            policies.insert(key, format!("{key} = \"{name}:{name}\"\n"));
        }
    }
    let policies: String = policies.into_values().collect();
    format!("{builders}[policies]\n{policies}[logs]\nmax_bytes = \"2 GiB\"\nmax_log_bytes = \"1 MiB\"\n")
}

/// TOML of a poller of this repository that polls when somebody says so.
#[must_use]
pub fn poller(repository: &Repository) -> String {
    format!(
        "[[git_pollers]]\nname = \"hostile\"\nrepository = \"{}\"\nbranches = [\"main\"]\npoll_interval = 3600\n",
        repository.url()
    )
}
