//! What can be typed below `windlass debug`, and into its console.

use clap::{Parser, Subcommand};
use windlass_master::view::DebugLook;

/// What to look at in a running master.
#[derive(Clone, Debug, Subcommand)]
pub enum Look {
    /// Queues, slots, locks, suspended policies and quarantines, as the dispatcher has them
    Board,
    /// A build: its rows, its plan, the journal and the commands of the step that runs
    Build {
        /// Its number
        build: u64,
    },
    /// The links to workers: what was heard, what is not acknowledged, what waits
    Links,
    /// The tables with their rows and bytes, the room on the disk, the commits
    Store,
    /// A row of a table, raw and decoded
    Row {
        /// The table, as docs/store.md names it
        table: String,
        /// Its key, as `rows` prints it: the parts with `,` in between, and `%2c` for one within a part
        key: String,
    },
    /// Rows of a table by their keys, and which of them are damaged
    Rows {
        /// The table, as docs/store.md names it
        table: String,
        /// Those behind this key [default: from the first on]
        #[arg(long, value_name = "KEY")]
        after: Option<String>,
        /// At most so many, up to 1000 [default: 100]
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Only those that are damaged
        #[arg(long)]
        damaged: bool,
    },
    /// The plugins by generation and digest, and who holds old ones
    Plugins,
    /// What runs, and since when
    Tasks,
    /// Have a git poller look now; needs `allow_changes`
    Poll {
        /// Its name
        poller: String,
    },
    /// End the suspension of a policy; needs `allow_changes`
    Lift {
        /// Its name
        policy: String,
    },
}

/// A line that is typed into the console.
#[derive(Debug, Parser)]
#[command(name = "", no_binary_name = true, disable_help_flag = true)]
pub struct Line {
    /// What to look at.
    #[command(subcommand)]
    pub look: Look,
}

impl From<Look> for DebugLook {
    fn from(look: Look) -> DebugLook {
        match look {
            Look::Board => DebugLook::Board,
            Look::Build { build } => DebugLook::Build(build),
            Look::Links => DebugLook::Links,
            Look::Store => DebugLook::Store,
            Look::Row { table, key } => DebugLook::Row { table, key },
            Look::Rows { table, after, limit, damaged } => DebugLook::Rows { table, after, limit, damaged },
            Look::Plugins => DebugLook::Plugins,
            Look::Tasks => DebugLook::Tasks,
            Look::Poll { poller } => DebugLook::Poll(poller),
            Look::Lift { policy } => DebugLook::Lift(policy),
        }
    }
}
