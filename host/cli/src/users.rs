//! `users`: whom the configuration knows, and what they wrote lately.

use anstream::{print, println};
use anstyle::Style;
use windlass_master::view::User;
use windlass_web::client::Client;

use crate::exit::{Exit, Failed};
use crate::output::{FAINT, HEADING, Table, duration, paint, tame};
use crate::place::now_ms;
use crate::query::{encode, print_json, short_revision};

/// `windlass users`.
pub async fn users(client: &Client, name: Option<&str>, json: bool) -> Result<Exit, Failed> {
    if let Some(name) = name {
        let user: User = client.get(&format!("/api/v1/users/{}", encode(name))).await?;
        match json {
            true => print_json(&user),
            false => print_user(&user),
        }
        return Ok(Exit::Success);
    }
    let users: Vec<User> = client.get("/api/v1/users").await?;
    if json {
        print_json(&users);
    } else if users.is_empty() {
        println!("no users are known; `[[user_managers]]` in master.toml names a file of them");
    } else {
        let mut table = Table::new(&["user", "", "of the newest changes", "the last"]);
        for user in &users {
            table.row(vec![
                (HEADING, user.name.clone()),
                (Style::new(), user.full_name.clone().unwrap_or_default()),
                (FAINT, user.recent.to_string()),
                (FAINT, last(user)),
            ]);
        }
        print!("{table}");
    }
    Ok(Exit::Success)
}

fn last(user: &User) -> String {
    let Some(change) = &user.last else { return String::new() };
    let ago = duration(now_ms().saturating_sub(change.when.0));
    let revision = change.revision.as_deref().map(short_revision).unwrap_or_default();
    format!("{ago} ago, change {} {revision}", change.id)
}

fn print_user(user: &User) {
    let full = user.full_name.as_ref().map(|name| format!(", {}", tame(name))).unwrap_or_default();
    println!("{}{full}", paint(HEADING, tame(&user.name)));
    for (what, texts) in [("address", &user.emails), ("identity", &user.identities)] {
        for text in texts {
            println!("{what}: {}", tame(text));
        }
    }
    println!("{}", paint(FAINT, format_args!("{} of the newest 1,000 changes", user.recent)));
    if let Some(change) = &user.last {
        println!("{}", paint(FAINT, format_args!("the last: {}, as {}", last(user), tame(&change.author))));
    }
}
