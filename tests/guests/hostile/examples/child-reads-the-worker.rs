//! Has a child read the memory and the environment of the worker.

use hostile::{command, exec};

command!("child-reads-the-worker", exec!("sh"), {
    use windlass_sdk::process::{Delivery, Event, SpawnOptions, spawn};
    let options = SpawnOptions::new(&["sh", "-c", r#"for f in environ mem fd/0; do head -c 1 /proc/$PPID/$f >/dev/null 2>&1 && echo read $f || echo refused; done"#].map(str::to_owned));
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
