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
    read(bytes).map_err(|why| match why {
        Unread::CoreModule => Problem::CoreModule,
        Unread::TooMany(problem) => problem,
        Unread::Broken(error) => broken(&error, bytes.len()),
    })
}

/// Validates all of it. Slow for large ones: not needed where the outcome is cached.
pub(crate) fn validate(bytes: &[u8]) -> Result<(), Problem> {
    Validator::new_with_features(WasmFeatures::default() | WasmFeatures::COMPONENT_MODEL)
        .validate_all(bytes)
        .map(drop)
        .map_err(|error| broken(&error, bytes.len()))
}

/// Why a file was not read to its end.
enum Unread {
    CoreModule,
    TooMany(Problem),
    Broken(BinaryReaderError),
}

impl From<BinaryReaderError> for Unread {
    fn from(error: BinaryReaderError) -> Unread {
        Unread::Broken(error)
    }
}

fn read(bytes: &[u8]) -> Result<Header, Unread> {
    let (mut header, mut depth, mut counted) = (Header::default(), 0_u64, Counted::default());
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        counted.count(&payload)?;
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(Unread::CoreModule);
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(too_many("components within one another", depth, MAX_DEPTH));
                }
            }
            // The last one ends the outermost.
            Payload::End(_) => depth = depth.saturating_sub(1),
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
    Ok(header)
}

/// How deep components and modules may lie within one another; toolchains make three.
const MAX_DEPTH: u64 = 16;

/// What a component may consist of, all of its modules together: many times what the largest
/// interpreters have. Whatever is within these and still costs the compiler too much, the limits of its
/// process end.
struct Counted([(&'static str, u64, u64); 10]);

impl Default for Counted {
    fn default() -> Counted {
        Counted([
            ("modules", 0, 200),
            ("instances", 0, 1_000),
            ("types", 0, 100_000),
            ("imports", 0, 20_000),
            ("exports", 0, 200_000),
            ("functions", 0, 200_000),
            ("memories, tables and globals", 0, 50_000),
            ("segments of data and elements", 0, 100_000),
            ("bytes in one function", 0, 4 * 1024 * 1024),
            ("locals in one function", 0, 50_000),
        ])
    }
}

impl Counted {
    fn count(&mut self, payload: &Payload<'_>) -> Result<(), Unread> {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => self.add(0, 1),
            Payload::InstanceSection(section) => self.add(1, section.count()),
            Payload::ComponentInstanceSection(section) => self.add(1, section.count()),
            Payload::TypeSection(section) => self.add(2, section.count()),
            Payload::CoreTypeSection(section) => self.add(2, section.count()),
            Payload::ComponentTypeSection(section) => self.add(2, section.count()),
            Payload::ImportSection(section) => self.add(3, section.count()),
            Payload::ComponentImportSection(section) => self.add(3, section.count()),
            Payload::ExportSection(section) => self.add(4, section.count()),
            Payload::ComponentExportSection(section) => self.add(4, section.count()),
            Payload::ComponentAliasSection(section) => self.add(4, section.count()),
            Payload::FunctionSection(section) => self.add(5, section.count()),
            Payload::ComponentCanonicalSection(section) => self.add(5, section.count()),
            Payload::MemorySection(section) => self.add(6, section.count()),
            Payload::TableSection(section) => self.add(6, section.count()),
            Payload::GlobalSection(section) => self.add(6, section.count()),
            Payload::DataSection(section) => self.add(7, section.count()),
            Payload::ElementSection(section) => self.add(7, section.count()),
            Payload::CodeSectionEntry(body) => {
                self.most(8, body.range().len() as u64)?;
                let mut locals = 0_u64;
                for group in body.get_locals_reader()? {
                    locals = locals.saturating_add(u64::from(group?.0));
                }
                self.most(9, locals)
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, which: usize, more: u32) -> Result<(), Unread> {
        let sum = self.0[which].1.saturating_add(u64::from(more));
        self.most(which, sum)
    }

    fn most(&mut self, which: usize, count: u64) -> Result<(), Unread> {
        let (what, most, limit) = &mut self.0[which];
        *most = (*most).max(count);
        if count > *limit { Err(too_many(what, count, *limit)) } else { Ok(()) }
    }
}

fn too_many(what: &'static str, count: u64, limit: u64) -> Unread {
    Unread::TooMany(Problem::TooMany { what, count, limit })
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
