//! People as the configuration knows them, and whose an author of a change is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Unique; what lists show.
    pub name: String,
    /// As it is written in full.
    pub full_name: Option<String>,
    /// Addresses, as they stand in `<>` in an author, or alone; large and small letters are the same.
    pub emails: Vec<String>,
    /// Authors as they stand in changes: `Jo Doe <jo@example.org>`, or a name in another system.
    pub identities: Vec<String>,
}

/// All that are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<User>", into = "Vec<User>")]
pub struct Users {
    list: Vec<User>,
    /// Places in the list.
    by_identity: BTreeMap<String, usize>,
    by_email: BTreeMap<String, usize>,
}

impl Users {
    /// All, in the order of their files.
    #[must_use]
    pub fn list(&self) -> &[User] {
        &self.list
    }

    /// Whose an author is: one of whom it is an identity or the name; else one who has its address.
    #[must_use]
    pub fn find(&self, author: &str) -> Option<&User> {
        let by_identity = || self.by_identity.get(author.trim());
        let by_email = || self.by_email.get(&email_key(email_of(author)?));
        by_identity().or_else(by_email).map(|place| &self.list[*place])
    }
}

impl From<Vec<User>> for Users {
    /// What two of them claim is the first one's; a checked configuration has no such thing.
    fn from(list: Vec<User>) -> Users {
        let (mut by_identity, mut by_email) = (BTreeMap::new(), BTreeMap::new());
        for (place, user) in list.iter().enumerate() {
            for identity in user.identities.iter().chain([&user.name]) {
                by_identity.entry(identity.trim().to_owned()).or_insert(place);
            }
            for email in &user.emails {
                by_email.entry(email_key(email)).or_insert(place);
            }
        }
        Users { list, by_identity, by_email }
    }
}

impl From<Users> for Vec<User> {
    fn from(users: Users) -> Vec<User> {
        users.list
    }
}

/// The address of an author: what stands in `<>`, or all of it if it looks like one.
#[must_use]
pub fn email_of(author: &str) -> Option<&str> {
    match author.rsplit_once('<') {
        Some((_, rest)) => rest.split_once('>').map(|(email, _)| email.trim()),
        None => Some(author.trim()).filter(|text| text.contains('@') && !text.contains(char::is_whitespace)),
    }
}

/// As addresses are compared.
#[must_use]
pub fn email_key(email: &str) -> String {
    email.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, emails: &[&str], identities: &[&str]) -> User {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        User { name: name.into(), full_name: None, emails: list(emails), identities: list(identities) }
    }

    #[test]
    fn an_author_is_known_by_identity_by_name_or_by_address_in_this_order() {
        let users = Users::from(vec![
            user("jo", &["Jo@x.org"], &["jdoe", "Ann Roe <ann@old.org>"]),
            user("ann", &["ann@x.org", "ann@old.org"], &[]),
        ]);
        let found = |author: &str| users.find(author).map(|user| user.name.as_str());
        for (author, user) in [
            ("jdoe", Some("jo")),
            (" jdoe ", Some("jo")),
            ("jo", Some("jo")),
            ("Joanna <jo@X.org>", Some("jo")),
            ("JO@x.ORG", Some("jo")),
            // The whole of it first, its address then.
            ("Ann Roe <ann@old.org>", Some("jo")),
            ("A. Roe <ann@old.org>", Some("ann")),
            ("Jo", None),
            ("jo@x.org and more", None),
            ("<", None),
            ("", None),
        ] {
            assert_eq!(found(author), user, "{author:?}");
        }
    }

    #[test]
    fn users_are_written_as_a_list_and_read_back() {
        let users = Users::from(vec![user("jo", &["jo@x.org"], &["jdoe"])]);
        let text = serde_json::to_string(&users).unwrap();
        assert!(text.starts_with('['), "{text}");
        assert_eq!(serde_json::from_str::<Users>(&text).unwrap(), users);
    }
}
