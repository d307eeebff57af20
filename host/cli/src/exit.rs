//! Exit codes, and the one place where an error becomes one. `--help` documents them.

use std::process::ExitCode;

use windlass_web::client::ClientError;

/// How the program ends, the worst last. The codes stand in `windlass --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All was well.
    Success,
    /// What was asked for ran and did not succeed.
    Unsuccessful,
    /// The configuration or a plugin is wrong.
    Invalid,
    /// No master answers.
    NoMaster,
    /// The master refused.
    Refused,
    /// The surroundings failed.
    Outside,
}

impl Exit {
    /// For machines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Exit::Success => "success",
            Exit::Unsuccessful => "unsuccessful",
            Exit::Invalid => "invalid",
            Exit::NoMaster => "no-master",
            Exit::Refused => "refused",
            Exit::Outside => "outside",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::Unsuccessful => 1,
            // 2 is clap's.
            Exit::Invalid => 3,
            Exit::NoMaster => 4,
            Exit::Refused => 5,
            Exit::Outside => 6,
        })
    }
}

/// An error that knows its exit code.
#[derive(Debug)]
pub struct Failed {
    /// The code.
    pub exit: Exit,
    /// What went wrong, with its chain.
    pub error: anyhow::Error,
}

impl Failed {
    /// The configuration or a plugin is wrong.
    pub fn invalid(error: impl Into<anyhow::Error>) -> Failed {
        Failed { exit: Exit::Invalid, error: error.into() }
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Failed {
        Failed { exit: Exit::Outside, error }
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Failed {
        Failed { exit: Exit::Outside, error: error.into() }
    }
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Failed {
        let exit = match &error {
            ClientError::NoMaster { .. } => Exit::NoMaster,
            ClientError::Refused(e) if e.code == "refused" => Exit::Invalid,
            ClientError::Refused(_) => Exit::Refused,
            ClientError::Broken(_) | ClientError::Unreadable(_) => Exit::Outside,
        };
        Failed { exit, error: error.into() }
    }
}
