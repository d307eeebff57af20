//! Works on files below a directory that a child swaps for a link out and back, all the time.

use hostile::{command, exec};

command!("path-race", exec!("sh"), {
    use windlass_sdk::{files, process};
    let script = "mkdir d; : >d/token; while :; do mv d e; ln -s ../.. d; rm d; mv e d; done";
    let options = process::SpawnOptions::new(&["sh", "-c", script].map(str::to_owned));
    let swapper = process::spawn(options)?;
    let (mut seen, mut stolen) = (0, 0);
    let began = windlass_sdk::clock::now();
    while windlass_sdk::clock::now() - began < 1_500 {
        seen += 1;
        stolen += u32::from(files::read("d/token").is_ok_and(|token| !token.is_empty()));
        stolen +=
            u32::from(files::entries("d").is_ok_and(|list| list.iter().any(|e| e.path == "d/worker.toml")));
        let _refused = files::remove("d/worker.toml");
        let _refused = files::write("d/token", b"");
    }
    drop(swapper);
    format!("{stolen} stolen of {}", if seen > 10 { "many" } else { "few" })
});
