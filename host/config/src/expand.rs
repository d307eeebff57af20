//! Builders from templates and matrices: tables become more tables before anything is read.
//!
//! A builder takes from its templates what it does not say itself; the template `default` is the last of each. A matrix
//! is a table of lists: there is one builder for each combination, in whose texts `%(matrix:AXIS)s` is the value of an
//! axis, and which has it as a property, too.

use crate::diagnostic::Report;
use crate::node::{Entry, Node, Span, Tree};
use crate::section::canonical;

/// The most builders that one matrix makes.
const MOST: usize = 1000;

/// The template that each builder has.
const DEFAULT: &str = "default";

/// What holds in tables key by key; all else is taken whole from whoever says it first.
const JOINED: [&str; 3] = ["properties", "default_properties", "env"];

/// Replaces the builders of a file by what they stand for.
pub(crate) fn builders(root: &mut Node, report: &mut Report) {
    let mut templates = Templates::read(root);
    let Tree::Table(top) = &mut root.value else { return };
    if let Some(entry) = top.iter_mut().find(|entry| canonical(&entry.key) == "builders")
        && let Tree::List(items) = &mut entry.node.value
    {
        let old = std::mem::take(items);
        for mut builder in old {
            templates.fill_in(&mut builder, report);
            items.extend(combinations(builder, report));
        }
    }
    templates.warn_of_unused(report);
}

/// The templates of a file.
struct Templates {
    /// Each with its name, its place, and whether a builder takes it.
    all: Vec<(String, Span, Node, bool)>,
}

impl Templates {
    fn read(root: &Node) -> Templates {
        let section = root.entries().iter().find(|entry| canonical(&entry.key) == "templates");
        let entries = section.map(|entry| entry.node.entries()).unwrap_or_default();
        let one = |entry: &Entry| (entry.key.clone(), entry.key_span.clone(), entry.node.clone(), false);
        Templates { all: entries.iter().map(one).collect() }
    }

    /// Gives a builder what it does not say itself.
    fn fill_in(&mut self, builder: &mut Node, report: &mut Report) {
        if !matches!(builder.value, Tree::Table(_)) {
            return;
        }
        let asked = take(builder, "template");
        let mut names: Vec<(String, Span)> = Vec::new();
        let texts = match asked.as_ref().map(|entry| &entry.node) {
            Some(Node { value: Tree::List(items), .. }) => items.iter().collect(),
            Some(one) => vec![one],
            None => Vec::new(),
        };
        for node in texts {
            match node.as_text() {
                Some(name) => names.push((name.to_owned(), node.span.clone())),
                None => {
                    report
                        .error("wrong-type", &node.span, "`template` must be a list of texts")
                        .label(format!("this is {}", node.kind()));
                }
            }
        }
        for (name, span) in names {
            if self.give(&name, builder) {
                continue;
            }
            let known = self.all.iter().map(|(name, ..)| name.as_str());
            report.error("unknown-name", &span, format!("there is no template `{name}`")).near(
                &name,
                known,
                "templates stand in `[templates.NAME]`",
            );
        }
        self.give(DEFAULT, builder);
    }

    fn give(&mut self, name: &str, builder: &mut Node) -> bool {
        let Some((_, _, template, is_used)) = self.all.iter_mut().find(|(known, ..)| known == name) else {
            return false;
        };
        *is_used = true;
        complete(builder, template);
        true
    }

    fn warn_of_unused(&self, report: &mut Report) {
        for (name, span, _, is_used) in &self.all {
            if !is_used {
                report.warning("unused-template", span, format!("no builder takes the template `{name}`"));
            }
        }
    }
}

/// Adds what a table lacks.
fn complete(table: &mut Node, more: &Node) {
    let Tree::Table(entries) = &mut table.value else { return };
    for new in more.entries() {
        let name = canonical(&new.key);
        let same = |entry: &Entry| {
            let known = canonical(&entry.key);
            // A template that says `workers` says it to a builder that says `slavenames`.
            let names = |name: &str| crate::attributes::BUILDER.find(name).map(|attribute| attribute.name);
            known == name || (names(&known).is_some() && names(&known) == names(&name))
        };
        match entries.iter_mut().find(|entry| same(entry)) {
            None => entries.push(new.clone()),
            Some(old) if JOINED.contains(&name.as_str()) => {
                let Tree::Table(old) = &mut old.node.value else { continue };
                let lacks = |new: &&Entry| !old.iter().any(|old| old.key == new.key);
                let lacking: Vec<Entry> = new.node.entries().iter().filter(lacks).cloned().collect();
                old.extend(lacking);
            }
            Some(_) => {}
        }
    }
}

/// Takes an entry out of a table.
fn take(table: &mut Node, name: &str) -> Option<Entry> {
    let Tree::Table(entries) = &mut table.value else { return None };
    let at = entries.iter().position(|entry| canonical(&entry.key) == name)?;
    Some(entries.remove(at))
}

/// An axis of a matrix: its name, and its values.
type Axis = (String, Vec<Node>);

/// The builders that a builder stands for: itself, unless it has a matrix.
fn combinations(mut builder: Node, report: &mut Report) -> Vec<Node> {
    let except = take(&mut builder, "matrix_except");
    let Some(matrix) = take(&mut builder, "matrix") else {
        if let Some(except) = except {
            report.error("missing-key", &except.key_span, "`matrix_except` needs a `matrix`");
        }
        put_in(&mut builder, &[], report);
        return vec![builder];
    };
    let Some(axes) = read_axes(&matrix, report) else { return Vec::new() };
    let except = except.map(|entry| read_except(&entry, &axes, report)).unwrap_or_default();
    let mut made = vec![Vec::new()];
    for (name, values) in &axes {
        made = made.iter().flat_map(|chosen| values.iter().map(|value| with(chosen, name, value))).collect();
        if made.len() > MOST {
            let message = format!("this matrix makes more than {MOST} builders");
            report.error("bad-value", &matrix.key_span, message);
            return Vec::new();
        }
    }
    made.retain(|chosen| !except.iter().any(|one| excludes(one, chosen)));
    if let [_, _, ..] = made.as_slice()
        && let Some(name) = builder.entries().iter().find(|entry| canonical(&entry.key) == "name")
        && let Some(text) = name.node.as_text()
    {
        let missing = axes
            .iter()
            .find(|(axis, values)| values.len() > 1 && !text.contains(&format!("%(matrix:{axis})s")));
        if let Some((axis, _)) = missing {
            report
                .error("duplicate-name", &name.node.span, "all builders of the matrix would have this name")
                .help(format!("put `%(matrix:{axis})s` into it"));
            return Vec::new();
        }
    }
    let one = |chosen: &Vec<(&str, Node)>| {
        let mut builder = builder.clone();
        put_in(&mut builder, chosen, report);
        let key = |(axis, value): &(&str, Node)| Entry {
            key: (*axis).to_owned(),
            key_span: value.span.clone(),
            node: value.clone(),
        };
        let properties = Node::new(matrix.key_span.clone(), Tree::Table(chosen.iter().map(key).collect()));
        let properties =
            Entry { key: "properties".into(), key_span: matrix.key_span.clone(), node: properties };
        complete(&mut builder, &Node::new(matrix.key_span.clone(), Tree::Table(vec![properties])));
        builder
    };
    made.iter().map(one).collect()
}

/// A combination, and the value of one axis more.
fn with<'a>(chosen: &[(&'a str, Node)], name: &'a str, value: &Node) -> Vec<(&'a str, Node)> {
    let more = std::iter::once((name, value.clone()));
    chosen.iter().cloned().chain(more).collect()
}

fn read_axes(matrix: &Entry, report: &mut Report) -> Option<Vec<Axis>> {
    let Tree::Table(entries) = &matrix.node.value else {
        report
            .error("wrong-type", &matrix.node.span, "`matrix` must be a table of lists")
            .label(format!("this is {}", matrix.node.kind()));
        return None;
    };
    let mut axes = Vec::new();
    for entry in entries {
        let is_plain = |node: &Node| {
            matches!(node.value, Tree::Text(_) | Tree::Integer(_) | Tree::Float(_) | Tree::Boolean(_))
        };
        match &entry.node.value {
            Tree::List(values) if !values.is_empty() && values.iter().all(is_plain) => {
                axes.push((entry.key.clone(), values.clone()));
            }
            _ => {
                let message = format!("the axis `{}` must be a list of values", entry.key);
                report
                    .error("wrong-type", &entry.node.span, message)
                    .help("texts, numbers, `true` and `false`; at least one");
                return None;
            }
        }
    }
    Some(axes)
}

/// The combinations that are left out: each a table of values by axis.
fn read_except(except: &Entry, axes: &[Axis], report: &mut Report) -> Vec<Vec<(String, Node)>> {
    let one = [&except.node];
    let tables: Vec<&Node> = match &except.node.value {
        Tree::List(items) => items.iter().collect(),
        _ => one.to_vec(),
    };
    let mut all = Vec::new();
    for table in tables {
        if table.entries().is_empty() {
            report.error(
                "wrong-type",
                &table.span,
                "`matrix_except` must be a list of tables: values by axis",
            );
            continue;
        }
        for entry in table.entries() {
            let axis = axes.iter().find(|(name, _)| *name == entry.key);
            let values = axis.map(|(_, values)| values.as_slice()).unwrap_or_default();
            if axis.is_none() {
                report
                    .error("unknown-name", &entry.key_span, format!("there is no axis `{}`", entry.key))
                    .near(&entry.key, axes.iter().map(|(name, _)| name.as_str()), "");
            } else if !values.iter().any(|value| value.to_json() == entry.node.to_json()) {
                let message = format!("the axis `{}` has no such value", entry.key);
                report.error("unknown-name", &entry.node.span, message);
            }
        }
        all.push(table.entries().iter().map(|entry| (entry.key.clone(), entry.node.clone())).collect());
    }
    all
}

fn excludes(except: &[(String, Node)], chosen: &[(&str, Node)]) -> bool {
    let is_chosen = |(axis, value): &(String, Node)| {
        chosen.iter().any(|(name, one)| name == axis && one.to_json() == value.to_json())
    };
    except.iter().all(is_chosen)
}

/// Puts the values of axes into all texts. A text that is nothing else becomes the value itself.
fn put_in(node: &mut Node, chosen: &[(&str, Node)], report: &mut Report) {
    const BEGIN: &str = "%(matrix:";
    match &mut node.value {
        Tree::Text(text) => {
            let mut out = String::new();
            let mut rest = text.as_str();
            while let Some(at) = rest.find(BEGIN) {
                let after = &rest[at + BEGIN.len()..];
                let Some((axis, behind)) = after.split_once(")s") else { break };
                let Some((_, value)) = chosen.iter().find(|(name, _)| *name == axis) else {
                    let begin = text.len() - rest.len() + at;
                    let end = begin + BEGIN.len() + axis.len() + 2;
                    let names = chosen.iter().map(|(name, _)| *name);
                    report
                        .error("bad-template", &node.span, format!("there is no axis `{axis}`"))
                        .within(text, &(begin..end))
                        .near(axis, names, "this builder has no `matrix`");
                    // As a text that is none of a template, so that this is told once.
                    out.push_str(&rest[..at]);
                    out.push_str(axis);
                    rest = behind;
                    continue;
                };
                if at == 0 && behind.is_empty() && out.is_empty() {
                    node.value = value.value.clone();
                    return;
                }
                out.push_str(&rest[..at]);
                match &value.value {
                    Tree::Text(text) => out.push_str(text),
                    _ => out.push_str(&value.to_json().to_string()),
                }
                rest = behind;
            }
            out.push_str(rest);
            *text = out;
        }
        Tree::List(items) => items.iter_mut().for_each(|item| put_in(item, chosen, report)),
        Tree::Table(entries) => entries.iter_mut().for_each(|entry| put_in(&mut entry.node, chosen, report)),
        Tree::Null | Tree::Boolean(_) | Tree::Integer(_) | Tree::Float(_) | Tree::Moment(_) => {}
    }
}
