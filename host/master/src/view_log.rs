//! The part of [`crate::view`] that carries bytes of logs: exact, and readable as JSON.

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use windlass_core::digest::Digest;
use windlass_core::excerpt::Cut;
use windlass_core::value::Origin;

/// A part of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogChunk {
    /// Its pieces, in the order in which they were written.
    pub pieces: Vec<LogPiece>,
    /// Where to read on.
    pub next: u64,
    /// No more will come after `next`.
    pub finished: bool,
    /// How many lines have begun; told with windows of lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// BLAKE3 of all its bytes but those of headers, once it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Digest>,
    /// What was dropped because it was too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// Its bytes were removed, because it was too old.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
}

/// Which lines of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// From this line on, counted from 0.
    From(u64),
    /// The last so many.
    Last(u64),
}

/// A piece of a log from one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPiece {
    /// Offset of its first byte within the log.
    pub offset: u64,
    /// The stream.
    pub origin: Origin,
    /// The line of its first byte; told with windows of lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The bytes.
    pub data: LogBytes,
}

/// Bytes of a log. In JSON: text where they are UTF-8, else `{"hex": "…"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogBytes(pub Bytes);

#[derive(Serialize, Deserialize)]
struct Hex {
    hex: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Hex(Hex),
}

impl Serialize for LogBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Hex { hex: self.0.iter().map(|b| format!("{b:02x}")).collect() }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for LogBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LogBytes, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(LogBytes(text.into())),
            Form::Hex(Hex { hex }) => {
                let byte = |pair: &[u8]| {
                    let text = std::str::from_utf8(pair).ok()?;
                    (pair.len() == 2).then(|| u8::from_str_radix(text, 16).ok())?
                };
                let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(byte).collect();
                bytes.map(|b| LogBytes(b.into())).ok_or_else(|| D::Error::custom("not pairs of hex digits"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_json_whether_text_or_not() {
        for bytes in [&b"hello \xc3\xa9\n"[..], b"", b"\xff\x00cut \xc3"] {
            let json = serde_json::to_string(&LogBytes(Bytes::copy_from_slice(bytes))).unwrap();
            let back: LogBytes = serde_json::from_str(&json).unwrap();
            assert_eq!(back.0, bytes, "{json}");
        }
        assert!(serde_json::from_str::<LogBytes>(r#"{"hex":"abc"}"#).is_err());
    }
}
