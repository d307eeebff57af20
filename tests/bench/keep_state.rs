//! Keeps the state of a master of this version that was killed while it built: what later versions take up
//! (`tests/it/kept.rs`).
//!
//!     cargo run -p windlass-tests --example keep-state tests/kept/state-0.1.tar.xz
//!
//! To be run once for each version whose rows or components differ, before it is released; an archive that is kept is never
//! made anew.

use std::process::Command;

use windlass_tests::site::{Site, eventually};

/// `parent` waits in its second step for a child that nobody builds yet; `lost` runs a command.
fn builders() -> String {
    let on = |worker: &str, builder: String| builder.replace("\"w1\", \"w2\"", &format!("\"{worker}\""));
    let parent = Site::builder("parent", "echo one", "")
        + "[[builders.steps]]\nname = \"wait\"\nuse = \"trigger\"\n\
           args = { schedulers = [\"child\"], wait_for_finish = true }\n\
           [[builders.steps]]\nname = \"last\"\nuse = \"shell-command\"\nargs = { command = \"echo three\" }\n";
    let lost = "touch ../../../began; until test -e ../../../go; do sleep 0.05; done; echo done";
    on("w1", parent)
        + &on("w1", Site::builder("lost", lost, ""))
        + &on("w2", Site::builder("child", "echo child", ""))
        + "[[schedulers]]\nname = \"child\"\ntype = \"triggerable\"\nbuilders = [\"child\"]\n"
}

/// Packs what the next version needs: no cache, no socket, nothing of the workers but their tokens.
const PACK: &str = "
import sys, tarfile, lzma
site, out = sys.argv[1:]
with tarfile.open(out, 'w:xz', preset=9 | lzma.PRESET_EXTREME) as archive:
    for name in ['master.toml', 'w1/token', 'w2/token', 'state/store.redb', 'state/logs', 'state/cas', 'state/artifacts']:
        archive.add(f'{site}/{name}', name)
";

fn main() {
    let out = std::env::args().nth(1).expect("which file?");
    let mut site = Site::new(&["w1", "w2"], &builders());
    site.start_master();
    site.start_worker("w1");
    for builder in ["parent", "lost"] {
        site.submit(builder);
        site.running(builder);
    }
    eventually("the command runs", || site.path("w1/began").exists().then_some(()));
    let parent = site.running("parent");
    eventually("the parent waits", || {
        let build = site.get(&format!("/api/v1/builds/{parent}"));
        (build["steps"][1]["name"] == "wait" && site.get("/api/v1/status")["pending"] == 1).then_some(())
    });
    site.end("master", false);
    let packed = Command::new("python3").args(["-c", PACK]).arg(site.path("")).arg(&out).status();
    assert!(packed.expect("python3 is there").success(), "nothing was packed");
    println!("{out}: {} bytes", std::fs::metadata(&out).expect("just made").len());
}
