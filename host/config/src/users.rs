//! `[[user_managers]]`: files that say who is who. They are read whenever the configuration is, and checked with it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use windlass_core::user::{User, Users, email_key};

use crate::attributes::{USER, USER_MANAGER, USERS_FILE};
use crate::catalog::Catalog;
use crate::config::UserManager;
use crate::diagnostic::Report;
use crate::names::Names;
use crate::node::{Node, Span};
use crate::section::{Field, Section, canonical};
use crate::sources::Sources;

/// The most bytes of all files of users.
const MOST: usize = 16 << 20;

/// Who is known, and which files say so.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) managers: Vec<UserManager>,
    pub(crate) users: Users,
}

/// Reads the managers of a configuration and the files that they name.
pub(crate) fn read(root: &Node, catalog: &dyn Catalog, sources: &mut Sources, report: &mut Report) -> Found {
    let entry = root.entries().iter().find(|entry| canonical(&entry.key) == "user_managers");
    let Some(asked) = entry.map(Field::of) else { return Found::default() };
    let mut managers = Vec::new();
    let mut paths: Vec<(PathBuf, &Span)> = Vec::new();
    let mut files = Vec::new();
    let mut room = MOST;
    for section in asked.sections(&USER_MANAGER, report) {
        let Some(field) = read_manager(section, report) else { continue };
        let Some(path) = field.name(report) else { continue };
        let found = match path.contains('*') {
            true => Err("`*` stands for nothing here: name one file".to_owned()),
            false => catalog.include(path, room),
        };
        match found.map(|files| files.into_iter().next()) {
            Ok(Some(file)) => {
                if let Some((_, first)) = paths.iter().find(|(known, _)| *known == file.path) {
                    report
                        .error("duplicate-name", &field.node.span, "this file of users is there twice")
                        .also(first, "first here");
                    continue;
                }
                room = room.saturating_sub(file.text.len());
                let begin = sources.add(&file.name, &file.text);
                files.extend(Node::parse(&file.text, begin, report).map(|root| (begin, root)));
                paths.push((file.path, &field.node.span));
                managers.push(UserManager { path: path.to_owned() });
            }
            Ok(None) => {
                field.refuse::<()>("names no file", "a path begins where master.toml is", report);
            }
            Err(why) => {
                field.refuse::<()>(&format!("cannot be read: {why}"), "", report);
            }
        }
    }
    let mut people = People { names: Names::new("user"), claims: BTreeMap::new(), list: Vec::new() };
    for (begin, root) in &files {
        let mut file = Section::new(&USERS_FILE, &(*begin..*begin), root);
        let users = file.take("users", report);
        file.finish(report);
        for section in users.map(|field| field.sections(&USER, report)).unwrap_or_default() {
            people.read(section, report);
        }
    }
    Found { managers, users: people.list.into() }
}

fn read_manager<'a>(mut section: Section<'a>, report: &mut Report) -> Option<Field<'a>> {
    let kind = section.take("type", report);
    let path = section.take("path", report);
    section.finish(report);
    if let Some((field, text)) = kind.and_then(|field| Some((field, field.text(report)?)))
        && text != "file"
    {
        field.refuse::<()>("is no user manager that there is", "there are files: \"file\"", report);
    }
    path
}

/// The people of all files.
struct People {
    names: Names,
    /// What stands for a user, and which: that one's place, and where it says so.
    claims: BTreeMap<Claim, (usize, Span)>,
    list: Vec<User>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Identity(String),
    Email(String),
}

impl People {
    fn read(&mut self, mut section: Section<'_>, report: &mut Report) {
        let place = self.list.len();
        let name = section.take("name", report).and_then(|field| Some((field, field.name(report)?)));
        let full_name = section.take("full_name", report).and_then(|field| field.name(report));
        let emails = section.take("emails", report);
        let identities = section.take("identities", report);
        section.finish(report);
        if let Some((field, name)) = name {
            self.names.give(name, &field.node.span, report);
            let claim = Claim::Identity(name.trim().to_owned());
            // That a name is there twice is said already.
            let is_twice = self.claims.get(&claim).is_some_and(|(first, _)| self.list[*first].name == name);
            if !is_twice {
                self.claim(claim, name, place, &field.node.span, report);
            }
        }
        let emails = self.texts(emails, place, |email| Claim::Email(email_key(email)), report);
        let identity = |identity: &str| Claim::Identity(identity.trim().to_owned());
        let identities = self.texts(identities, place, identity, report);
        let name = name.map(|(_, name)| name.to_owned()).unwrap_or_default();
        self.list.push(User { name, full_name: full_name.map(str::to_owned), emails, identities });
    }

    fn texts(
        &mut self,
        field: Option<Field<'_>>,
        place: usize,
        claim: impl Fn(&str) -> Claim,
        report: &mut Report,
    ) -> Vec<String> {
        let Some(field) = field else { return Vec::new() };
        let mut texts = Vec::new();
        for (text, span) in field.texts(report) {
            if text.trim().is_empty() {
                report.error("bad-value", span, format!("`{}` has an empty text", field.name));
                continue;
            }
            self.claim(claim(text), text, place, span, report);
            texts.push(text.to_owned());
        }
        texts
    }

    /// What two users claim stands for neither.
    fn claim(&mut self, claim: Claim, text: &str, place: usize, span: &Span, report: &mut Report) {
        match self.claims.get(&claim) {
            Some((first, _)) if *first == place => {}
            Some((first, at)) => {
                let other = &self.list[*first].name;
                report
                    .error("duplicate-name", span, format!("`{text}` stands for the user `{other}` already"))
                    .also(at, "first here")
                    .help("an identity or address belongs to one user");
            }
            None => {
                self.claims.insert(claim, (place, span.clone()));
            }
        }
    }
}
