//! The patch of a source stamp, applied on top of the checkout.

use windlass_sdk::step::{self, PatchInfo};
use windlass_sdk::{Outcome, transfer};

use super::checkout::{Broken, Checkout, Stop};
use crate::remote::{self, Ending};
use crate::transfer::{Went, run};

/// Where it stands on the worker while it is applied, in the builder's directory.
const FILE: &str = ".windlass-patch";

/// So much of it is read at once.
const PART: u32 = 1 << 16;

impl Checkout {
    /// Applies it, to files and index.
    pub(super) fn apply_patch(&self) -> Result<(), Broken> {
        let Some(info) = step::patch(&self.args.codebase)? else { return Ok(()) };
        self.bring(&info)?;
        let up = "../".repeat(self.dir().split('/').filter(|part| !matches!(*part, "" | ".")).count());
        let file = format!("{up}{FILE}");
        let (level, directory) = (format!("-p{}", info.level), format!("--directory={}", info.directory));
        let mut words = vec!["apply", "--index", &level];
        if !info.directory.is_empty() {
            words.push(&directory);
        }
        words.push(&file);
        let applied = self.git(&words).run();
        // Whatever stays of it is replaced by the next one.
        remote::remove(FILE)?.ok();
        let why = match applied? {
            Ending::Code(0) => return Ok(()),
            Ending::Code(code) => (Outcome::Failure, format!("it does not apply, exit code {code}")),
            Ending::Other(outcome, why) => (outcome, why),
        };
        Err(Broken::There(Stop::Ended("git apply of the patch".to_owned(), why.0, why.1)))
    }

    /// Brings it to the worker.
    fn bring(&self, info: &PatchInfo) -> Result<(), Broken> {
        let mut offset = 0;
        let token = loop {
            let part = step::read_patch(&self.args.codebase, offset, PART)?;
            let token = transfer::offer_bytes("patch", &part)?;
            offset += u32::try_from(part.len()).unwrap_or(u32::MAX);
            if part.is_empty() || offset >= info.size {
                break token;
            }
        };
        match run("download-file", &serde_json::json!({ "token": token, "path": FILE }))? {
            Went::Well(_) => Ok(()),
            Went::Otherwise(outcome, why) => {
                Err(Broken::There(Stop::of("download of the patch", (outcome, why))))
            }
        }
    }
}
