//! Asks for a capability that does not exist, with an escape in its reason.

use hostile::{Request, described, describes};

describes!({
    let mut description = described("asks-for-root");
    let (capability, scope) = ("root\x1b[31m".to_owned(), vec!["*".to_owned()]);
    description.capabilities.push(Request { capability, scope, reason: "<b>please</b>".to_owned() });
    description
});
