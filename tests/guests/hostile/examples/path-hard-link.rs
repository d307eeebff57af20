//! Works on the worker's token by another name of the file (a hard link).

use hostile::{FILES, command, told};

command!("path-hard-link", FILES, {
    use windlass_sdk::files;
    [
        told(files::write("hard-link", b"x")),
        told(files::copy("hard-link", "hard-link")),
        told(files::read("hard-link")),
        told(files::remove("hard-link")),
    ]
    .join("; ")
});
