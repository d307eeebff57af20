//! Writes terminal escapes and HTML to a log, a summary and a link.

use hostile::step;

step!("step-escapes-in-a-log", {
    let text = "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>\u{202e}\r\n";
    windlass_sdk::step::log_text("stdio", windlass_sdk::Origin::Stdout, text)?;
    windlass_sdk::step::add_url("\x1b[31mclick", "javascript:alert(1)");
    windlass_sdk::step::add_url("click", "javascript:alert(1)\x1b[31m");
    text.to_owned()
});
