//! What can be read off a component without running it: what it imports and exports, what made it, and
//! the memory that an instance starts with.

use std::collections::BTreeSet;

use serde::Serialize;
use wasmparser::{
    BinaryReaderError, ComponentName, ComponentNameSectionReader, KnownCustom, Parser, Payload,
    ProducersSectionReader,
};

/// See the module.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Anatomy {
    /// Interfaces, with their versions.
    pub imports: Vec<String>,
    /// Interfaces, with their versions.
    pub exports: Vec<String>,
    /// What it was written in: the language of the interpreter that it carries, else what the tools that made its
    /// modules say.
    pub languages: BTreeSet<String>,
    /// The tools that made it, with their versions.
    pub tools: BTreeSet<String>,
    /// Bytes of linear memory that all of its modules together begin with.
    pub initial_memory: u64,
}

/// Interpreters, by the names of the modules that they come as, with the tool that puts them into a component and
/// the language of what they run. Neither the tools nor the interpreters say so of themselves; what was compiled to
/// make an interpreter is no news to whoever wrote for it.
const INTERPRETERS: &[(&str, &str, &str)] = &[
    ("libcomponentize_py_runtime", "componentize-py", "Python"),
    ("componentize_qjs_runtime", "componentize-qjs", "JavaScript"),
];

/// Tools that serve one language, which leave it unsaid.
const TOOLS: &[(&str, &str)] = &[("wit-bindgen-c ", "C"), ("wit-bindgen-rust ", "Rust")];

/// Reads a component that was validated before.
pub fn anatomy(bytes: &[u8]) -> Result<Anatomy, BinaryReaderError> {
    const PAGE: u64 = 64 * 1024;
    let (mut anatomy, mut depth) = (Anatomy::default(), 0);
    let mut interpreters = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    anatomy.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    anatomy.exports.push(export?.name.name.to_owned());
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    let page =
                        memory.page_size_log2.map_or(PAGE, |log2| 1_u64.checked_shl(log2).unwrap_or(PAGE));
                    anatomy.initial_memory =
                        anatomy.initial_memory.saturating_add(memory.initial.saturating_mul(page));
                }
            }
            // Nothing depends on these: one that cannot be read is as good as none.
            Payload::CustomSection(section) => match section.as_known() {
                KnownCustom::Producers(producers) => drop(add_producers(&mut anatomy, producers)),
                KnownCustom::ComponentName(names) => drop(add_interpreters(&mut interpreters, names)),
                _ => {}
            },
            _ => {}
        }
    }
    let made_by = |tool: &str| anatomy.tools.iter().any(|made| made.starts_with(tool));
    anatomy.languages.extend(TOOLS.iter().filter(|(tool, _)| made_by(tool)).map(|(_, l)| (*l).to_owned()));
    if !interpreters.is_empty() {
        anatomy.languages = interpreters.iter().map(|(_, language)| (*language).to_owned()).collect();
        anatomy.tools.extend(interpreters.iter().map(|(tool, _)| (*tool).to_owned()));
    }
    Ok(anatomy)
}

/// Adds tool and language of each interpreter among the modules of a component, or of one within it.
fn add_interpreters(
    found: &mut Vec<(&'static str, &'static str)>,
    names: ComponentNameSectionReader<'_>,
) -> Result<(), BinaryReaderError> {
    for name in names {
        if let ComponentName::CoreModules(modules) = name? {
            for module in modules {
                let module = module?.name;
                let known = INTERPRETERS.iter().filter(|(begins, ..)| module.starts_with(begins));
                found.extend(known.map(|(_, tool, language)| (*tool, *language)));
            }
        }
    }
    Ok(())
}

fn add_producers(
    anatomy: &mut Anatomy,
    producers: ProducersSectionReader<'_>,
) -> Result<(), BinaryReaderError> {
    for field in producers {
        let field = field?;
        for value in field.values {
            let value = value?;
            let named = [value.name, value.version].join(" ").trim().to_owned();
            match field.name {
                "language" => drop(anatomy.languages.insert(named)),
                _ => drop(anatomy.tools.insert(named)),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundled_component_shows_what_it_imports_and_what_made_it() {
        let sticky = windlass_plugins::bundled().iter().find(|b| b.name == "sticky").unwrap();
        let read = anatomy(sticky.bytes).unwrap();
        assert!(read.exports.iter().any(|e| e.starts_with("windlass:master/next-slave@")), "{read:?}");
        assert!(read.tools.iter().any(|t| t.starts_with("wit-component ")), "{read:?}");
        assert_eq!(read.languages, ["Rust".to_owned()].into(), "{read:?}");
        assert!((1..16 << 20).contains(&read.initial_memory), "{read:?}");
    }
}
