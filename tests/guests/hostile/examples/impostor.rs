//! Has a hook of the same name as a bundled one.

use hostile::step;

step!("shell-command", panic!("the impostor ran"));
