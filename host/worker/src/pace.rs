//! Which programs work for long, or are many: those give way (`nice`) to the worker and to programs that have only a
//! little to do, so that a loop or a storm of processes holds back nobody's `true`.
//!
//! Judged by the program that a command started, and by its own children: whoever hides its work in others is found
//! by the time that passed.

use std::time::{Duration, Instant};

use rustix::process::Pid;

/// How much those give way that work for long, as of `nice`.
const LONG: i32 = 10;

/// And those that are many: the scheduler gives to each process what it gives to one.
const MANY: i32 = 19;

/// A program may use so much CPU before it counts as one that works for long.
const BURST: Duration = Duration::from_millis(10);

/// And may be there for so long, whatever it seems to do.
const WHILE: Duration = Duration::from_secs(1);

/// It may have so many children; a compiler for each processor of a large machine is no storm.
const CHILDREN: usize = 64;

/// The first look; the next ones follow after as much time as has passed.
const FIRST_LOOK: Duration = Duration::from_millis(15);

/// What a look shows; nothing of a program that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// CPU that it used, together with those of its children that have ended.
    pub used: Duration,
    /// Its children that live.
    pub children: usize,
}

/// Looks at one program while it is new.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    /// None: no more.
    next: Option<Instant>,
}

impl Pace {
    /// Of a program that began at this moment.
    pub fn new(began: Instant) -> Pace {
        Pace { began, next: Some(began + FIRST_LOOK) }
    }

    /// When to look again, if ever.
    pub fn next_look(&self) -> Option<Instant> {
        self.next
    }

    /// Takes in what was seen: how much it is to give way from now on, if it is.
    pub fn on_look(&mut self, seen: Seen, now: Instant) -> Option<i32> {
        let lived = now.duration_since(self.began);
        let many = seen.children > CHILDREN;
        self.next = (lived < WHILE && !many).then(|| (now + lived).min(self.began + WHILE));
        let long = seen.used >= BURST || lived >= WHILE;
        if many { Some(MANY) } else { long.then_some(LONG) }
    }
}

/// Looks at a process.
pub fn look(process: Pid) -> Seen {
    let number = process.as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{number}/task/{number}/children"));
    let children = children.map_or(0, |list| list.split_ascii_whitespace().count());
    Seen { used: cpu_of(process).unwrap_or_default(), children }
}

fn cpu_of(process: Pid) -> Option<Duration> {
    let text = std::fs::read(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    let text = String::from_utf8_lossy(&text);
    // Its name stands in brackets, and may have some of its own.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // The 14th to 17th field of the line, counted from 1, in hundredths of a second.
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some(Duration::from_millis(ticks.saturating_mul(10)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn whoever_works_for_long_gives_way() {
        let began = Instant::now();
        let mut pace = Pace::new(began);
        assert_eq!(pace.next_look(), Some(began + 15 * MS));
        assert_eq!(pace.on_look(Seen::default(), began + 15 * MS), None);
        assert_eq!(pace.next_look(), Some(began + 30 * MS));
        assert_eq!(pace.on_look(Seen { used: BURST, children: 1 }, began + 30 * MS), Some(LONG));
    }

    #[test]
    fn a_storm_gives_way_to_everybody() {
        let began = Instant::now();
        let mut pace = Pace::new(began);
        let storm = Seen { children: CHILDREN + 1, ..Seen::default() };
        assert_eq!(pace.on_look(storm, began + 15 * MS), Some(MANY));
        assert_eq!(pace.next_look(), None);
    }

    #[test]
    fn whoever_stays_gives_way_whatever_it_seems_to_do_and_is_looked_at_no_more() {
        let began = Instant::now();
        let mut pace = Pace::new(began);
        let mut looks = Vec::new();
        while let Some(now) = pace.next_look() {
            looks.push((now - began, pace.on_look(Seen::default(), now)));
        }
        assert_eq!(looks.last(), Some(&(WHILE, Some(LONG))));
        assert_eq!(looks.len(), 8, "{looks:?}");
        assert!(looks[..7].iter().all(|(_, gives_way)| gives_way.is_none()), "{looks:?}");
    }

    #[test]
    fn a_look_shows_the_cpu_and_the_children_of_a_process() {
        let mut child = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let began = Instant::now();
        while look(pid).used < BURST {
            assert!(began.elapsed() < Duration::from_secs(30), "a busy loop uses CPU");
            std::thread::yield_now();
        }
        assert_eq!(look(pid).children, 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(look(Pid::from_raw(i32::MAX).unwrap()), Seen::default());
    }
}
