//! Capabilities: what the master grants and what a worker allows, by hook.

use std::collections::BTreeMap;

use windlass_core::capability;

use crate::diagnostic::Report;
use crate::section::Field;

/// Hook to capability to scope.
pub(crate) type Grants = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// What the master grants where its file does not name the hook: the bundled commands may do what
/// they are made for.
pub(crate) fn bundled() -> Grants {
    let everything = |hook: &str, capability: &str| {
        (hook.to_owned(), BTreeMap::from([(capability.to_owned(), vec!["*".to_owned()])]))
    };
    let (shell, mut scopes) = everything("windlass:shell", "exec");
    // Which builder may use which secret is said by the builder; this is what puts it in.
    scopes.insert("secret".to_owned(), vec!["*".to_owned()]);
    let files = [
        "mkdir",
        "rmdir",
        "cpdir",
        "rmfile",
        "stat",
        "glob",
        "listdir",
        "upload-file",
        "upload-directory",
        "download-file",
    ];
    let files = files.map(|hook| everything(&format!("windlass:{hook}"), "files"));
    files.into_iter().chain([(shell, scopes)]).collect()
}

/// Reads `[grants."plugin:hook"]` or `[allow."plugin:hook"]`. The second list has each hook's key.
pub(crate) fn read<'a>(field: Field<'a>, what: &'a str, report: &mut Report) -> (Grants, Vec<Field<'a>>) {
    let mut grants = Grants::new();
    let hooks = field.table(report);
    for hook in &hooks {
        let mut scopes = BTreeMap::new();
        for capability in hook.table(report) {
            if !capability::ALL.contains(&capability.name) {
                report
                    .error(
                        "unknown-capability",
                        capability.key,
                        format!("{what}: there is no capability `{}`", capability.name),
                    )
                    .near(capability.name, capability::ALL, "");
            }
            scopes.insert(capability.name.to_owned(), capability.strings(report));
        }
        grants.insert(hook.name.to_owned(), scopes);
    }
    (grants, hooks)
}
