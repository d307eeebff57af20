//! Reads `worker.toml`.

use std::path::PathBuf;

use crate::attributes::WORKER_FILE;
use crate::config::WorkerFile;
use crate::diagnostic::Report;
use crate::grants;
use crate::node::Node;
use crate::section::{Field, Section};

/// What programs usually need to find their way.
const INHERITED: [&str; 10] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_CACHE_HOME"];

/// Reads the whole file. What is returned is worth something only if the report has no error.
pub(crate) fn read(root: &Node, report: &mut Report) -> WorkerFile {
    let mut section = Section::new(&WORKER_FILE, &(0..0), root);
    let name = section.take("name", report);
    let master = section.take("master", report);
    let token_file = section.take("token_file", report);
    let base_dir = section.take("base_dir", report);
    let allow = section.take("allow", report);
    let inherit_env = section.take("inherit_env", report);
    section.finish(report);
    let mut path = |field: Option<Field<'_>>, usual: &str| {
        PathBuf::from(field.and_then(|f| f.name(report)).unwrap_or(usual))
    };
    let (token_file, base_dir) = (path(token_file, "token"), path(base_dir, "work"));
    WorkerFile {
        name: name.and_then(|f| f.name(report)).unwrap_or_default().to_owned(),
        master: master.and_then(|f| read_master(f, report)).unwrap_or_default(),
        token_file,
        base_dir,
        allow: allow.map(|f| grants::read(f, "[allow]", report).0).unwrap_or_default(),
        inherit_env: inherit_env.map_or_else(|| INHERITED.map(str::to_owned).to_vec(), |f| f.strings(report)),
    }
}

/// `ws://host:port`, or `host:port` for short.
fn read_master(field: Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.text(report)?;
    let address = match text.split_once("://") {
        Some(("ws", address)) => address.trim_end_matches('/'),
        Some(("wss", _)) => {
            return field.refuse(
                "asks for TLS, which is not supported yet",
                "write `ws://HOST:PORT`",
                report,
            );
        }
        Some(_) => return field.refuse("is not an address of a master", "write `ws://HOST:PORT`", report),
        None => text,
    };
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Some(format!("ws://{address}"))
        }
        Some(_) | None => field.refuse("is not an address of a master", "write `ws://HOST:PORT`", report),
    }
}
