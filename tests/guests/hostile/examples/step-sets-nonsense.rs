//! Sets properties to what no value may be.

use hostile::{step, told};

step!("step-sets-nonsense", {
    use windlass_sdk::Value;
    let set = |(name, value): (&str, Value)| told(windlass_sdk::step::set_property(name, &value));
    [
        ("n", Value::Number(f64::NAN)),
        ("i", Value::Integer(i64::MAX)),
        ("j", Value::Json("[".repeat(60_000))),
        ("k", Value::Json("[".repeat(30_000) + &"]".repeat(30_000))),
        ("\x1b[31m", Value::Null),
    ]
    .map(set)
    .join("; ")
});
