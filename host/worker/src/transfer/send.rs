//! Sending a file or a tree: read, hashed, packed, and cut into parts.

use std::fs::File;
use std::io::{Read as _, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::write::GzEncoder;
use rustix::fs::{Mode, OFlags};
use windlass_core::digest::Digest;
use windlass_core::value::Failure;
use windlass_protocol::message::CommandUid;
use windlass_protocol::session::Outbox;
use windlass_protocol::transfer::{Compression, PART, Part, Sent, SentKind};
use windlass_runtime::port::TransferOptions;

use super::{Transfers, Under, Way, walk, whole};
use crate::beneath::Root;
use crate::files::{modified_ms, regular};
use crate::work::{Stop, Work};

/// Read from a file at a time.
const PIECE: usize = 64 * 1024;

/// How hard zstd tries: what costs about as much as hashing.
const LEVEL: i32 = 1;

impl Transfers {
    /// Sends a file; the number of its bytes once it is durable at the master. Blocks.
    pub fn send_file(
        self: &Arc<Self>,
        command: &CommandUid,
        token: &str,
        root: &Root,
        path: &str,
        options: &TransferOptions,
        work: Work,
    ) -> Result<u64, Failure> {
        whole(|| self.send_file_once(command, token, root, path, options, work.clone()))
    }

    fn send_file_once(
        self: &Arc<Self>,
        command: &CommandUid,
        token: &str,
        root: &Root,
        path: &str,
        options: &TransferOptions,
        work: Work,
    ) -> Result<u64, Failure> {
        let compression = compression(options)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let (mut file, stat) = regular(root.open_at(path, flags, Mode::empty())?, path)?;
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        if let Some(most) = options.max_bytes.filter(|most| size > *most) {
            return Err(too_large(path, most));
        }
        let modified_ms = options.keep_times.then(|| modified_ms(&stat));
        let sent = Sent { kind: SentKind::File, mode: stat.st_mode & 0o777, modified_ms, compression };
        let mut stream = self.stream(command, token, sent, options.max_bytes, work)?;
        let copied = copy(&mut file, &mut stream);
        copied.and_then(|()| stream.finish()).map_err(|stop| too_large_or(stop, path, options))
    }

    /// Sends a directory with all that is in it; the number of bytes of its files. Blocks.
    pub fn send_tree(
        self: &Arc<Self>,
        command: &CommandUid,
        token: &str,
        root: &Root,
        path: &str,
        options: &TransferOptions,
        (work, walking): (Work, Work),
    ) -> Result<u64, Failure> {
        whole(|| self.send_tree_once(command, token, root, path, options, (work.clone(), walking.clone())))
    }

    fn send_tree_once(
        self: &Arc<Self>,
        command: &CommandUid,
        token: &str,
        root: &Root,
        path: &str,
        options: &TransferOptions,
        (work, walking): (Work, Work),
    ) -> Result<u64, Failure> {
        let compression = compression(options)?;
        let directory = walk::open(root, path)?;
        let sent = Sent { kind: SentKind::Tree, mode: 0o755, modified_ms: None, compression };
        let mut stream = self.stream(command, token, sent, options.max_bytes, work)?;
        let walked = walk::tree(&directory, options.keep_times, &mut stream, walking);
        walked.and_then(|()| stream.finish()).map_err(|stop| too_large_or(stop, path, options))
    }

    fn stream(
        self: &Arc<Self>,
        command: &CommandUid,
        token: &str,
        sent: Sent,
        max_bytes: Option<u64>,
        work: Work,
    ) -> Result<Stream, Failure> {
        let compression = sent.compression;
        let way = Way::Sending { sent, outbox: Outbox::default(), open: false, queued: false };
        let under = self.begin(command, token, way)?;
        let parts = Parts { under, work, held: Vec::with_capacity(PART), stopped: None, closed: false };
        let packer = match compression {
            None => Packer::Plain(parts),
            Some(Compression::Gzip) => Packer::Gzip(GzEncoder::new(parts, flate2::Compression::fast())),
            Some(Compression::Zstd) => {
                let encoder = zstd::stream::write::Encoder::new(parts, LEVEL);
                Packer::Zstd(encoder.map_err(|error| Failure::new("io", format!("zstd: {error}")))?)
            }
        };
        let max_bytes = max_bytes.unwrap_or(u64::MAX);
        Ok(Stream { packer, hash: blake3::Hasher::new(), bytes: 0, max_bytes })
    }
}

fn compression(options: &TransferOptions) -> Result<Option<Compression>, Failure> {
    let Some(name) = &options.compression else { return Ok(None) };
    let known = Compression::of_name(name);
    known.map(Some).ok_or_else(|| {
        Failure::new("bad-argument", format!("`{name}` is no compression; there are `zstd` and `gzip`"))
    })
}

fn too_large(path: &str, most: u64) -> Failure {
    Failure::new("too-large", format!("`{path}` has more than the {most} bytes that may be sent"))
}

fn too_large_or(stop: Stop, path: &str, options: &TransferOptions) -> Failure {
    match (stop, options.max_bytes) {
        (Stop::Bound(failure), Some(most)) if failure.code == TOO_MANY => too_large(path, most),
        (stop, _) => stop.failure(path),
    }
}

/// Marks the stop of a stream that grew beyond its bound, until its path is known.
const TOO_MANY: &str = "too-many-bytes";

/// Copies a file into a stream, to its end.
pub(super) fn copy(file: &mut File, stream: &mut Stream) -> Result<(), Stop> {
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => stream.write(&piece[..read])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Stop::Io(error)),
        }
    }
}

/// What is being sent.
pub(super) struct Stream {
    packer: Packer,
    hash: blake3::Hasher,
    bytes: u64,
    max_bytes: u64,
}

enum Packer {
    Plain(Parts),
    Gzip(GzEncoder<Parts>),
    Zstd(zstd::stream::write::Encoder<'static, Parts>),
}

impl Stream {
    /// Sends bytes; waits while the window is full.
    pub(super) fn write(&mut self, data: &[u8]) -> Result<(), Stop> {
        self.bytes += data.len() as u64;
        if self.bytes > self.max_bytes {
            self.parts().closed = true;
            return Err(Stop::Bound(Failure::new(TOO_MANY, "")));
        }
        self.hash.update(data);
        let written = match &mut self.packer {
            Packer::Plain(parts) => parts.write_all(data),
            Packer::Gzip(encoder) => encoder.write_all(data),
            Packer::Zstd(encoder) => encoder.write_all(data),
        };
        written.map_err(|error| self.parts().stopped.take().unwrap_or(Stop::Io(error)))
    }

    fn parts(&mut self) -> &mut Parts {
        match &mut self.packer {
            Packer::Plain(parts) => parts,
            Packer::Gzip(encoder) => encoder.get_mut(),
            Packer::Zstd(encoder) => encoder.get_mut(),
        }
    }

    /// Sends the rest and the end, and waits for the master's word.
    fn finish(self) -> Result<u64, Stop> {
        let Stream { packer, hash, bytes, .. } = self;
        let stopped = |parts: &mut Parts, error| parts.stopped.take().unwrap_or(Stop::Io(error));
        let mut parts = match packer {
            Packer::Plain(parts) => parts,
            // Either hands over what it held. It has to be there still to say why that was not taken.
            Packer::Gzip(mut encoder) => {
                encoder.try_finish().map_err(|error| stopped(encoder.get_mut(), error))?;
                encoder.finish().map_err(Stop::Io)?
            }
            Packer::Zstd(encoder) => {
                encoder.try_finish().map_err(|(mut encoder, error)| stopped(encoder.get_mut(), error))?
            }
        };
        parts.cut()?;
        let hash = Digest::from_bytes(*hash.finalize().as_bytes());
        parts.under.send(Part::End { bytes, hash }, &parts.work)?;
        parts.under.verdict(&parts.work)
    }
}

/// Cuts what is written to it into parts.
struct Parts {
    under: Under,
    work: Work,
    held: Vec<u8>,
    /// Why writing failed: an error of input and output cannot hold it.
    stopped: Option<Stop>,
    /// Nothing more is sent: a packer that is dropped hands over what it held.
    closed: bool,
}

impl Parts {
    /// Sends what is held.
    fn cut(&mut self) -> Result<(), Stop> {
        if self.held.is_empty() {
            return Ok(());
        }
        let data = Bytes::from(std::mem::replace(&mut self.held, Vec::with_capacity(PART)));
        self.work.check()?;
        self.under.send(Part::Data { data }, &self.work)
    }
}

impl Write for Parts {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        if self.closed {
            return Err(std::io::Error::other("the transfer stopped"));
        }
        let taken = data.len().min(PART - self.held.len());
        self.held.extend_from_slice(&data[..taken]);
        if self.held.len() == PART
            && let Err(stop) = self.cut()
        {
            (self.stopped, self.closed) = (Some(stop), true);
            return Err(std::io::Error::other("the transfer stopped"));
        }
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
