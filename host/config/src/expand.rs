//! Builders from templates and matrices: tables become more tables before anything is read.
//!
//! A builder takes from its templates what it does not say itself; the template `default` is the last of each. A matrix
//! is a table of lists: there is one builder for each combination, in whose texts `%(matrix:AXIS)s` is the value of an
//! axis, and which has it as a property, too.

use std::collections::BTreeSet;

use crate::attributes::{BUILDER, FACTORY};
use crate::diagnostic::Report;
use crate::node::{Entry, Node, Span, Tree};
use crate::section::{Field, Section, canonical, two_spellings};

/// The most builders that one matrix makes.
const MOST: usize = 1000;

/// The template that each builder has.
const DEFAULT: &str = "default";

/// Where the value of an axis stands in a text begins so, and ends with `)s`.
const BEGIN: &str = "%(matrix:";

/// Where the values of axes are, too.
const PROPERTIES: &str = "properties";

/// What holds in tables key by key; all else is taken whole from whoever says it first.
const JOINED: [&str; 3] = [PROPERTIES, "default_properties", "env"];

/// Replaces the builders of a file by what they stand for. A matrix in which something is wrong makes none: what they
/// would be called is returned, `*` where the value of an axis stands.
pub(crate) fn builders(root: &mut Node, report: &mut Report) -> Vec<String> {
    let mut templates = Templates::read(root, report);
    let mut lost = Vec::new();
    let Tree::Table(top) = &mut root.value else { return lost };
    if let Some(entry) = top.iter_mut().find(|entry| canonical(&entry.key) == "builders")
        && let Tree::List(items) = &mut entry.node.value
    {
        let old = std::mem::take(items);
        for mut builder in old {
            hoist_factory(&mut builder);
            let own = names_of_properties(&builder);
            templates.fill_in(&mut builder, report);
            let name = name(&builder).map(|(name, _)| name.to_owned());
            match combinations(builder, &own, report) {
                Some(made) => items.extend(made),
                None => lost.extend(name.map(|name| with_stars(&name))),
            }
        }
    }
    templates.check_unused(report);
    lost
}

fn name(builder: &Node) -> Option<(&str, &Span)> {
    let entry = builder.entries().iter().find(|entry| canonical(&entry.key) == "name")?;
    Some((entry.node.as_text()?, &entry.node.span))
}

/// A name in which `*` stands for the values of axes.
fn with_stars(name: &str) -> String {
    let mut parts = name.split(BEGIN);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| name + "*" + part.split_once(")s").map_or("", |(_, behind)| behind))
}

/// Puts what a `factory` says where a builder says it, so that it is one setting for templates, too.
fn hoist_factory(builder: &mut Node) {
    let Tree::Table(entries) = &mut builder.value else { return };
    let names: BTreeSet<String> = entries.iter().map(|entry| canonical(&entry.key).into_owned()).collect();
    let Some(factory) = entries.iter_mut().find(|entry| canonical(&entry.key) == "factory") else { return };
    let Tree::Table(inner) = &mut factory.node.value else { return };
    // What is there twice is reported by whoever reads the builder.
    let moves = |entry: &mut Entry| {
        let name = canonical(&entry.key);
        FACTORY.find(&name).is_some() && !names.contains(&*name)
    };
    let moved: Vec<Entry> = inner.extract_if(.., moves).collect();
    entries.extend(moved);
}

/// The properties that a builder gives itself.
fn names_of_properties(builder: &Node) -> BTreeSet<String> {
    let properties = builder.entries().iter().filter(|entry| canonical(&entry.key) == PROPERTIES);
    properties.flat_map(|entry| entry.node.entries()).map(|entry| entry.key.clone()).collect()
}

/// The templates of a file.
struct Templates {
    all: Vec<Template>,
}

/// What builders take from one of them.
struct Template {
    name: String,
    /// Where its name stands.
    span: Span,
    settings: Node,
    /// Whether a builder takes it.
    is_used: bool,
}

impl Templates {
    fn read(root: &Node, report: &mut Report) -> Templates {
        let section = root.entries().iter().find(|entry| canonical(&entry.key) == "templates");
        let entries = section.map(|entry| entry.node.entries()).unwrap_or_default();
        let mut all = Vec::new();
        for Entry { key, key_span, node } in entries {
            match node.value {
                Tree::Table(_) => {}
                // A variable that is not set was reported.
                Tree::Null => continue,
                _ => {
                    Field { name: key, key: key_span, node }.wrong::<()>("a table", report);
                    continue;
                }
            }
            let mut settings = node.clone();
            if let Some(other) = take(&mut settings, "template", report) {
                report
                    .error("misplaced-setting", &other.key_span, "a template takes nothing from others")
                    .help("name all of them in the builder: `template = [\"ONE\", \"OTHER\"]`");
            }
            hoist_factory(&mut settings);
            all.push(Template { name: key.clone(), span: key_span.clone(), settings, is_used: false });
        }
        Templates { all }
    }

    /// Gives a builder what it does not say itself.
    fn fill_in(&mut self, builder: &mut Node, report: &mut Report) {
        if !matches!(builder.value, Tree::Table(_)) {
            return;
        }
        let asked = take(builder, "template", report);
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
            let known = self.all.iter().map(|template| template.name.as_str());
            report.error("unknown-name", &span, format!("there is no template `{name}`")).near(
                &name,
                known,
                "templates stand in `[templates.NAME]`",
            );
        }
        self.give(DEFAULT, builder);
    }

    fn give(&mut self, name: &str, builder: &mut Node) -> bool {
        let Some(template) = self.all.iter_mut().find(|template| template.name == name) else {
            return false;
        };
        template.is_used = true;
        complete(builder, &template.settings);
        true
    }

    /// What is wrong in others is found in the builders that take them.
    fn check_unused(&self, report: &mut Report) {
        for Template { name, span, settings, is_used } in &self.all {
            if !is_used {
                Section::new(&BUILDER, span, settings).check_unread(report);
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
            let names = |name: &str| BUILDER.find(name).map(|attribute| attribute.name);
            known == name || (names(&known).is_some() && names(&known) == names(&name))
        };
        match entries.iter_mut().find(|entry| same(entry)) {
            None => entries.push(new.clone()),
            Some(old) if JOINED.contains(&&*name) => {
                let Tree::Table(old) = &mut old.node.value else { continue };
                let lacks = |new: &&Entry| !old.iter().any(|old| old.key == new.key);
                let lacking: Vec<Entry> = new.node.entries().iter().filter(lacks).cloned().collect();
                old.extend(lacking);
            }
            Some(_) => {}
        }
    }
}

/// Takes a setting out of a table.
fn take(table: &mut Node, name: &str, report: &mut Report) -> Option<Entry> {
    let Tree::Table(entries) = &mut table.value else { return None };
    let mut found = entries.extract_if(.., |entry| canonical(&entry.key) == name);
    let first = found.next()?;
    for other in found {
        two_spellings(Field::of(&first), Field::of(&other), report);
    }
    // A variable that is not set was reported.
    (!matches!(first.node.value, Tree::Null)).then_some(first)
}

/// An axis of a matrix: its name, and its values.
type Axis = (String, Vec<Node>);

/// The builders that a builder stands for: itself, unless it has a matrix. `own` are the properties that it gives itself.
/// None: something is wrong with the matrix.
fn combinations(mut builder: Node, own: &BTreeSet<String>, report: &mut Report) -> Option<Vec<Node>> {
    let except = take(&mut builder, "matrix_except", report);
    let Some(matrix) = take(&mut builder, "matrix", report) else {
        if let Some(except) = except {
            report.error("missing-key", &except.key_span, "`matrix_except` needs a `matrix`");
        }
        put_in(&mut builder, &[], report);
        return Some(vec![builder]);
    };
    let axes = read_axes(&matrix, report)?;
    // Looked at before anything is made.
    let count = axes.iter().try_fold(1_usize, |count, (_, values)| count.checked_mul(values.len()));
    if count.is_none_or(|count| count > MOST) {
        let message = format!("this matrix makes more than {MOST} builders");
        report.error("bad-value", &matrix.key_span, message);
        return None;
    }
    let mut chosen = vec![Vec::new()];
    for (name, values) in &axes {
        chosen =
            chosen.iter().flat_map(|chosen| values.iter().map(|value| with(chosen, name, value))).collect();
    }
    if let Some(except) = except {
        let all = read_except(&except, &axes, report);
        chosen.retain(|chosen| !all.iter().any(|one| excludes(one, chosen)));
        if chosen.is_empty() {
            report.warning(
                "empty-matrix",
                &except.key_span,
                "`matrix_except` leaves no builder of this matrix",
            );
        }
    }
    let one = |chosen: &Vec<(&str, Node)>| {
        let mut builder = builder.clone();
        put_in(&mut builder, chosen, report);
        give_properties(&mut builder, chosen, own, &matrix.key_span, report);
        builder
    };
    let made: Vec<Node> = chosen.iter().map(one).collect();
    are_named_apart(&builder, &made, &axes, report).then_some(made)
}

/// Makes properties of the values of axes. A template's of the same names count less, the builder's own must be the same.
fn give_properties(
    builder: &mut Node,
    chosen: &[(&str, Node)],
    own: &BTreeSet<String>,
    span: &Span,
    report: &mut Report,
) {
    let Tree::Table(entries) = &mut builder.value else { return };
    if !entries.iter().any(|entry| canonical(&entry.key) == PROPERTIES) {
        let node = Node::new(span.clone(), Tree::Table(Vec::new()));
        entries.push(Entry { key: PROPERTIES.to_owned(), key_span: span.clone(), node });
    }
    let found = entries.iter_mut().find(|entry| canonical(&entry.key) == PROPERTIES);
    let Some(Tree::Table(properties)) = found.map(|entry| &mut entry.node.value) else { return };
    for (axis, value) in chosen {
        match properties.iter_mut().find(|entry| entry.key == *axis) {
            None => properties.push(Entry {
                key: (*axis).to_owned(),
                key_span: value.span.clone(),
                node: value.clone(),
            }),
            Some(entry) if !own.contains(*axis) => entry.node = value.clone(),
            Some(entry) if entry.node.to_json() != value.to_json() => {
                let message = format!("the property `{axis}` is what the matrix says");
                report
                    .error("bad-value", &entry.node.span, message)
                    .help("leave it out, or give one of the two another name");
            }
            Some(_) => {}
        }
    }
}

/// Whether each builder of a matrix has a name of its own.
fn are_named_apart(builder: &Node, made: &[Node], axes: &[Axis], report: &mut Report) -> bool {
    let Some((pattern, span)) = name(builder) else { return true };
    let (mut names, mut twice) = (BTreeSet::new(), None);
    for (name, _) in made.iter().filter_map(name) {
        if !names.insert(name) {
            twice.get_or_insert(name);
        }
    }
    let Some(twice) = twice else { return true };
    let message = match names.len() {
        1 => "all builders of the matrix would have this name".to_owned(),
        _ => format!("several builders of the matrix would have the name `{twice}`"),
    };
    let finding = report.error("duplicate-name", span, message);
    let missing = axes
        .iter()
        .find(|(axis, values)| values.len() > 1 && !pattern.contains(&format!("%(matrix:{axis})s")));
    if let Some((axis, _)) = missing {
        finding.help(format!("put `%(matrix:{axis})s` into it"));
    }
    false
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
                    (node.value, node.is_loose) = (value.value.clone(), value.is_loose);
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
