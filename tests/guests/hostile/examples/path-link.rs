//! Follows a link that leads out, wherever a path is taken.

use hostile::{FILES, command, told};

command!("path-link", FILES, {
    use windlass_sdk::files;
    [
        told(files::read("link/token")),
        told(files::write("link/token", b"x")),
        told(files::remove("link/token")),
        told(files::copy("link/token", "mine")),
        told(files::entries("link")),
        told(files::make_directory("link/x")),
    ]
    .join("; ")
});
