//! Puts a change into no codebase.

hostile::codebase!("codebase-of-nothing", |_change| Ok(String::new()));
