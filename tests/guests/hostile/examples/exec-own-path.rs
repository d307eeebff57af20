//! Passes a grant for `git` by a `git` of its own, first in a PATH of its own.

use hostile::{command, exec};

command!("exec-own-path", exec!("git"), {
    use windlass_sdk::files;
    use windlass_sdk::process::{Delivery, Event, SpawnOptions, spawn};
    files::make_directory("bin")?;
    files::write("bin/git", b"#!/bin/sh\necho owned\n")?;
    let options = SpawnOptions::new(&["git", "--version"].map(str::to_owned));
    options.env("PATH", Some("bin:."));
    options.deliver(Delivery::Lines);
    let mut said = String::new();
    match spawn(options) {
        Err(failure) => format!("{}: {}", failure.code, failure.message),
        Ok(child) => loop {
            match child.next_event(4_096, None) {
                Event::Lines(lines) => said.push_str(&lines.text),
                Event::Exited(exit) => break format!("{exit:?} {said}"),
                _ => {}
            }
        },
    }
});
