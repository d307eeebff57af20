//! Text to checked configuration, with every diagnostic at once.

pub mod config;
