//! Builds a project and lists its components: `cargo run -p windlass-build --example build -- PROJECT [TARGET]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(project) = words.next() else {
        eprintln!("usage: build PROJECT [TARGET]");
        return ExitCode::from(2);
    };
    let mut builder = windlass_build::Builder::new(project).progress(|line| eprintln!("{line}"));
    if let Some(target) = words.next() {
        builder = builder.target_dir(target);
    }
    match builder.build() {
        Ok(components) => {
            for component in components {
                println!("{} {}", component.name, component.path.display());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            let mut source: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = source {
                eprintln!("error: {error}");
                source = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
