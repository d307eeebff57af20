//! Starts a program on the master without a grant.

use hostile::{step, told};

step!("step-runs-on-the-master", {
    let argv = ["sh".to_owned(), "-c".to_owned(), "id".to_owned()];
    told(windlass_sdk::master_process::start(&argv, &[], None, "stdio"))
});
