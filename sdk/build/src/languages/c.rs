//! C: bindings are made here, clang compiles them with the author's files and our small C library, and the linker of
//! rustup's toolchain makes the component. No WASI, no other library.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

use super::{Project, failed};
use crate::{BuildError, Hook, contract, toolchain};

pub const SDK: [(&str, &str); 8] = [
    ("windlass.h", include_str!("../../../c/windlass.h")),
    ("windlass.c", include_str!("../../../c/windlass.c")),
    ("json.c", include_str!("../../../c/json.c")),
    ("libc.c", include_str!("../../../c/libc.c")),
    ("libc/stdio.h", include_str!("../../../c/libc/stdio.h")),
    ("libc/stdlib.h", include_str!("../../../c/libc/stdlib.h")),
    ("libc/string.h", include_str!("../../../c/libc/string.h")),
    ("README.md", include_str!("../../../c/README.md")),
];

/// The interfaces' names in C: short, since C has no namespaces.
const NAMES: [(&str, &str); 16] = [
    ("base/types", "windlass"),
    ("base/plugin", "plugin"),
    ("base/log", "log"),
    ("base/clock", "clock"),
    ("base/interruption", "interruption"),
    ("base/state", "state"),
    ("worker/process", "process"),
    ("worker/command-host", "command"),
    ("worker/files", "files"),
    ("master/model", "model"),
    ("master/step-host", "step"),
    ("master/transfer", "transfer"),
    ("master/decision", "decision"),
    ("master/scheduler-host", "scheduler"),
    ("master/fetch", "fetch"),
    ("master/master-process", "master_process"),
];

/// Small stack: deep recursion traps before it meets the data.
const STACK: &str = "stack-size=262144";

pub fn make(project: &Project<'_>, out: &Path, progress: &mut dyn FnMut(&str)) -> Result<(), BuildError> {
    let linker = toolchain::linker(&toolchain::rustc())?;
    let files = bindings(project).map_err(|error| BuildError::Bindings { message: error.to_string() })?;
    let files: Vec<(&str, &[u8])> = files.iter().collect();
    let bindings = project.write(&files, "bindings")?;
    let sdk = project.work.join("sdk");

    let objects = project.work.join("objects");
    fs::create_dir_all(&objects).map_err(failed(&objects))?;
    let types = "the contract";
    let mut linked = vec![(bindings.join("plugin_component_type.o"), types.to_owned())];
    let ours = ["windlass.c", "json.c", "libc.c"].map(|file| sdk.join(file));
    let ours = ours.into_iter().chain([bindings.join("plugin.c")]).map(|file| (file, "-w"));
    let authors = project.manifest.source.iter().map(|file| (file.clone(), "-Wall"));
    for (number, (file, warnings)) in ours.chain(authors).enumerate() {
        let object = objects.join(format!("{number}.o"));
        compile(project, &file, warnings, [&sdk, &bindings], &object, progress)?;
        linked.push((object, file.file_name().unwrap_or_default().to_string_lossy().into_owned()));
    }

    let mut command = project.command(&linker.component);
    command
        .arg("--wasm-ld-path")
        .arg(&linker.core)
        .args(["--wasi-adapter", "none", "--no-entry", "--gc-sections", "--strip-all", "--stack-first"])
        .args(["-z", STACK, "-o"])
        .arg(out)
        .args(linked.iter().map(|(object, _)| object));
    // The linker knows objects, the author files.
    project.run(command, progress, |said| {
        linked
            .iter()
            .fold(said.to_owned(), |said, (object, file)| said.replace(&object.display().to_string(), file))
    })
}

fn compile(
    project: &Project<'_>,
    file: &Path,
    warnings: &str,
    [sdk, bindings]: [&PathBuf; 2],
    object: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<(), BuildError> {
    let mut command = project.command(project.tool);
    command
        .args(["--target=wasm32-unknown-unknown", "-std=c11", "-Os", "-mbulk-memory", "-ffreestanding"])
        // The compiler's own headers (stdint.h ...) stay; the machine's libc is out of the way.
        .args(["-nostdlibinc", "-fno-color-diagnostics", warnings, "-isystem"])
        .arg(sdk.join("libc"))
        .arg("-isystem")
        .arg(sdk)
        .arg("-isystem")
        .arg(bindings)
        .args(["-I", "."])
        // No path of the machine in the bytes.
        .arg(format!("-ffile-prefix-map={}=/windlass", project.work.display()))
        .args(project.manifest.hooks.iter().map(define))
        .arg("-c")
        .arg(file)
        .arg("-o")
        .arg(object);
    project.run(command, progress, str::to_owned)
}

/// Tells the SDK which bindings there are: `-DWINDLASS_BUILD_STEP`.
fn define(hook: &Hook) -> String {
    format!("-DWINDLASS_{}", hook.kind.replace('-', "_").to_uppercase())
}

fn bindings(project: &Project<'_>) -> Result<Files, Box<dyn Error + Send + Sync>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(project.wit())?;
    let world = resolve.select_world(&[package], Some("plugin"))?;
    let there: Vec<String> = resolve.worlds[world]
        .imports
        .keys()
        .chain(resolve.worlds[world].exports.keys())
        .map(|key| resolve.name_world_key(key))
        .collect();
    let hooks = project.manifest.hooks.iter().map(|hook| {
        (
            format!("windlass:{}/{}@{}", hook.package, hook.kind, contract::VERSION),
            hook.kind.replace('-', "_"),
        )
    });
    let rest = NAMES
        .iter()
        .map(|(interface, name)| (format!("windlass:{interface}@{}", contract::VERSION), (*name).to_owned()));
    let options = wit_bindgen_c::Opts {
        rename: hooks.chain(rest).filter(|(interface, _)| there.contains(interface)).collect(),
        ..Default::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    Ok(files)
}
