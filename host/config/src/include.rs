//! `include`: a configuration in several files. They are one: lists go on, tables are joined, and nothing is said twice.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::attributes::CONFIGURATION;
use crate::catalog::Catalog;
use crate::diagnostic::Report;
use crate::fixed;
use crate::node::{Entry, Node, Span, Tree};
use crate::section::{Field, canonical};
use crate::sources::Sources;
use crate::variables;

/// The most bytes of all files that one includes.
const MOST: usize = 64 << 20;

/// Joins what a file includes to it; none: one of the files is no TOML.
pub(crate) fn read(
    root: &mut Node,
    catalog: &dyn Catalog,
    sources: &mut Sources,
    report: &mut Report,
) -> Option<()> {
    let Tree::Table(entries) = &mut root.value else { return Some(()) };
    let Some(asked) = entries.iter_mut().find(|entry| canonical(&entry.key) == "include") else {
        return Some(());
    };
    // What the files say is not there yet, but which they are must be known.
    variables::fill_in(&mut asked.node, &|name| catalog.variable(name), report);
    // What is no text is reported by whoever reads this setting.
    let texts = match &asked.node.value {
        Tree::List(items) => items.iter().collect(),
        _ => vec![&asked.node],
    };
    let (mut joined, mut is_whole): (Vec<(PathBuf, Node)>, bool) = (Vec::new(), true);
    let mut room = MOST;
    for node in texts {
        let Some(pattern) = node.as_text() else { continue };
        match catalog.include(pattern, room) {
            Ok(files) if files.is_empty() => {
                let message = format!("there is no file `{pattern}`");
                // That a folder is empty may be meant; who names one file means that one.
                match pattern.contains('*') {
                    true => report.warning("nothing-included", &node.span, message),
                    false => report.error("nothing-included", &node.span, message),
                }
                .help("a path begins where this file is; `*` stands for any part of a name");
            }
            Ok(files) => {
                for file in files {
                    if joined.iter().any(|(path, _)| *path == file.path) {
                        continue;
                    }
                    room = room.saturating_sub(file.text.len());
                    let begin = sources.add(&file.name, &file.text);
                    match Node::parse(&file.text, begin, report) {
                        Some(root) => joined.push((file.path, root)),
                        None => is_whole = false,
                    }
                }
            }
            Err(why) => {
                let field = Field { name: &asked.key, key: &asked.key_span, node };
                field.refuse::<()>(&format!("cannot be followed: {why}"), "", report);
            }
        }
    }
    if !is_whole {
        return None;
    }
    let mut top = Top::new(root)?;
    for (_, file) in joined {
        let Tree::Table(entries) = file.value else { continue };
        for entry in entries {
            let key = canonical(&entry.key);
            match &*key {
                key if key == "include" || fixed::HERE.contains(&key) => {
                    let message = format!("`{key}` cannot stand in a file that is included");
                    report
                        .error("misplaced-setting", &entry.key_span, message)
                        .help("write it in the file that `windlass master` reads first");
                }
                _ => top.join(entry, report),
            }
        }
    }
    Some(())
}

/// What settings are joined to: the top of a configuration, with the places of its settings.
pub(crate) struct Top<'a> {
    entries: &'a mut Vec<Entry>,
    places: HashMap<String, usize>,
}

impl<'a> Top<'a> {
    /// None: it is no table, which somebody else says.
    pub fn new(root: &'a mut Node) -> Option<Top<'a>> {
        let Tree::Table(entries) = &mut root.value else { return None };
        let mut places = HashMap::new();
        for (place, entry) in entries.iter().enumerate() {
            places.entry(named(&entry.key)).or_insert(place);
        }
        Some(Top { entries, places })
    }

    /// Joins a setting: a list behind what is there, a table with what is there.
    pub fn join(&mut self, new: Entry, report: &mut Report) {
        let Some(old) = self.places.get(&named(&new.key)).map(|place| &mut self.entries[*place]) else {
            self.places.insert(named(&new.key), self.entries.len());
            self.entries.push(new);
            return;
        };
        match (&mut old.node.value, new.node.value) {
            (Tree::List(items), Tree::List(more)) => items.extend(more),
            (Tree::Table(entries), Tree::Table(more)) => {
                let mut there: HashMap<String, Span> =
                    entries.iter().map(|entry| (entry.key.clone(), entry.key_span.clone())).collect();
                for new in more {
                    match there.get(&new.key) {
                        Some(first) => twice(first, &new.key, &new.key_span, report),
                        None => {
                            there.insert(new.key.clone(), new.key_span.clone());
                            entries.push(new);
                        }
                    }
                }
            }
            _ => twice(&old.key_span, &new.key, &new.key_span, report),
        }
    }
}

/// The name of a setting of the top: `slaves` are `workers`, in whichever file.
fn named(key: &str) -> String {
    let name = canonical(key);
    CONFIGURATION.find(&name).map_or(name.into_owned(), |attribute| attribute.name.to_owned())
}

fn twice(first: &Span, key: &str, span: &Span, report: &mut Report) {
    let message = format!("`{key}` is there in two files");
    report.error("duplicate-name", span, message).also(first, "first here");
}
