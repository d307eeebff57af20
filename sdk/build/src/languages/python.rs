//! Python: componentize-py embeds CPython with the author's module.

use std::fmt::Write as _;
use std::path::Path;

use super::{Project, failed};
use crate::{BuildError, run};

pub const SDK: [(&str, &str); 2] = [
    ("windlass.py", include_str!("../../../python/windlass.py")),
    ("README.md", include_str!("../../../python/README.md")),
];

/// The module that componentize-py sees: what the author's module defines or has decorated, under the names that the
/// world wants.
const ENTRY: &str = "windlass_entry";

pub fn make(project: &Project<'_>, out: &Path, progress: &mut dyn FnMut(&str)) -> Result<(), BuildError> {
    let source = &project.manifest.source[0];
    let entry = project.write(&[(format!("{ENTRY}.py").as_str(), entry(project, source))], "source")?;
    let bindings = project.work.join("bindings");
    let mut command = project.command(project.tool);
    command.args(["-q", "-d"]).arg(project.wit()).args(["-w", "plugin", "bindings"]).arg(&bindings);
    run::run(command, progress)?;

    // Without a folder of packages that it is told, the tool takes those of the Python that is installed here.
    let packages = project.work.join("venv");
    let none = packages.join("lib/python3/site-packages");
    std::fs::create_dir_all(&none).map_err(failed(&none))?;
    progress(&format!("making a component of {} and Python: about 4 s", source.display()));
    let mut command = project.command(project.tool);
    command.args(["-q", "-d"]).arg(project.wit()).args(["-w", "plugin", "componentize", ENTRY]);
    if !project.manifest.wasi {
        command.arg("--stub-wasi");
    }
    for folder in [entry.as_path(), project.folder, &project.work.join("sdk")] {
        command.arg("-p").arg(folder);
    }
    command.arg("-o").arg(out).env("VIRTUAL_ENV", &packages).env("PYTHONDONTWRITEBYTECODE", "1");
    run::run(command, progress).map(drop)
}

fn entry(project: &Project<'_>, source: &Path) -> String {
    let module = source.with_extension("").display().to_string().replace('/', ".");
    let kinds: Vec<_> = project.manifest.hooks.iter().map(|hook| hook.kind).collect();
    let mut text = String::from("# Made by windlass-build.\nimport importlib\nimport windlass\n\n");
    writeln!(text, "author = importlib.import_module({module:?})").expect("a string takes everything");
    writeln!(text, "globals().update(windlass.exports(author, {kinds:?}))")
        .expect("a string takes everything");
    text
}
