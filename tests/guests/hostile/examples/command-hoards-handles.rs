//! Holds options for children without end.

use hostile::command;

command!("command-hoards-handles", &[], {
    let mut held = Vec::new();
    loop {
        held.push(windlass_sdk::process::SpawnOptions::new(&["true".to_owned()]));
    }
});
