//! A plan as people read it: like a diff, and short enough for a terminal. `--json` has all of it.

use std::fmt;

use super::bound::cut;
use super::{Change, Field, How, Plan, Why};

/// So many things.
const MOST_CHANGES: usize = 200;
/// So many fields of each.
const MOST_FIELDS: usize = 20;
/// So many bytes of a value.
const MOST_OF_VALUE: usize = 300;

/// `+` is new, `-` is gone, `~` is different, `*` is restarted, `!` is refused. No end of line at the end.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing changes");
        }
        let mut lines = Vec::new();
        for Field { name, old, new } in &self.refused {
            lines.push(format!("! {name}: {} -> {} (needs a restart of the master)", shown(old), shown(new)));
        }
        self.changes.iter().take(MOST_CHANGES).for_each(|change| add(change, &mut lines));
        let more = self.changes.len().saturating_sub(MOST_CHANGES) as u64 + self.left_out;
        if more > 0 {
            lines.push(format!("… and {more} more; `--json` lists {} in all", self.changes.len()));
        }
        f.write_str(&lines.join("\n"))
    }
}

fn add(change: &Change, lines: &mut Vec<String>) {
    let sign = match change.how {
        How::Added => '+',
        How::Changed => '~',
        How::Restarted => '*',
        How::Removed => '-',
    };
    let mut head = format!("{sign} {} `{}`", change.what, change.name);
    if let [Field { name, old, new }] = change.fields.as_slice()
        && name.is_empty()
    {
        lines.push(format!("{head}: {} -> {}", shown(old), shown(new)));
        return;
    }
    if matches!(change.how, How::Restarted | How::Removed) && !change.effect.is_empty() {
        head += &format!(" ({})", change.effect);
    }
    lines.push(head);
    lines.extend(change.why.iter().filter_map(reason));
    for Field { name, old, new } in change.fields.iter().take(MOST_FIELDS) {
        lines.push(format!("    {name}: {} -> {}", shown(old), shown(new)));
    }
    let more = change.fields.len().saturating_sub(MOST_FIELDS) as u64 + change.fields_left_out;
    if more > 0 {
        lines.push(format!("    … and {more} more fields"));
    }
}

/// A reason that neither the sign nor the fields tell.
fn reason(why: &Why) -> Option<String> {
    match why {
        Why::Component { kind, hook, old, new } => {
            Some(format!("    component of {kind} {hook}: {} -> {}", old.short(), new.short()))
        }
        Why::Tokens { tokens } => {
            let numbers: Vec<String> = tokens.iter().map(u64::to_string).collect();
            Some(format!("    its tokens go with it: {}", numbers.join(", ")))
        }
        Why::New | Why::Gone | Why::Settings | Why::Type | Why::Token | Why::Unequal => None,
    }
}

fn shown(value: &Option<String>) -> std::borrow::Cow<'_, str> {
    cut(value.as_deref().unwrap_or("(not set)"), MOST_OF_VALUE)
}
