//! Builds small projects in C, Python and JavaScript with the tools of this machine.
#![cfg(feature = "languages")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use windlass_build::{BuildError, Builder};

/// A project of one `next-slave` policy in a fresh folder of this name.
fn project(below: &Path, name: &str, language: &str, source: &str) -> PathBuf {
    let folder = below.join(name);
    fs::create_dir_all(&folder).unwrap();
    let file = format!("policy.{}", if language == "python" { "py" } else { language });
    let manifest = format!(
        "language = \"{language}\"\nhooks = [\"next-slave\"]\nsource = \"{file}\"\nname = \"policy\"\n"
    );
    fs::write(folder.join("plugin.toml"), manifest).unwrap();
    fs::write(folder.join(file), source).unwrap();
    folder
}

fn build(folder: &Path) -> Result<Vec<u8>, BuildError> {
    let built = Builder::new(folder).build()?;
    assert_eq!(built[0].path, folder.canonicalize().unwrap().join("target/components/policy.wasm"));
    Ok(fs::read(&built[0].path).unwrap())
}

const C: &str = "#include <windlass.h>
WINDLASS_HOOKS({.kind = \"next-slave\", .name = \"first\", .summary = \"the first\"})
bool exports_next_slave_choose(text_t *name, text_t *args, model_builder_info_t *builder, model_slaves_t *slaves,
                               model_build_request_t *request, plugin_option_string_t *ret, windlass_failure_t *err) {
  ret->is_some = slaves->len > 0;
  if (ret->is_some) ret->val = slaves->ptr[0].name;
  return true;
}
";

/// Without any help of the SDK.
const PLAIN_JS: &str = "export const plugin = {
  describe: () => ({
    hooks: [{ kind: \"next-slave\", name: \"first\", summary: \"the first\", argsSchema: null, options: [] }],
    capabilities: [],
  }),
};
export const nextSlave = { choose: (name, args, builder, slaves) => slaves[0].name };
";

#[test]
fn c_is_the_same_bytes_wherever_it_lies_and_does_not_need_the_sdk() {
    let dir = tempfile::tempdir().unwrap();
    let here = build(&project(dir.path(), "here", "c", C)).unwrap();
    let deeper = build(&project(&dir.path().join("much/deeper"), "down", "c", C)).unwrap();
    assert_eq!(here[..8], *b"\0asm\x0d\0\x01\0");
    assert!(here == deeper);
    let plain = C.replace("windlass.h", "plugin.h").replace("text_t", "plugin_string_t").replace(
        "WINDLASS_HOOKS({.kind = \"next-slave\", .name = \"first\", .summary = \"the first\"})",
        "void exports_plugin_describe(exports_plugin_description_t *ret) { ret->hooks.len = 0; }",
    );
    assert!(build(&project(dir.path(), "plain", "c", &plain)).unwrap().len() < here.len());
}

#[test]
fn a_project_is_built_again_only_if_a_file_of_it_changed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = project(dir.path(), "js", "js", PLAIN_JS);
    let first = build(&folder).unwrap();
    let stamp = folder.join("target/projects/policy/component.wasm");
    let time = || fs::metadata(&stamp).unwrap().modified().unwrap();
    let before = time();
    assert!(build(&folder).unwrap() == first);
    assert_eq!(time(), before);
    fs::write(folder.join("notes"), "another file").unwrap();
    build(&folder).unwrap();
    assert!(time() > before);
}

#[test]
fn what_is_wrong_with_the_author_s_code_has_a_file_and_a_line() {
    let dir = tempfile::tempdir().unwrap();
    for (language, source, said) in [
        ("c", "#include <windlass.h>\nint f(void) { return unknown; }\n", "policy.c:2:22: error: "),
        ("python", "import windlass\n\nx = 1 +\n", "File \"policy.py\", line 3"),
        ("js", "export const plugin = 1;\nlet = = 3;\n", "policy.js:2:5"),
        ("js", "export const plugin = 1;\n", "Could not find export 'nextSlave'"),
    ] {
        let error = build(&project(dir.path(), language, language, source)).unwrap_err();
        assert!(matches!(error, BuildError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains(said), "no `{said}` in: {error}");
        assert!(!error.to_string().contains("componentize_py::"), "{error}");
    }
}

#[test]
fn a_source_that_is_not_there_and_a_manifest_that_is_wrong_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = project(dir.path(), "c", "c", C);
    fs::remove_file(folder.join("policy.c")).unwrap();
    assert!(matches!(build(&folder), Err(BuildError::NoSource { path }) if path.ends_with("policy.c")));
    fs::write(
        folder.join("plugin.toml"),
        "language = \"c\"\nhooks = [\"next-slav\"]\nsource = \"policy.c\"\n",
    )
    .unwrap();
    let error = build(&folder).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.contains("plugin.toml") && cause.contains("line 2") && cause.contains("`next-slave`"),
        "{cause}"
    );
}
