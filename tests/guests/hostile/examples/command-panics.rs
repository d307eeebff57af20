//! Panics in a command.

use hostile::command;

command!("command-panics", &[], panic!("\x1b]0;owned\x07<script>"));
