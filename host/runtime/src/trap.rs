//! What a trap says to people: what happened, where in the guest, and what the guest said last.

use wasmtime::{Trap, WasmBacktrace};

use crate::bounds;

/// Frames of a backtrace that a fault shows.
const MAX_FRAMES: usize = 5;

/// Bytes of one name.
const MAX_NAME: usize = 120;

/// Bytes in all.
const MAX_TEXT: usize = 2_048;

/// Why a call ended in `error`.
pub(crate) fn text(error: &wasmtime::Error, last_words: &str) -> String {
    let mut text = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => "its calls are nested too deeply for its stack of 512 KiB".to_owned(),
        Some(Trap::UnreachableCodeReached) => {
            "it gave up (`unreachable` was executed: a panic or an abort)".to_owned()
        }
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    text = bounds::line(&text, MAX_TEXT);
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        let named = backtrace.frames().iter().filter_map(|frame| frame.func_name());
        let names: Vec<String> =
            named.map(demangled).filter(|name| !is_machinery(name)).take(MAX_FRAMES).collect();
        if !names.is_empty() {
            text.push_str(", in ");
            text.push_str(&names.join(" <- "));
        }
    }
    if !last_words.is_empty() {
        text.push_str("; it said: ");
        text.push_str(last_words);
    }
    bounds::cut(&text, MAX_TEXT).to_owned()
}

fn demangled(name: &str) -> String {
    // Without the hash at the end. C's names, and those that Python's and JavaScript's engines keep,
    // stay as they are.
    bounds::line(&format!("{:#}", rustc_demangle::demangle(name)), MAX_NAME)
}

/// The way from a panic to its trap, which tells nobody anything.
fn is_machinery(name: &str) -> bool {
    [
        "core::panicking",
        "std::panicking",
        "std::process",
        "std::sys",
        "rust_panic",
        "__rust",
        "__rustc",
        "abort",
    ]
    .iter()
    .any(|machinery| name.trim_start_matches('_').starts_with(machinery.trim_start_matches('_')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trap_is_told_in_words_with_what_the_guest_said_last() {
        let error = wasmtime::Error::from(Trap::UnreachableCodeReached);
        let said = text(&error, "panicked at src/lib.rs:1: on purpose");
        assert_eq!(
            said,
            "it gave up (`unreachable` was executed: a panic or an abort); it said: panicked at \
             src/lib.rs:1: on purpose"
        );
        assert!(text(&wasmtime::Error::from(Trap::StackOverflow), "").contains("512 KiB"));
    }

    #[test]
    fn names_are_demangled_and_the_panics_own_left_out() {
        assert_eq!(demangled("_ZN5hello5world17h0123456789abcdefE"), "hello::world");
        assert_eq!(demangled("alphabetical_choose"), "alphabetical_choose");
        assert!(is_machinery("core::panicking::panic_fmt") && is_machinery("__rustc::rust_begin_unwind"));
        assert!(!is_machinery("hello::world"));
    }
}
