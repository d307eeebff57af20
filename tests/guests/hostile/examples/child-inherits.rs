//! Has a child look for open files of the worker.

use hostile::{command, exec};

command!("child-inherits", exec!("sh"), {
    use windlass_sdk::process::{Delivery, Event, SpawnOptions, spawn};
    let options = SpawnOptions::new(&["sh", "-c", r#"for f in /proc/$$/fd/*; do case $f in */[012]) ;; *) readlink $f ;; esac; done; echo nothing else"#].map(str::to_owned));
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
