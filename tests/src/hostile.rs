//! The hostile components of `tests/guests/hostile`, built at the first use in a test process: Rust, one example
//! each; core modules written by hand, which are made components of here; components written by hand; and files
//! that a few lines below generate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// The bytes of the hostile component `name`.
///
/// # Panics
/// If there is no such component, or they can't be built.
#[must_use]
pub fn component(name: &str) -> Vec<u8> {
    let written = folder().join("wat").join(format!("{name}.wat"));
    let whole = written.with_extension("component.wat");
    if written.exists() {
        return wrapped(name, &crate::site::text(&written));
    }
    if whole.exists() {
        return assembled(&whole.display().to_string(), &repeated(&crate::site::text(&whole)));
    }
    if let Some((_, make)) = GENERATED.iter().find(|(known, _)| *known == name) {
        return make();
    }
    let path = in_rust().get(name).unwrap_or_else(|| panic!("no hostile component `{name}`"));
    std::fs::read(path).expect("the component was just built")
}

/// The names of all of them, but for the helper `starts`.
#[must_use]
pub fn names() -> Vec<String> {
    let written = std::fs::read_dir(folder().join("wat")).expect("a folder of this package");
    let written = written.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
    let stem = |file: String| file.split('.').next().unwrap_or_default().to_owned();
    let mut names: Vec<String> = in_rust().keys().filter(|name| *name != "starts").cloned().collect();
    names.extend(written.map(stem));
    names.extend(GENERATED.iter().map(|(name, _)| (*name).to_owned()));
    names.sort();
    names
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/hostile")
}

fn in_rust() -> &'static BTreeMap<String, PathBuf> {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut said = Vec::new();
        let built = windlass_build::Builder::new(folder())
            .examples()
            .target_dir(crate::fixtures::target_dir())
            .locked()
            .progress(|line| said.push(line.to_owned()))
            .build();
        let built = built.unwrap_or_else(|error| panic!("{error}\n{}", said.join("\n")));
        built.into_iter().map(|component| (component.name, component.path)).collect()
    })
}

/// Makes a `next-slave` component of the fields of a core module. What they leave out of what the contract asks
/// for is added as it should be: a hook called `name`, room for arguments, an answer.
fn wrapped(name: &str, fields: &str) -> Vec<u8> {
    let mut module = String::from("(module\n(memory $main (export \"memory\") 2)\n");
    // The types of the fields come first, since those of the added functions stand inline.
    module += &repeated(fields);
    let missing = |export: &str| !fields.contains(&format!("(export \"{export}\")"));
    // The description at 16 has one hook, at 32: kind, name, summary, no schema, no options.
    module += &data(16, &[32, 1, 32, 0]);
    let len = u32::try_from(name.len()).expect("short");
    module += &data(32, &[128, 10, 160, len, 144, 7, 0, 0, 0, 32, 0]);
    module += &format!(
        "(data (i32.const 128) \"next-slave\") (data (i32.const 144) \"hostile\") (data (i32.const 160) \"{name}\")\n"
    );
    if missing("windlass:base/plugin@0.1.0#describe") {
        module += "(func (export \"windlass:base/plugin@0.1.0#describe\") (result i32) (i32.const 16))\n";
    }
    if missing("windlass:master/next-slave@0.1.0#choose") {
        // `ok(none)`: zeroes.
        module += "(func (export \"windlass:master/next-slave@0.1.0#choose\") (param i32) (result i32) (i32.const 80))\n";
    }
    if missing("cabi_realloc") {
        module += "(global $top (mut i32) (i32.const 4096))\n\
            (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)\n\
              (global.set $top (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))\n\
              (global.get $top)\n\
              (global.set $top (i32.add (global.get $top) (local.get 3))))\n";
    }
    module += ")";
    let mut core = assembled(name, &module);
    let mut contract = wit_parser::Resolve::default();
    let (package, _) = contract
        .push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit"))
        .expect("the contract is in order");
    let world = contract.select_world(&[package], Some("next-slave-plugin")).expect("it has this world");
    embed_component_metadata(&mut core, &contract, world, StringEncoding::UTF8).expect("the world fits");
    let mut encoder = ComponentEncoder::default();
    let made = encoder.module(&core).and_then(ComponentEncoder::encode);
    made.unwrap_or_else(|error| panic!("{name}: {error:#}"))
}

/// Words of 32 bits at an address, as a data segment.
fn data(address: u32, words: &[u32]) -> String {
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    let bytes: String = bytes.map(|byte| format!("\\{byte:02x}")).collect();
    format!("(data (i32.const {address}) \"{bytes}\")\n")
}

/// A line `;;* 100 TEXT` is the text a hundred times.
fn repeated(text: &str) -> String {
    let line = |line: &str| match line.trim_start().strip_prefix(";;* ").and_then(|rest| rest.split_once(' '))
    {
        Some((count, what)) => format!("{what}\n").repeat(count.parse().expect("a number")),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn assembled(name: &str, text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

type Make = fn() -> Vec<u8>;

/// Files that are made by a few lines. All the same whenever they are made.
const GENERATED: &[(&str, Make)] = &[
    ("empty", Vec::new),
    ("text", || b";; a policy\n(component)".to_vec()),
    ("script", || b"#!/bin/sh\necho owned\n".to_vec()),
    ("native-program", || {
        std::fs::read("/proc/self/exe").map_or(Vec::new(), |mut bytes| bytes.drain(..4096).collect())
    }),
    ("core-module", || assembled("core-module", "(module (func (export \"run\")))")),
    ("truncated", || {
        let whole = component("name-clash");
        whole[..whole.len() / 2].to_vec()
    }),
    ("precompiled", precompiled),
    ("damaged", || {
        let mut whole = component("name-clash");
        let middle = whole.len() / 3;
        whole[middle..middle + 64].fill(0xff);
        whole
    }),
    ("too-large", || [b"\0asm\x0d\0\x01\0".as_slice(), &vec![0; 65 << 20]].concat()),
    ("bomb-of-functions", || bomb(&|n| format!("(func (result i32) (i32.const {n}))\n"), 210_000)),
    ("bomb-of-one-function", || {
        // Whatever allocates registers has to think of each of 4,000 variables at each of 40,000 branches.
        let (locals, branches) = (4_000, 40_000);
        let branch = |n: usize| {
            let (to, from) = (1 + n * 7 % locals, 1 + n * 13 % locals);
            format!(
                "(if (local.get {from}) (then (local.set {to} (i32.add (local.get {from}) (i32.const {n})))))\n"
            )
        };
        let body: String = (0..branches).map(branch).collect();
        let keep: String =
            (1..=locals).map(|n| format!("(i32.store (i32.const 800) (local.get {n}))\n")).collect();
        bomb(&|_| format!("(func (param i32) (local{}) {body}{keep})\n", " i32".repeat(locals)), 1)
    }),
    ("bomb-of-nesting", || nested(2_000)),
    ("bomb-of-types", || {
        // Each type is twice as large as the one before.
        let mut text = String::from("(component (type $t0 (tuple u64 u64))\n");
        for n in 0..40 {
            text += &format!("(type $t{} (tuple $t{n} $t{n}))\n", n + 1);
        }
        text +=
            "(import \"windlass:base/log@0.1.0\" (instance $i (export \"write\" (func (param \"x\" $t40)))))
            (export \"windlass:master/next-slave@0.1.0\" (instance $i))
            (export \"windlass:base/plugin@0.1.0\" (instance $i)))";
        assembled("bomb-of-types", &text)
    }),
];

/// What our own compiler makes of a component, without the header of the cache.
fn precompiled() -> Vec<u8> {
    const HEADER: usize = 40;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cache = dir.path().join("cache");
    let runtime = windlass_runtime::Runtime::new(windlass_runtime::Options::new(&cache)).expect("an engine");
    let bytes = component("name-clash").into();
    runtime.load("name-clash", windlass_runtime::plugin::Source::Bundled, bytes).expect("it behaves");
    let kept = std::fs::read_dir(cache).expect("it was just made").flatten().map(|entry| entry.path());
    let kept = kept.filter(|path| path.extension().is_some_and(|end| end == "cwasm")).last();
    std::fs::read(kept.expect("it was compiled")).expect("it is kept").split_off(HEADER)
}

/// A policy whose module has functions without end besides.
fn bomb(function: &dyn Fn(usize) -> String, count: usize) -> Vec<u8> {
    let functions: String = (0..count).map(function).collect();
    wrapped("bomb", &functions)
}

/// Components in components. Not by text, whose parser is recursive itself.
fn nested(depth: usize) -> Vec<u8> {
    const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
    let mut inner = HEADER.to_vec();
    for _ in 0..depth {
        let mut outer = HEADER.to_vec();
        // A section of components, with its length.
        outer.push(4);
        let mut len = inner.len();
        while len >= 0x80 {
            outer.push((len & 0x7f) as u8 | 0x80);
            len >>= 7;
        }
        outer.push(len as u8);
        outer.extend(&inner);
        inner = outer;
    }
    inner
}

#[cfg(test)]
mod tests {
    /// Builds every one of them, so that a typing error is found here.
    #[test]
    fn every_hostile_component_can_be_built() {
        for name in super::names() {
            let began = std::time::Instant::now();
            let len = super::component(&name).len();
            println!("{name}: {len} bytes in {:?}", began.elapsed());
        }
    }
}
