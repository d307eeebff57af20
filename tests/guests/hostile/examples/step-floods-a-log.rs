//! Writes to a log for ever.

use hostile::step;

step!("step-floods-a-log", {
    let chunk = vec![b'x'; 64 * 1024];
    loop {
        windlass_sdk::step::log_chunk("stdio", windlass_sdk::Origin::Stdout, &chunk)?;
    }
});
