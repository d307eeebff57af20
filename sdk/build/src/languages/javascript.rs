//! JavaScript: componentize-qjs embeds QuickJS with the author's module.

use std::fmt::Write as _;
use std::path::Path;

use super::Project;
use crate::BuildError;

pub const SDK: [(&str, &str); 7] = [
    ("index.js", include_str!("../../../js/index.js")),
    ("check.js", include_str!("../../../js/check.js")),
    ("step.js", include_str!("../../../js/step.js")),
    ("command.js", include_str!("../../../js/command.js")),
    ("fetch.js", include_str!("../../../js/fetch.js")),
    ("package.json", include_str!("../../../js/package.json")),
    ("README.md", include_str!("../../../js/README.md")),
];

/// The module that componentize-qjs sees: it exports what the author's module does, and says what is missing.
const ENTRY: &str = "windlass-entry.js";

pub fn make(project: &Project<'_>, out: &Path, progress: &mut dyn FnMut(&str)) -> Result<(), BuildError> {
    let source = project.manifest.source[0].display().to_string();
    // Bare imports are looked for in `node_modules` of the one folder that the tool may read.
    let root = project.write(&[(ENTRY, entry(project, &source))], "source")?;
    project.copy_source(&root)?;
    project.write(&SDK, "source/node_modules/windlass")?;
    progress(&format!("making a component of {source} and QuickJS: about 1 s"));
    let mut command = project.command(project.tool);
    command.arg("--wit").arg(project.wit()).args(["--world", "plugin", "--sync"]);
    if !project.manifest.wasi {
        command.arg("--stub-wasi");
    }
    command.arg("--module-root").arg(&root).arg("--js").arg(root.join(ENTRY)).arg("--output").arg(out);
    project.run(command, progress, tidy)
}

/// The error itself, with the author's files as they are called in the project.
fn tidy(said: &str) -> String {
    let said = said.trim_start_matches("Error: : ").replace("/node_modules/windlass/", "windlass/");
    said.replace("(/", "(").replace("at /", "at ").replace("'/", "'").trim_end().to_owned()
}

fn entry(project: &Project<'_>, source: &str) -> String {
    let mut text = String::from("// Made by windlass-build.\n");
    let kinds = project.manifest.hooks.iter().map(|hook| hook.kind).chain(["plugin"]);
    for kind in kinds {
        let name = camel_case(kind);
        writeln!(text, "import {{ {name} }} from {:?};\nexport {{ {name} }};", format!("./{source}"))
            .expect("a string takes everything");
    }
    text
}

/// `next-slave` as JavaScript has it: `nextSlave`.
fn camel_case(kind: &str) -> String {
    let mut words = kind.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name + &head.to_uppercase() + tail
    })
}
