//! Serving the API on a unix socket.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use windlass_master::Handle;

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process serves there.
    #[error("another master answers at {0}; stop it first, or use another directory")]
    Taken(PathBuf),
    /// The socket cannot be made.
    #[error("failed to listen at {path}")]
    Listen {
        /// The socket. A path of more than 107 bytes is too long for one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The server ended.
    #[error("the API stopped")]
    Stopped(#[source] std::io::Error),
}

/// Takes the socket at `path`, readable and writable by its owner alone. A socket that nobody answers
/// at is left over from a master that was killed, and is replaced.
pub async fn listen(path: &Path) -> Result<UnixListener, ServeError> {
    if UnixStream::connect(path).await.is_ok() {
        return Err(ServeError::Taken(path.to_owned()));
    }
    let failed = |source| ServeError::Listen { path: path.to_owned(), source };
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Serves until `stop`. Streams end then, too.
pub async fn serve(
    listener: UnixListener,
    master: Handle,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let routes = crate::routes::routes(master, stop.clone());
    axum::serve(listener, routes)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .map_err(ServeError::Stopped)
}
