//! Times and sizes as people write them.

/// `"90s"`, `"1h 30m"`, `"250ms"` in milliseconds; none if it is no time.
pub(crate) fn duration_ms(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = number(rest)?;
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let factor = match &after[..unit_end] {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            "d" => 24 * 60 * 60 * 1000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = after[unit_end..].trim_start();
    }
    Some(total)
}

/// `"10 GiB"`, `"500kB"`, `"12 B"` in bytes; none if it is no size.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (number, unit) = number(text.trim())?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "b" => 1,
        "kb" => 1000,
        "mb" => 1000_u64.pow(2),
        "gb" => 1000_u64.pow(3),
        "tb" => 1000_u64.pow(4),
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// A whole number and what follows it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, ms) in [("90s", 90_000), ("1h 30m", 5_400_000), ("1h30m", 5_400_000), ("250 ms", 250)] {
            assert_eq!(duration_ms(text), Some(ms), "{text}");
        }
        for text in ["", "90", "s", "1.5h", "5 weeks", "-1s", "99999999999999999999s"] {
            assert_eq!(duration_ms(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [("12 B", 12), ("500kB", 500_000), ("10 MiB", 10 << 20), ("1TiB", 1 << 40)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "10", "MiB", "10 M", "1.5 GiB", "99999999999 TiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
