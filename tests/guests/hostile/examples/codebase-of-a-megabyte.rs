//! Puts a change into a codebase whose name is a megabyte.

hostile::codebase!("codebase-of-a-megabyte", |_change| Ok("x".repeat(1 << 20)));
