//! What a file is, before the compiler sees it: the compiler is for components, and says odd things to
//! everything else.

use wasmparser::{BinaryReaderError, Encoding, Parser, Payload, Validator, WasmFeatures};
use wasmtime::Engine;

use crate::load::Problem;

/// The names in a component's outermost header.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

/// Reads the header of `bytes`, and says what they are if they are no component.
pub(crate) fn header(bytes: &[u8], limit: u64) -> Result<Header, Problem> {
    let len = bytes.len() as u64;
    if len > limit {
        return Err(Problem::TooLarge { len, limit });
    }
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(Problem::Precompiled);
    }
    match bytes {
        [] => return Err(Problem::Empty),
        [0x7f, b'E', b'L', b'F', ..] => return Err(Problem::Native),
        _ if is_text(bytes) => return Err(Problem::Text),
        _ if !bytes.starts_with(&b"\0asm"[..bytes.len().min(4)]) => return Err(Problem::NotWasm),
        _ => {}
    }
    read(bytes).map_err(|error| broken(&error, bytes.len()))?.ok_or(Problem::CoreModule)
}

/// Validates all of it. Slow for large ones: not needed where the outcome is cached.
pub(crate) fn validate(bytes: &[u8]) -> Result<(), Problem> {
    Validator::new_with_features(WasmFeatures::default() | WasmFeatures::COMPONENT_MODEL)
        .validate_all(bytes)
        .map(drop)
        .map_err(|error| broken(&error, bytes.len()))
}

/// None: a core module.
fn read(bytes: &[u8]) -> Result<Option<Header>, BinaryReaderError> {
    let (mut header, mut depth) = (Header::default(), 0);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Ok(None),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    header.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    header.exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(Some(header))
}

fn broken(error: &BinaryReaderError, len: usize) -> Problem {
    // The parser has no other way to tell a file that ends too early from one that is wrong.
    if error.message().contains("unexpected end") || error.offset() >= len {
        Problem::Truncated { len: len as u64 }
    } else {
        Problem::Invalid { offset: error.offset() as u64, message: error.message().to_owned() }
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    [b"(component".as_slice(), b"(module", b"(;", b";;"].iter().any(|form| start.starts_with(form))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn what_is_no_component_is_called_by_its_name() {
        let kind = |bytes: &[u8]| header(bytes, 1_000).unwrap_err().to_string();
        assert!(kind(b"").contains("empty"));
        assert!(kind(b"\n(component)").contains("text"));
        assert!(kind(b";; a policy\n(module)").contains("text"));
        assert!(kind(b"\x7fELF....").contains("program"));
        assert!(kind(b"#!/bin/sh").contains("not WebAssembly"));
        assert!(kind(b"\0asm\x01\0\0\0").contains("core module"));
        assert!(kind(b"\0asm\x01\0\0\0").contains("component new"));
        assert!(kind(b"\0as").contains("end"));
        assert!(kind(&[0; 1_001]).contains("1001"));
        let with_a_section = [COMPONENT, &[0x0a, 0x20, 0x01]].concat();
        assert!(kind(&with_a_section).contains("end"), "{}", kind(&with_a_section));
    }

    #[test]
    fn an_empty_component_has_an_empty_header() {
        let header = header(COMPONENT, 1_000).unwrap();
        assert!(header.imports.is_empty() && header.exports.is_empty());
        assert!(validate(COMPONENT).is_ok());
    }
}
