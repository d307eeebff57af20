//! The tutorials, done exactly as they are written: from an empty folder to a live policy, in every language.

use windlass_build::Language;
use windlass_tests::tutorial::follow;

#[test]
fn the_tutorial_for_rust_does_what_it_says() {
    follow("plugins/rust.md", Language::Rust);
}

#[test]
fn the_tutorial_for_c_does_what_it_says() {
    follow("plugins/c.md", Language::C);
}

#[test]
fn the_tutorial_for_python_does_what_it_says() {
    follow("plugins/python.md", Language::Python);
}

#[test]
fn the_tutorial_for_javascript_does_what_it_says() {
    follow("plugins/js.md", Language::JavaScript);
}
