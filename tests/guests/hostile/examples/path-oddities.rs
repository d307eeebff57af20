//! Names paths with a NUL, ones without end, and the directory itself.

use hostile::{FILES, command, told};

command!("path-oddities", FILES, {
    use windlass_sdk::files;
    [
        told(files::read("a\0b")),
        told(files::read(&"a/".repeat(3_000))),
        told(files::read(&"a".repeat(300))),
        told(files::remove(".")),
        told(files::remove("")),
        told(files::write("\u{1b}[2J/..", b"x")),
    ]
    .join("; ")
});
