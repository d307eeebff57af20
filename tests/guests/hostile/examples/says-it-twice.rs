//! Has two hooks of one name.

use hostile::{described, describes};

describes!({
    let mut description = described("says-it-twice");
    description.hooks.push(description.hooks[0].clone());
    description
});
