//! Panics when it is asked for a codebase, with what the change says in its message.

hostile::codebase!("codebase-panics", |change| panic!("\x1b[31m{}", change.comments));
