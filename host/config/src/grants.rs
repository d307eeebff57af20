//! Capabilities: what the master grants and what a worker allows, by hook.

use std::collections::BTreeMap;

use windlass_core::capability;

use crate::diagnostic::Report;
use crate::secrets;
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
    Grants::from([
        (shell, scopes),
        everything("windlass:mkdir", "files"),
        everything("windlass:rmdir", "files"),
        everything("windlass:stat", "files"),
    ])
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
            } else if !capability::is_implemented(capability.name)
                && (hook.name, capability.name) != (secrets::HOOK, secrets::MASTER_PROCESS)
            {
                report
                    .warning(
                        "unused-grant",
                        capability.key,
                        format!("{what}: nothing implements `{}` yet", capability.name),
                    )
                    .help("the grant does nothing in this version");
            }
            scopes.insert(capability.name.to_owned(), capability.strings(report));
        }
        grants.insert(hook.name.to_owned(), scopes);
    }
    (grants, hooks)
}
