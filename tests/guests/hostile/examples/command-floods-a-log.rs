//! Writes to a log for ever, from a worker.

use hostile::command;

command!("command-floods-a-log", &[], {
    let chunk = vec![b'x'; 64 * 1024];
    loop {
        windlass_sdk::command::log_chunk("stdio", windlass_sdk::Origin::Stdout, &chunk)?;
    }
});
