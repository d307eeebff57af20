//! What a shutdown waits for: a whole master without plugins.

use std::sync::{Mutex, mpsc};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use windlass_core::time::Timestamp;

use super::*;
use crate::Options;
use crate::clock::Clock;
use crate::view::{DebugLook, DebugOrder};

/// The thread of whoever looks.
const LOOKS: &str = "looks";

/// A clock at which whoever looks waits, in the midst of it, until they are let go.
struct Held {
    waits: UnboundedSender<()>,
    let_go: Mutex<mpsc::Receiver<()>>,
}

impl Clock for Held {
    fn now(&self) -> Timestamp {
        if std::thread::current().name() == Some(LOOKS) {
            self.waits.send(()).unwrap();
            self.let_go.lock().unwrap().recv().ok();
        }
        Timestamp(1)
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_the_look_that_runs_and_turns_away_who_stands_behind_it() {
    let place = tempfile::tempdir().unwrap();
    let (config, password) = (place.path().join("master.toml"), "correct horse".to_owned());
    let text = format!(
        "[master]\nlisten = '127.0.0.1:0'\n[debug]\npassword_hash = '{}'\n\
         [[workers]]\nname = 'w1'\ntoken_hash = 'blake3:{}'\n[[builders]]\nname = 'b1'\nworkers = 'w1'\n",
        windlass_config::hash_password(&password, &[7; 16]),
        "0".repeat(64)
    );
    std::fs::write(&config, text).unwrap();
    let (waits, mut waiting) = unbounded_channel();
    let (go, let_go) = mpsc::channel();
    let clock = Arc::new(Held { waits, let_go: Mutex::new(let_go) });
    let options = Options { clock, bundled: Vec::new(), ..Options::new(config) };
    let master = crate::start(options).await.unwrap().handle().clone();

    let look = || {
        let order = DebugOrder { password: password.clone(), by: None, look: DebugLook::Password };
        let master = master.clone();
        async move { master.debug(order).await }
    };
    let running = {
        // A runtime of its own: this one goes on while that one is held.
        let (look, runtime) = (look(), tokio::runtime::Builder::new_current_thread().build().unwrap());
        std::thread::Builder::new().name(LOOKS.to_owned()).spawn(move || runtime.block_on(look)).unwrap()
    };
    waiting.recv().await.unwrap();
    let in_line = tokio::spawn(look());
    let down = {
        let master = master.clone();
        tokio::spawn(async move { master.shutdown().await })
    };
    // It comes as far as it can without the look, and what it wrote is durable.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let store = &master.0.store;
    store.commit(Vec::new()).await.expect("the store is open");
    assert!(store.masters().unwrap()[0].active, "it left before the look had ended");
    assert!(!down.is_finished());

    drop(go);
    let answer = start::blocking(move || running.join()).await.unwrap();
    assert!(answer.is_ok(), "{answer:?}");
    down.await.unwrap();
    assert!(!store.masters().unwrap()[0].active);
    let refused = in_line.await.unwrap();
    assert!(matches!(refused, Err(DebugError::ShuttingDown)), "{refused:?}");
}
