//! Computes for ever in a command, and calls the host now and then.

use hostile::command;

command!("command-spins-between-calls", &[], {
    loop {
        std::hint::black_box(windlass_sdk::clock::now());
    }
});
