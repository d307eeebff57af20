//! Is more than a description allows: it asks for the time while it describes itself.

use hostile::{described, describes};

describes!({
    let now = windlass_sdk::clock::now();
    described(&format!("describe-acts-{now}"))
});
