//! `[master]`: what needs a restart to change. Where workers connect may also be said as in Buildbot.

use std::path::PathBuf;

use crate::attributes::{CONFIGURATION, MASTER, PROTOCOL, PROTOCOLS};
use crate::config::Fixed;
use crate::diagnostic::Report;
use crate::node::{Node, Tree};
use crate::section::{Field, Section, canonical, either};
use crate::variables;

/// What of the top is read here. It stands in the first file alone, which is all that is read before the plugins are.
pub(crate) const HERE: [&str; 3] = ["master", "protocols", "slave_portnum"];

/// Reads it, and of the rest nothing.
pub(crate) fn peek(root: &Node, variable: &dyn Fn(&str) -> Option<String>, report: &mut Report) -> Fixed {
    let here = root.entries().iter().filter(|entry| HERE.contains(&&*canonical(&entry.key)));
    let mut root = Node { value: Tree::Table(here.cloned().collect()), span: root.span.clone(), ..*root };
    variables::fill_in(&mut root, variable, report);
    read(&mut Section::new(&CONFIGURATION, &(0..0), &root), report)
}

/// Takes it from the top of the file.
pub(crate) fn read(top: &mut Section<'_>, report: &mut Report) -> Fixed {
    let mut section = top.take("master", report).and_then(|f| f.section(&MASTER, report));
    let mut take = |name, report: &mut Report| section.as_mut().and_then(|s| s.take(name, report));
    let listen = take("listen", report);
    let state_dir = take("state_dir", report);
    let plugins_dir = take("plugins_dir", report);
    let public_dir = take("public_dir", report);
    if let Some(section) = section {
        section.finish(report);
    }
    let mut path = |field: Option<Field<'_>>, usual: &str| {
        PathBuf::from(field.and_then(|f| f.name(report)).unwrap_or(usual))
    };
    let (state_dir, plugins_dir) = (path(state_dir, "state"), path(plugins_dir, "plugins"));
    let public_dir = path(public_dir, "public");
    let port = read_protocols(top.take("protocols", report), report);
    let slave_portnum = top.take("slave_portnum", report);
    let port = either(port, slave_portnum, report);
    let listen = match either(listen, port, report) {
        Some(field) if listen.is_some() => read_address(field, report),
        Some(field) => read_port(field, report),
        None => None,
    };
    Fixed {
        listen: listen.unwrap_or_else(|| "127.0.0.1:9989".to_owned()),
        state_dir,
        plugins_dir,
        public_dir,
    }
}

/// `host:port`. Only its form is checked: a name is looked up when the master listens.
fn read_address(field: Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.text(report)?;
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Some(text.to_owned()),
        Some(_) | None => {
            field.refuse("is not an address", "write `HOST:PORT`, like `127.0.0.1:9989`", report)
        }
    }
}

/// The port of the one protocol.
fn read_protocols<'a>(field: Option<Field<'a>>, report: &mut Report) -> Option<Field<'a>> {
    let mut section = field?.section(&PROTOCOLS, report)?;
    let protocol = section.take("pb", report).and_then(|f| f.section(&PROTOCOL, report));
    section.finish(report);
    let mut protocol = protocol?;
    let port = protocol.take("port", report);
    protocol.finish(report);
    port
}

/// `9989`, `"9989"`, `"tcp:9989"`, `"tcp:9989:interface=HOST"`: all addresses of the machine unless it says which.
fn read_port(field: Field<'_>, report: &mut Report) -> Option<String> {
    const HELP: &str = "write `listen = \"HOST:PORT\"` in `[master]`";
    let text = match &field.node.value {
        Tree::Integer(port) => port.to_string(),
        Tree::Text(text) => text.clone(),
        _ => return field.wrong("a port or an address", report),
    };
    let mut parts = text.strip_prefix("tcp:").unwrap_or(&text).split(':');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let (port, host) = match second {
        None => (first, "0.0.0.0"),
        Some(rest) => match rest.strip_prefix("interface=") {
            Some(host) => (first, host),
            None if text.starts_with("tcp:") => return field.refuse("is not an address", HELP, report),
            None => (rest, first),
        },
    };
    match port.parse::<u16>() {
        Ok(port) if parts.next().is_none() && !host.is_empty() => Some(format!("{host}:{port}")),
        Ok(_) | Err(_) => field.refuse("is not an address", HELP, report),
    }
}
