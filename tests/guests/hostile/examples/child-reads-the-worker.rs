//! Has a child read the environment of the worker, which shows whether it could read its memory.

use hostile::{command, exec};

command!("child-reads-the-worker", exec!("sh"), {
    use windlass_sdk::process::{Delivery, Event, SpawnOptions, spawn};
    let script = "if ! head -c 1 /proc/$PPID/environ >/dev/null 2>&1; then echo its environment is kept; \
                  elif test $(id -u) = 0; then echo its environment is not kept from root; \
                  else echo read the environment; fi";
    let options = SpawnOptions::new(&["sh", "-c", script].map(str::to_owned));
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
