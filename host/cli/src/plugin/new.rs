//! `plugin new`: a project in a new folder that builds and works as it is. Its sources stand in
//! `host/cli/templates`, where the plugin is called `my-plugin`.

use std::path::{Path, PathBuf};

use anstream::println;
use anyhow::Context as _;
use windlass_build::Language;
use windlass_core::policy::HookKind;

use crate::args::NewPlugin;
use crate::exit::{Exit, Failed};
use crate::init::write_new;
use crate::output::{FAINT, HEADING, paint, tame};
use crate::query::print_json;

/// What the templates call the plugin and its hook.
const PLACEHOLDER: &str = "my-plugin";

/// The starting point of one kind of hook.
struct Template {
    kind: &'static str,
    /// What it does, for whoever has to choose.
    does: &'static str,
    /// Where `master.toml` names it.
    place: &'static str,
    /// How it does.
    usage: &'static str,
    rust: &'static str,
    c: &'static str,
    python: &'static str,
    js: &'static str,
}

macro_rules! templates {
    ($($kind:literal, $does:literal, $place:expr => $usage:literal),+ $(,)?) => {
        &[$(Template {
            kind: $kind,
            does: $does,
            place: $place,
            usage: $usage,
            rust: include_str!(concat!("../../templates/rust/", $kind, ".rs")),
            c: include_str!(concat!("../../templates/c/", $kind, ".c")),
            python: include_str!(concat!("../../templates/python/", $kind, ".py")),
            js: include_str!(concat!("../../templates/js/", $kind, ".js")),
        }),+]
    };
}

const OF_BUILDERS: &str = "under a [[builders]], or under [policies] for all of them";
const OF_THE_MASTER: &str = "under [policies]";
const AT_ITS_END: &str = "at its end";

/// The kinds of hooks that this host calls.
const TEMPLATES: &[Template] = templates! {
    "next-slave", "picks the worker of a build", OF_BUILDERS => "next_slave = \"my-plugin:my-plugin\"",
    "merge-requests", "says which requests one build may serve", OF_BUILDERS =>
        "merge_requests = \"my-plugin:my-plugin\"",
    "next-build", "picks the request that a builder builds next", OF_BUILDERS =>
        "next_build = \"my-plugin:my-plugin\"",
    "can-start-build", "says whether, and on which workers, a build may start", OF_BUILDERS =>
        "can_start_build = \"my-plugin:my-plugin\"",
    "prioritize-builders", "puts builders into an order", OF_THE_MASTER =>
        "prioritize_builders = \"my-plugin:my-plugin\"",
    "codebase-generator", "names the codebase of a change", OF_THE_MASTER =>
        "codebase_generator = \"my-plugin:my-plugin\"",
    "build-step", "is a step of a build", "behind the [[builders]] that is to have it" =>
        "[[builders.steps]]\nuse = \"my-plugin:my-plugin\"\nargs = { command = [\"make\"] }",
    "slave-command", "does something on a worker, for a step that starts it", AT_ITS_END =>
        "[grants.\"my-plugin:my-plugin\"]\nexec = [\"*\"]",
    "renderer", "works out a value of arguments, environments or conditions", "in the place of a value" =>
        "{ renderer = \"my-plugin:my-plugin\", args = { of = \"branch\" } }",
    "reporter", "tells others what becomes of builds", AT_ITS_END =>
        "[[reporters]]\nname = \"my-plugin\"\nuse = \"my-plugin:my-plugin\"\n\
         args = { url = \"https://chat.example.org/builds\" }\n\n\
         [grants.\"my-plugin:my-plugin\"]\nfetch = [\"chat.example.org\"]",
    "configurator", "writes a part of the configuration", AT_ITS_END =>
        "[[configurators]]\nuse = \"my-plugin:my-plugin\"\n\
         args = { workers = [\"worker\"], compilers = [\"gcc\", \"clang\"], levels = [\"0\", \"2\"] }",
};

/// What else a command needs.
const OF_COMMANDS: &str = "[allow.\"my-plugin:my-plugin\"]\nexec = [\"*\"]";

macro_rules! embedded {
    ($($name:literal: $path:literal),+ $(,)?) => { &[$(($name, include_str!($path))),+] };
}

/// The SDK for Rust with its contract: a project needs nothing but this and crates.io.
const SDK: &[(&str, &str)] = embedded! {
    "src/args.rs": "../../../../sdk/rust/src/args.rs",
    "src/bindings.rs": "../../../../sdk/rust/src/bindings.rs",
    "src/export.rs": "../../../../sdk/rust/src/export.rs",
    "src/hooks.rs": "../../../../sdk/rust/src/hooks.rs",
    "src/lib.rs": "../../../../sdk/rust/src/lib.rs",
    "src/step.rs": "../../../../sdk/rust/src/step.rs",
    "src/values.rs": "../../../../sdk/rust/src/values.rs",
    "wit/master.wit": "../../../../wit/master.wit",
    "wit/deps/base/base.wit": "../../../../wit/deps/base/base.wit",
    "wit/deps/worker/worker.wit": "../../../../wit/deps/worker/worker.wit",
};

/// Where the SDK says which versions of its dependencies it wants.
const VERSIONS: &str = include_str!("../../../../Cargo.toml");

/// The kinds of hooks that there are templates for, each with what it does.
pub fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    TEMPLATES.iter().map(|template| (template.kind, template.does))
}

/// `windlass plugin new`.
pub fn new(order: &NewPlugin, json: bool) -> Result<Exit, Failed> {
    check_name(&order.name)?;
    let template = TEMPLATES.iter().find(|template| template.kind == order.hook);
    let template = template.expect("the command line takes the kinds of these templates");
    let folder = order.out.clone().unwrap_or_else(|| PathBuf::from(&order.name));
    if folder.symlink_metadata().is_ok() {
        return Err(refused(format!("`{}` is there already; nothing was changed", folder.display())));
    }
    let files = files(order.lang, template, &order.name);
    for (name, text) in &files {
        write(&folder.join(name), text)?;
    }
    if json {
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        print_json(&serde_json::json!({ "folder": folder, "files": names }));
    } else {
        tell(&folder, &files, template, &order.name);
    }
    Ok(Exit::Success)
}

/// What to write where, below the new folder. The first two are the author's own.
fn files(language: Language, template: &Template, name: &str) -> Vec<(String, String)> {
    let named = |text: &str| text.replace(PLACEHOLDER, name);
    let (source, ending) = match language {
        Language::Rust => return rust_files(template, name),
        Language::C => (template.c, "c"),
        Language::Python => (template.python, "py"),
        Language::JavaScript => (template.js, "js"),
    };
    let file = format!("{}.{ending}", name.replace('-', "_"));
    let manifest = include_str!("../../templates/plugin.toml")
        .replace("@LANGUAGE@", language.name())
        .replace("@HOOK@", template.kind)
        .replace("@SOURCE@", &file);
    vec![
        ("plugin.toml".to_owned(), named(&manifest)),
        (file, named(source)),
        (".gitignore".to_owned(), "/target\n".to_owned()),
    ]
}

fn rust_files(template: &Template, name: &str) -> Vec<(String, String)> {
    let named = |text: &str| text.replace(PLACEHOLDER, name);
    let mut files = vec![
        ("Cargo.toml".to_owned(), named(include_str!("../../templates/rust/Cargo.toml"))),
        ("src/lib.rs".to_owned(), named(template.rust)),
        (".gitignore".to_owned(), "/target\n".to_owned()),
        ("windlass-sdk/Cargo.toml".to_owned(), sdk_manifest()),
    ];
    // In a checkout the contract lies beside the SDK, here in it.
    files.extend(SDK.iter().map(|(path, text)| {
        (format!("windlass-sdk/{path}"), text.replace("path: \"../../wit\"", "path: \"wit\""))
    }));
    files
}

/// The SDK's manifest without the workspace that it has in a checkout.
fn sdk_manifest() -> String {
    let wanted = |line: &&str| {
        ["wit-bindgen =", "serde =", "serde_json ="].iter().any(|start| line.starts_with(start))
    };
    let dependencies: Vec<&str> = VERSIONS.lines().filter(wanted).collect();
    include_str!("../../templates/rust/sdk.toml")
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@DEPENDENCIES@", &dependencies.join("\n"))
}

/// The name becomes a hook's, a file's and a package's.
fn check_name(name: &str) -> Result<(), Failed> {
    if !is_kebab_case(name) {
        return Err(refused(format!("`{name}` is not in kebab-case, as `least-loaded` is{}", meant(name))));
    }
    if is_taken(name) {
        return Err(refused(format!("`{name}` is taken; pick another name")));
    }
    Ok(())
}

fn is_kebab_case(name: &str) -> bool {
    let word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.split('-').all(word)
}

/// Names that a toolchain or the host has taken: nothing of this kind can be called so.
fn is_taken(name: &str) -> bool {
    ["windlass", "windlass-sdk", "core", "std", "alloc", "test", "proc-macro", "types", "plugin"]
        .contains(&name)
}

/// What whoever gave that name may have meant.
fn meant(name: &str) -> String {
    if let Some((_, last)) = name.rsplit_once('/') {
        return format!("; `{last} --out {name}` makes it in another folder");
    }
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let kebab = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    let good = is_kebab_case(&kebab) && !is_taken(&kebab);
    if good { format!("; did you mean `{kebab}`?") } else { String::new() }
}

fn refused(why: String) -> Failed {
    Failed { exit: Exit::Refused, error: anyhow::Error::msg(why) }
}

fn write(path: &Path, text: &str) -> Result<(), Failed> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
    write_new(path, text, 0o644)
}

fn tell(folder: &Path, files: &[(String, String)], template: &Template, name: &str) {
    let shown = tame(&folder.display().to_string());
    let lines = |text: &str| {
        for line in text.replace(PLACEHOLDER, name).lines() {
            println!("      {}", paint(FAINT, line));
        }
    };
    println!(
        "made {shown} with {} and {}. Next, with your master's directory in place of `ci`:",
        files[0].0, files[1].0
    );
    println!("  {}", paint(HEADING, format_args!("windlass plugin check {shown}")));
    println!("  {}", paint(HEADING, format_args!("windlass plugin build {shown} --out ci/plugins")));
    println!(
        "  {}   once ci/master.toml says, {}:",
        paint(HEADING, "windlass --dir ci reconfig"),
        template.place
    );
    lines(template.usage);
    if template.kind == HookKind::SlaveCommand.as_str() {
        println!("  and worker.toml of each worker, at its end (a worker reads it when it starts):");
        lines(OF_COMMANDS);
        println!(
            "  A build step starts it, by the name {name}:{name}, as the one that `--hook build-step` makes"
        );
        println!("  starts windlass:shell.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those below a folder of this repository, by their paths in it.
    fn below(folder: &Path, prefix: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}/{}", path.file_name().unwrap().to_str().unwrap());
            match path.is_dir() {
                true => found.extend(below(&path, &name)),
                false => found.push((name, std::fs::read_to_string(path).unwrap())),
            }
        }
        found.sort();
        found
    }

    #[test]
    fn the_whole_sdk_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut there = below(&root.join("sdk/rust/src"), "src");
        there.extend(below(&root.join("wit"), "wit"));
        there.sort();
        let mut embedded: Vec<_> =
            SDK.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        embedded.sort();
        assert!(embedded == there, "SDK in this file is not what is in sdk/rust/src and wit/");
    }

    #[test]
    fn the_sdk_of_a_project_stands_alone() {
        let manifest = sdk_manifest();
        assert!(!manifest.contains("workspace") && !manifest.contains('@'), "{manifest}");
        assert_eq!(manifest.lines().skip_while(|line| *line != "[dependencies]").count(), 4, "{manifest}");
        let files = files(Language::Rust, &TEMPLATES[0], "a-policy");
        assert!(files.iter().all(|(_, text)| !text.contains("../../wit") && !text.contains(PLACEHOLDER)));
    }

    #[test]
    fn names_that_nothing_can_be_called_are_refused() {
        for name in ["", "A", "a_b", "-a", "a--b", "1a", "windlass", "core", "a/b", "../a"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("least-loaded2").is_ok());
        let meant = |name| check_name(name).unwrap_err().error.to_string();
        assert!(meant("Foo_Bar").ends_with("did you mean `foo-bar`?"));
        assert!(meant("plugins/foo").contains("`foo --out plugins/foo`"));
    }
}
