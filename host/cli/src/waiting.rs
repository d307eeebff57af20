//! A line on a terminal for as long as something takes that says nothing itself.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::output::{FAINT, paint, tame};

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(500);

/// Says what is waited for, and how long that has taken, until it is dropped; then the line is gone. Where nobody looks, it
/// says it once.
#[derive(Debug)]
pub struct Waiting(Option<(Sender<()>, JoinHandle<()>)>);

impl Waiting {
    /// Begins to wait for this.
    #[must_use]
    pub fn begin(what: String) -> Waiting {
        let what = tame(&what);
        if !std::io::stderr().is_terminal() {
            anstream::eprintln!("{}", paint(FAINT, what));
            return Waiting(None);
        }
        let (done, is_done) = channel();
        let began = Instant::now();
        let thread = std::thread::spawn(move || {
            loop {
                line(&format!("{what}, {} s", began.elapsed().as_secs()));
                if is_done.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
                    return line("");
                }
            }
        });
        Waiting(Some((done, thread)))
    }
}

/// Writes over the line that was written last.
fn line(text: &str) {
    let mut stderr = anstream::stderr().lock();
    // A terminal that is gone is nobody's concern here.
    write!(stderr, "\r\u{1b}[2K{}", paint(FAINT, text)).and_then(|()| stderr.flush()).ok();
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((done, thread)) = self.0.take() {
            drop(done);
            thread.join().ok();
        }
    }
}
