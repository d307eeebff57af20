//! Follows a link that leads out by a slash at the end.

use hostile::{FILES, command, told};

command!("path-trailing-slash", FILES, {
    use windlass_sdk::files;
    [
        told(files::entries("link/")),
        told(files::entries("link/.")),
        told(files::stat("link/")),
        told(files::remove("link/")),
        told(files::read("file-link/")),
        told(files::write("file-link", b"x")),
    ]
    .join("; ")
});
