//! `artifacts` and `artifact`: what builds left with the master, listed and fetched.

use std::io::{IsTerminal as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use anstream::{print, println};
use anstyle::Style;
use windlass_core::artifact::ArtifactKind;
use windlass_master::view;
use windlass_web::client::Client;

use crate::exit::{Exit, Failed};
use crate::output::{FAINT, Table, duration, size, tame};
use crate::place::now_ms;
use crate::query::{encode, print_json};

const PLAIN: Style = Style::new();

/// `windlass artifacts BUILD`.
pub async fn list(client: &Client, build: u64, json: bool) -> Result<Exit, Failed> {
    let artifacts: Vec<view::Artifact> = client.get(&path(build, "")).await?;
    if json {
        print_json(&artifacts);
    } else if artifacts.is_empty() {
        println!("build {build} has no artifacts");
    } else {
        let mut table = Table::new(&["artifact", "", "size", "stored", "BLAKE3"]);
        for artifact in &artifacts {
            let kind = match artifact.kind {
                ArtifactKind::File => String::new(),
                ArtifactKind::Tree => format!("tree of {}", artifact.entries),
            };
            table.row(vec![
                (PLAIN, tame(&artifact.name).to_string()),
                (FAINT, kind),
                (PLAIN, size(artifact.size)),
                (FAINT, format!("{} ago", duration(now_ms().saturating_sub(artifact.stored.0)))),
                (FAINT, artifact.hash.to_string()),
            ]);
        }
        print!("{table}");
    }
    Ok(Exit::Success)
}

/// `windlass artifact BUILD NAME`.
pub async fn fetch(
    client: &Client,
    build: u64,
    name: &str,
    output: Option<&Path>,
    json: bool,
) -> Result<Exit, Failed> {
    let artifacts: Vec<view::Artifact> = client.get(&path(build, "")).await?;
    let tree = artifacts.iter().find(|artifact| artifact.name == name && artifact.kind == ArtifactKind::Tree);
    let output = output.filter(|output| *output != Path::new("-"));
    match (tree, output) {
        (None, Some(output)) => to_file(client, &path(build, name), output, None).await?,
        (None, None) => {
            let mut out = std::io::stdout();
            if out.is_terminal() {
                return Err(refused("it would be written to your terminal; name a file with `-o FILE`"));
            }
            copy(client, &path(build, name), &mut out).await?;
        }
        (Some(tree), None) => {
            let entries = entries(client, build, tree).await?;
            if json {
                print_json(&entries);
            } else {
                let mut table = Table::new(&["in the tree", "", "size"]);
                for entry in &entries {
                    let target = entry.target.as_ref().map(|target| format!("-> {}", tame(target)));
                    let bytes = if entry.kind == "file" { size(entry.size) } else { String::new() };
                    table.row(vec![
                        (PLAIN, tame(&entry.path).to_string()),
                        (FAINT, target.unwrap_or_else(|| entry.kind.clone())),
                        (PLAIN, bytes),
                    ]);
                }
                print!("{table}");
            }
        }
        (Some(tree), Some(output)) => to_folder(client, build, tree, output).await?,
    }
    Ok(Exit::Success)
}

fn path(build: u64, name: &str) -> String {
    let name: String =
        name.split('/').filter(|part| !part.is_empty()).map(|part| format!("/{}", encode(part))).collect();
    format!("/api/v1/builds/{build}/artifacts{name}")
}

fn refused(why: &str) -> Failed {
    Failed { exit: Exit::Refused, error: anyhow::Error::msg(why.to_owned()) }
}

/// All that stands in a tree, answer by answer.
async fn entries(client: &Client, build: u64, tree: &view::Artifact) -> Result<Vec<view::TreeEntry>, Failed> {
    let (mut entries, mut after) = (Vec::<view::TreeEntry>::new(), String::new());
    while (entries.len() as u64) < tree.entries {
        let more: Vec<view::TreeEntry> = client.get(&format!("{}{after}", path(build, &tree.name))).await?;
        if more.is_empty() {
            let (there, all) = (entries.len(), tree.entries);
            return Err(refused(&format!(
                "the master lists {there} of {all} entries; it was replaced meanwhile"
            )));
        }
        entries.extend(more);
        after = entries.last().map(|last| format!("?after={}", encode(&last.path))).unwrap_or_default();
    }
    Ok(entries)
}

/// Fetches a tree into a new folder. Links come last, so that nothing is written through one.
async fn to_folder(client: &Client, build: u64, tree: &view::Artifact, folder: &Path) -> Result<(), Failed> {
    let name = &tree.name;
    let entries = entries(client, build, tree).await?;
    // The master cannot be asked for a name that is no text; half a copy would look like a whole one.
    if let Some(entry) = entries.iter().find(|entry| entry.path.contains(char::REPLACEMENT_CHARACTER)) {
        let path = tame(&entry.path);
        return Err(refused(&format!(
            "`{path}` in the tree has a name that is not UTF-8 and cannot be fetched"
        )));
    }
    std::fs::create_dir(folder)?;
    let place = |entry: &view::TreeEntry| -> Result<PathBuf, Failed> {
        let path = Path::new(&entry.path);
        if path.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(refused(&format!("the master names `{}` in the tree", tame(&entry.path))));
        }
        Ok(folder.join(path))
    };
    for entry in entries.iter().filter(|entry| entry.kind != "link") {
        let to = place(entry)?;
        if entry.kind == "directory" {
            std::fs::create_dir(to)?;
        } else {
            to_file(client, &path(build, &format!("{name}/{}", entry.path)), &to, Some(entry.mode)).await?;
        }
    }
    for entry in &entries {
        if let Some(target) = &entry.target {
            std::os::unix::fs::symlink(target, place(entry)?)?;
        }
    }
    Ok(())
}

/// Fetches into a file: beside it first, so that half a file never has the name.
async fn to_file(client: &Client, path: &str, file: &Path, mode: Option<u32>) -> Result<(), Failed> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut unfinished = tempfile::NamedTempFile::new_in(folder)?;
    copy(client, path, &mut unfinished).await?;
    // A temporary file is its owner's alone; this one is like any other.
    let mode = mode.unwrap_or(0o644);
    unfinished.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    unfinished.persist(file).map_err(|error| error.error)?;
    Ok(())
}

async fn copy(client: &Client, path: &str, out: &mut impl Write) -> Result<(), Failed> {
    let mut download = client.download(path).await?;
    while let Some(piece) = download.next().await {
        out.write_all(&piece?)?;
    }
    Ok(out.flush()?)
}
