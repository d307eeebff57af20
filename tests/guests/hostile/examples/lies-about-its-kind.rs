//! Describes a hook of a kind that it does not have.

use hostile::{described, describes};

describes!({
    let mut description = described("lies-about-its-kind");
    description.hooks[0].kind = "build-step".to_owned();
    description
});
