//! A server that reporters tell of builds.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::site::{eventually, free_port};

/// What came to a receiver: the path, the headers by name, the document.
#[derive(Clone, Debug)]
pub struct Got {
    /// Of the request.
    pub path: String,
    /// By their names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The document.
    pub body: Value,
}

impl Got {
    /// The event's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.body["event_id"].as_str().unwrap()
    }

    /// `build-started 1`.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{} {}", self.body["event"].as_str().unwrap(), self.body["build"]["id"])
    }
}

/// A server that keeps what it is sent, and answers with a status that the test says.
#[derive(Clone)]
pub struct Receiver {
    /// Where it listens, or will, on this machine.
    pub port: u16,
    got: Arc<Mutex<Vec<Got>>>,
    /// What it answers, one after the other, before it answers 204.
    statuses: Arc<Mutex<Vec<u16>>>,
}

impl Receiver {
    /// One that listens somewhere.
    #[must_use]
    pub fn new(statuses: &[u16]) -> Receiver {
        Receiver::at(free_port(), statuses)
    }

    /// One that listens there.
    #[must_use]
    pub fn at(port: u16, statuses: &[u16]) -> Receiver {
        let receiver = Receiver::absent(port, statuses);
        receiver.listen();
        receiver
    }

    /// Nobody is there yet.
    #[must_use]
    pub fn absent(port: u16, statuses: &[u16]) -> Receiver {
        let mut statuses = statuses.to_vec();
        statuses.reverse();
        Receiver { port, got: Arc::default(), statuses: Arc::new(Mutex::new(statuses)) }
    }

    /// From now on it is there.
    pub fn listen(&self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        let receiver = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // One that was killed in the middle of its request has said nothing.
                receiver.hear(stream.unwrap()).ok();
            }
        });
    }

    fn hear(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = || {
            let mut line = String::new();
            reader.read_line(&mut line).map(|_| line.trim_end().to_owned())
        };
        let path = line()?.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let line = line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = serde_json::from_slice(&body)?;
        let status = self.statuses.lock().unwrap().pop().unwrap_or(204);
        let kept = status < 300;
        if kept {
            self.got.lock().unwrap_or_else(PoisonError::into_inner).push(Got { path, headers, body });
        }
        write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    }

    /// All that it took.
    #[must_use]
    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What came to a path, once there is so much.
    #[must_use]
    pub fn until(&self, path: &str, count: usize) -> Vec<String> {
        eventually(&format!("{count} events came to {path}"), || {
            let words: Vec<String> =
                self.got().iter().filter(|got| got.path == path).map(Got::words).collect();
            (words.len() >= count).then_some(words)
        })
    }
}
