//! What a plugin written in Rust uses: a trait for each hook and one export macro
