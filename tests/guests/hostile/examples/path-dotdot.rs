//! Climbs out of the builder directory by `..`.

use hostile::{FILES, command, told};

command!("path-dotdot", FILES, {
    use windlass_sdk::files;
    [
        told(files::read("../../token")),
        told(files::copy("../../token", "mine")),
        told(files::entries("a/../..")),
        told(files::glob("../*")),
        told(files::make_directory("a/../../b")),
    ]
    .join("; ")
});
