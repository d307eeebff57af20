//! The `windlass` binary: arguments to one of the crates below; prints; picks the exit code.
//!
//! The only place that reads arguments and the environment, and the only one that prints.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod artifacts;
mod check;
mod compile;
mod daemon;
mod debug;
mod demo;
mod exit;
mod fault;
mod init;
mod locks;
mod logs;
mod order;
mod output;
mod password;
mod place;
mod plugin;
mod progress;
mod query;
mod requests;
mod terminal;
mod test_results;
mod tokens;
mod users;
mod waiting;
mod why;
mod workers;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command, Workers};
use exit::{Exit, Failed};
use output::{BAD, paint, tame_lines};

/// How long the end may take once all is said.
const ENDING: std::time::Duration = std::time::Duration::from_secs(1);

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == "--held") {
        // Before anything else: programs of commands run already, and starts with secrets are in reach.
        windlass_worker::conceal();
    }
    if let Some(ended) = compile::if_asked().or_else(terminal::if_asked) {
        return ended;
    }
    let cli = Cli::parse();
    trace();
    if let (Command::Worker { .. }, false) = (&cli.command, cli.held) {
        return daemon::hold();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            anstream::eprintln!("{} the threads cannot be started: {e}", paint(BAD, "error:"));
            return Exit::Outside.into();
        }
    };
    let json = cli.json;
    let ended = runtime.block_on(run(cli));
    // Tasks are dropped, and what they guard with them: a worker that was told to stop at once kills the
    // processes of its commands there. A thread that still reads a file is not waited for any longer.
    runtime.shutdown_timeout(ENDING);
    match ended {
        Ok(exit) => exit.into(),
        Err(Failed { exit, error }) => {
            if json {
                query::print_json(
                    &serde_json::json!({ "code": exit.name(), "message": format!("{error:#}") }),
                );
            }
            // Names that a plugin gave itself may stand in it.
            anstream::eprintln!("{} {}", paint(BAD, "error:"), tame_lines(&format!("{error:#}")));
            if exit == Exit::NoMaster {
                anstream::eprintln!(
                    "name the master's directory with `--dir DIR` or WINDLASS_DIR; `windlass master DIR` starts one"
                );
            }
            exit.into()
        }
    }
}

/// Diagnostics of the daemons go to standard error; WINDLASS_LOG filters them, `info` by default.
fn trace() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WINDLASS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour).init();
}

async fn run(cli: Cli) -> Result<Exit, Failed> {
    let Cli { dir, json, held: _, command } = cli;
    let client = || place::client(&dir);
    match command {
        Command::Init { dir } => init::init(&dir),
        Command::Token { file } => init::token(&file, json),
        Command::Check { path } => check::check(path.as_deref().unwrap_or(&dir), json).await,
        Command::Schema { worker } => {
            let schema = if worker {
                windlass_config::schema::of_worker()
            } else {
                windlass_config::schema::of_master()
            };
            query::print_json(&schema);
            Ok(Exit::Success)
        }
        Command::Master { path } => daemon::master(path.as_deref().unwrap_or(&dir)).await,
        Command::Worker { path } => daemon::worker(path.as_deref().unwrap_or(&dir)).await,
        Command::Force(order) => order::force(&client()?, order, json).await,
        Command::Status { verbose } => query::status(&client()?, verbose, json).await,
        Command::Locks => locks::locks(&client()?, json).await,
        Command::Workers { order: None } => workers::workers(&client()?, json).await,
        Command::Workers { order: Some(Workers::Release { worker }) } => {
            workers::release(&client()?, &worker, json).await
        }
        Command::Workers { order: Some(Workers::Token { worker, file }) } => {
            tokens::token(&client()?, &worker, &file, json).await
        }
        Command::Workers { order: Some(Workers::Tokens { worker }) } => {
            tokens::tokens(&client()?, worker.as_deref(), json).await
        }
        Command::Workers { order: Some(Workers::Revoke { worker, number }) } => {
            tokens::revoke(&client()?, &worker, number, json).await
        }
        Command::Requests(order) => requests::requests(&client()?, order, json).await,
        Command::Builds { builder, worker, running, limit } => {
            let filter = windlass_master::view::BuildFilter {
                builder,
                worker,
                complete: running.then_some(false),
                limit: Some(limit as usize),
                before: None,
            };
            query::builds(&client()?, filter, json).await
        }
        Command::Build { build, all, properties } => {
            let shown = query::Shown { all, properties };
            query::build(&client()?, build, shown, json).await
        }
        Command::Tests { build, failed, step } => {
            test_results::tests(&client()?, build, failed, step, json).await
        }
        Command::Why(order) => why::why(&client()?, &order, json).await,
        Command::Cancel { request } => order::cancel(&client()?, request, json).await,
        Command::Stop { build, step, reason } => order::stop(&client()?, build, step, &reason).await,
        Command::Logs { build, step, log, follow, first, lines, tail } => {
            let wanted = logs::Wanted { build, step, log, follow, first, lines, tail };
            logs::logs(&client()?, &wanted, json).await
        }
        Command::Artifacts { build } => artifacts::list(&client()?, build, json).await,
        Command::Artifact { build, name, output } => {
            artifacts::fetch(&client()?, build, &name, output.as_deref(), json).await
        }
        Command::Users { user } => users::users(&client()?, user.as_deref(), json).await,
        Command::Reconfig { plan } => order::reconfig(&client()?, plan, json).await,
        Command::Poll => order::poll(&client()?, json).await,
        Command::Plugin(order) => plugin::plugin(order, client, json).await,
        Command::Debug { password_file, look } => {
            debug::debug(&client()?, password_file.as_deref(), look, json).await
        }
        Command::Password { password_file } => password::make(password_file.as_deref(), json),
        Command::Demo(options) => demo::demo(&options).await,
    }
}
