//! `cargo xtask audit`: what we depend on, against what we decided to depend on.
//!
//! Licences must be among ours; a package may stand in two versions only where it is named here with the
//! reason; and the number of packages is a budget, raised knowingly. Advisories are not looked up: their
//! database is not in a package registry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, bail};
use cargo_metadata::{CargoOpt, MetadataCommand, Package};

/// Licences whose terms a binary under MIT or Apache-2.0 can meet.
const LICENCES: [&str; 9] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Zlib",
];

/// Packages that stand in two versions, with the reason.
const DUPLICATES: [(&str, &str); 15] = [
    ("block-buffer", "of digest"),
    ("cpufeatures", "blake3 is ahead of sha1 and sha2"),
    ("crypto-common", "of digest"),
    ("digest", "wasmtime's sha2 and tungstenite's sha1 are of two generations"),
    ("embedded-io", "postcard, which wasmtime uses, asks for both"),
    ("getrandom", "proptest's rand lags behind; tests only"),
    ("hashbrown", "indexmap is ahead of wasmtime"),
    ("io-lifetimes", "wasmtime-wasi asks for both"),
    ("syn", "derives of the field are moving from 2 to 3"),
    ("unicode-width", "miette asks for both"),
    ("wasm-encoder", "wasmtime is a release behind wit-bindgen"),
    ("wasm-metadata", "wasmtime is a release behind wit-bindgen"),
    ("wasmparser", "wasmtime is a release behind wit-bindgen"),
    ("wit-component", "wasmtime is a release behind wit-bindgen"),
    ("wit-parser", "wasmtime is a release behind wit-bindgen"),
];

/// How many packages the lock file may name for this platform.
/// 9 of them are zstd and flate2, with which files are packed under way.
/// 12 are TLS for requests of steps: rustls, ring and what they bring.
/// 3 are the slow hash of the console's password.
const BUDGET: usize = 354;

/// Checks the workspace at `root`; every finding is in the error.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let platform = "x86_64-unknown-linux-gnu".to_owned();
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .other_options(vec!["--locked".to_owned(), "--filter-platform".to_owned(), platform])
        .exec()
        .context("failed to ask cargo for its metadata")?;
    let used: BTreeSet<_> = metadata.resolve.iter().flat_map(|r| &r.nodes).map(|node| &node.id).collect();
    let packages: Vec<&Package> = metadata.packages.iter().filter(|p| used.contains(&p.id)).collect();
    let mut findings = licences(&packages)?;
    findings.extend(duplicates(&packages));
    if packages.len() > BUDGET {
        findings.push(format!("{} packages are over the budget of {BUDGET}", packages.len()));
    }
    if !findings.is_empty() {
        bail!("the audit found:\n  {}", findings.join("\n  "));
    }
    println!("{} packages, licences and duplicates as decided", packages.len());
    Ok(())
}

fn licences(packages: &[&Package]) -> anyhow::Result<Vec<String>> {
    let allowed = LICENCES.iter().map(|l| spdx::Licensee::parse(l)).collect::<Result<Vec<_>, _>>()?;
    let finding = |package: &&Package| {
        let Some(text) = &package.license else {
            return Some(format!("{} {} names no licence", package.name, package.version));
        };
        let met = spdx::Expression::parse_mode(text, spdx::ParseMode::LAX)
            .is_ok_and(|e| e.evaluate(|wanted| allowed.iter().any(|a| a.satisfies(wanted))));
        (!met).then(|| format!("{} {} is under {text}", package.name, package.version))
    };
    Ok(packages.iter().filter_map(finding).collect())
}

fn duplicates(packages: &[&Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in packages {
        versions.entry(package.name.as_str()).or_default().insert(package.version.to_string());
    }
    let known = |name: &str| DUPLICATES.iter().any(|(duplicate, _)| *duplicate == name);
    let several = |v: &BTreeSet<String>| v.iter().cloned().collect::<Vec<_>>().join(" and ");
    let unknown = versions
        .iter()
        .filter(|(name, v)| v.len() > 1 && !known(name))
        .map(|(name, v)| format!("{name} stands in {}", several(v)));
    let stale = DUPLICATES
        .iter()
        .filter(|(name, _)| versions.get(name).is_none_or(|v| v.len() < 2))
        .map(|(name, _)| format!("{name} is listed as a duplicate and is none any more"));
    unknown.chain(stale).collect()
}
