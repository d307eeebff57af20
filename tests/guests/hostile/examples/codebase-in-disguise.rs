//! Puts a change into a codebase whose name is a terminal escape with a line break.

hostile::codebase!("codebase-in-disguise", |_change| Ok("\x1b[2J\nlib".to_owned()));
