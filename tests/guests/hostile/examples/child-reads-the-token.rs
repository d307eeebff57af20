//! Has a child read the worker's token.

use hostile::{command, exec};

command!("child-reads-the-token", exec!("sh"), {
    use windlass_sdk::process::{Delivery, Event, SpawnOptions, spawn};
    let options = SpawnOptions::new(
        &["sh", "-c", r#"cat ../../token >/dev/null 2>&1 && echo read the token || echo refused"#]
            .map(str::to_owned),
    );
    options.deliver(Delivery::Lines);
    let child = spawn(options)?;
    let mut said = String::new();
    loop {
        match child.next_event(4_096, None) {
            Event::Lines(lines) => said.push_str(&lines.text),
            Event::Exited(_) => break said,
            _ => {}
        }
    }
});
