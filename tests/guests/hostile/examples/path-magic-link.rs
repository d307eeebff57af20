//! Follows links of the kernel that lead anywhere.

use hostile::{FILES, command, told};

command!("path-magic-link", FILES, {
    use windlass_sdk::files;
    [
        told(files::read("proc/self/root/etc/passwd")),
        told(files::read("root/etc/passwd")),
        told(files::read("proc/self/environ")),
    ]
    .join("; ")
});
