//! The whole system: real processes, real git, real components. One file for each theme.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod absence;
mod agents;
mod author;
mod cli;
mod commands;
mod config_ui;
mod configurators;
mod debug;
mod demo;
mod disk;
mod examples;
mod flow;
mod git;
mod guests;
mod holder;
mod hostile;
mod kept;
mod languages;
mod links;
mod locks;
mod logs;
mod outside;
mod parts;
mod policies;
mod published;
mod quarantine;
mod reconfiguration;
mod reload;
mod rendering;
mod reporters;
mod requests;
mod restart;
mod secrets;
mod steps;
mod sweep;
mod tidy;
mod tokens;
mod transfer;
mod trigger;
mod tutorials;
mod users;
mod why;
mod workers;
