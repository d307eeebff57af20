//! The client of the API: what the command line speaks, over the socket in the state directory.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::error::ApiError;

/// Speaks to the master whose socket this is. Each call makes a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No master listens there.
    #[error("no master answers at {socket}")]
    NoMaster {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the connection to the master broke")]
    Broken(#[source] hyper::Error),
    /// The answer makes no sense to this version of the program.
    #[error("the master's answer cannot be read; is it of another version?")]
    Unreadable(#[source] serde_json::Error),
    /// The master refused.
    #[error(transparent)]
    Refused(#[from] ApiError),
}

impl Client {
    /// A client of the master whose socket this is.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Client {
        Client { socket: socket.into() }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks for something.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        read(self.call(Method::GET, path, Bytes::new()).await?).await
    }

    /// Asks for something, and none where the master has no such thing.
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ClientError> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(ClientError::Refused(e)) if e.code == "not-found" => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Tells the master to do something.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).expect("our own types are JSON");
        read(self.call(Method::POST, path, body.into()).await?).await
    }

    /// Follows a stream of JSON lines.
    pub async fn follow<T: DeserializeOwned>(&self, path: &str) -> Result<Lines<T>, ClientError> {
        let body = self.call(Method::GET, path, Bytes::new()).await?;
        Ok(Lines { body, rest: Vec::new(), shape: std::marker::PhantomData })
    }

    /// Asks for bytes.
    pub async fn download(&self, path: &str) -> Result<Download, ClientError> {
        Ok(Download { body: self.call(Method::GET, path, Bytes::new()).await? })
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Incoming, ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| ClientError::NoMaster { socket: self.socket.clone(), source })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(ClientError::Broken)?;
        // Ends with the sender; an error in it reaches us through the response.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "windlass")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .expect("path and headers are ours");
        let response = sender.send_request(request).await.map_err(ClientError::Broken)?;
        if response.status() == StatusCode::OK {
            return Ok(response.into_body());
        }
        let status = response.status();
        let text = response.into_body().collect().await.map_err(ClientError::Broken)?.to_bytes();
        Err(serde_json::from_slice::<ApiError>(&text)
            .unwrap_or_else(|_| ApiError::new("internal", format!("the master answered {status}")))
            .into())
    }
}

async fn read<T: DeserializeOwned>(body: Incoming) -> Result<T, ClientError> {
    let text = body.collect().await.map_err(ClientError::Broken)?.to_bytes();
    serde_json::from_slice(&text).map_err(ClientError::Unreadable)
}

/// Bytes as they come.
#[derive(Debug)]
pub struct Download {
    body: Incoming,
}

impl Download {
    /// The next of them; none at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, ClientError>> {
        loop {
            match self.body.frame().await? {
                // Trailers are passed over: nobody sends any.
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(ClientError::Broken(error))),
            }
        }
    }
}

/// A stream of JSON lines.
#[derive(Debug)]
pub struct Lines<T> {
    body: Incoming,
    rest: Vec<u8>,
    shape: std::marker::PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next line; none at the end of the stream. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<Result<T, ClientError>> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.len() == 1 {
                    continue; // A heartbeat.
                }
                return Some(serde_json::from_slice(&line).map_err(ClientError::Unreadable));
            }
            match self.body.frame().await? {
                Ok(frame) => self.rest.extend(frame.data_ref().map(|d| d.as_ref()).unwrap_or_default()),
                Err(e) => return Some(Err(ClientError::Broken(e))),
            }
        }
    }
}
