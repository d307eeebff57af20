//! Python: componentize-py embeds CPython with the author's module.

use std::fmt::Write as _;
use std::path::Path;

use super::{Project, failed};
use crate::BuildError;

pub const SDK: [(&str, &str); 2] = [
    ("windlass.py", include_str!("../../../python/windlass.py")),
    ("README.md", include_str!("../../../python/README.md")),
];

/// The module that componentize-py sees: what the author's module defines or has decorated, under the names that the
/// world wants.
const ENTRY: &str = "windlass_entry";

pub fn make(project: &Project<'_>, out: &Path, progress: &mut dyn FnMut(&str)) -> Result<(), BuildError> {
    let source = &project.manifest.source[0];
    // A copy, since the tool leaves `__pycache__` where it reads.
    let copy = project.write(&[(format!("{ENTRY}.py").as_str(), entry(project, source))], "source")?;
    project.copy_source(&copy)?;
    let bindings = project.work.join("bindings");
    let mut command = project.command(project.tool);
    command.args(["-q", "-d"]).arg(project.wit()).args(["-w", "plugin", "bindings"]).arg(&bindings);
    project.run(command, progress, str::to_owned)?;

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
    for folder in [copy, project.work.join("sdk")] {
        command.arg("-p").arg(folder);
    }
    command.arg("-o").arg(out).env("VIRTUAL_ENV", &packages);
    project.run(command, progress, tidy)
}

/// The traceback of the author's module, without the tool's own before and behind it.
fn tidy(said: &str) -> String {
    let inner = said.split_once("AssertionError: ").map_or(said, |(_, inner)| inner);
    let inner = inner.split_once("\n\nCaused by:").map_or(inner, |(inner, _)| inner);
    let mut ours = false;
    let mut kept = Vec::new();
    for line in inner.trim_end().lines() {
        // A frame is a line that names the file, and what is indented more below it.
        if let Some(file) = line.strip_prefix("  File \"") {
            ours = file.starts_with(&format!("/0/{ENTRY}.py")) || file.starts_with("/python/importlib/");
        } else if !line.starts_with("    ") {
            ours = false;
        }
        if !ours {
            kept.push(
                line.replace("  File \"/0/", "  File \"").replace("  File \"/1/", "  File \"windlass/"),
            );
        }
    }
    kept.join("\n")
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

#[cfg(test)]
mod tests {
    use super::tidy;

    #[test]
    fn an_error_is_the_author_s_traceback_alone() {
        let said = "Traceback (most recent call last):\n  File \"/somewhere/bin/componentize-py\", line 8, in <module>\n    \
            sys.exit(script())\nAssertionError: Traceback (most recent call last):\n  File \"/0/windlass_entry.py\", \
            line 5, in <module>\n    author = importlib.import_module(\"bad\")\n  File \"/python/importlib/__init__.py\", \
            line 88, in import_module\n    return it\n           ~~\n  File \"/0/bad.py\", line 3\n    x = 1 +\n           \
            ^\nSyntaxError: invalid syntax\n\n\nCaused by:\n    SyntaxError\n\nStack backtrace:\n   0: anyhow\n";
        assert_eq!(
            tidy(said),
            "Traceback (most recent call last):\n  File \"bad.py\", line 3\n    x = 1 +\n           ^\nSyntaxError: \
             invalid syntax"
        );
    }
}
