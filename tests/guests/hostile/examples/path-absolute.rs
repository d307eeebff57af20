//! Names files from the root of the machine.

use hostile::{FILES, command, told};

command!("path-absolute", FILES, {
    use windlass_sdk::files;
    [
        told(files::read("/etc/passwd")),
        told(files::write("/tmp/windlass-was-here", b"x")),
        told(files::remove("//etc")),
        told(files::glob("/etc/*")),
    ]
    .join("; ")
});
