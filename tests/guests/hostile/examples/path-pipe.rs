//! Reads a pipe that nobody writes to, and a device that never ends.

use hostile::{FILES, command, told};

command!("path-pipe", FILES, {
    use windlass_sdk::files;
    [told(files::write("pipe", b"x")), told(files::read("zero")), told(files::copy("pipe", "copy"))]
        .join("; ")
});
