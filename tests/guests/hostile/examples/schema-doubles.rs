//! Has a schema whose evaluation doubles at each of forty levels.

use hostile::{describes, with_schema};

describes!({
    let level = |n: u32| {
        format!(r##""l{n}": {{"allOf": [{{"$ref": "#/$defs/l{0}"}}, {{"$ref": "#/$defs/l{0}"}}]}}"##, n + 1)
    };
    let levels: Vec<String> = (0..40).map(level).collect();
    let schema = format!(
        r##"{{"$ref": "#/$defs/l0", "$defs": {{{}, "l40": {{"type": "object"}}}}}}"##,
        levels.join(", ")
    );
    with_schema("schema-doubles", schema)
});
