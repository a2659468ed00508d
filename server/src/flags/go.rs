//! How Go's `flag` package reads values.

use std::time::Duration;

/// As `strconv.ParseBool`.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// As `strconv.ParseUint` with base 0: decimal, `0x`, `0o`, `0b`, a leading zero for octal, and underscores.
pub(super) fn unsigned(text: &str) -> Option<u64> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let (base, digits) = match plain.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &plain[2..]),
        [b'0', b'o' | b'O', ..] => (8, &plain[2..]),
        [b'0', b'b' | b'B', ..] => (2, &plain[2..]),
        [b'0', _, ..] => (8, &plain[1..]),
        _ => (10, plain.as_str()),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(digits, base).ok()
}

/// As `strconv.ParseInt` with base 0.
pub(super) fn signed(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(digits) => 0i64.checked_sub_unsigned(unsigned(digits)?),
        None => i64::try_from(unsigned(text.strip_prefix('+').unwrap_or(text))?).ok(),
    }
}

/// As `time.ParseDuration`, without negative ones.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|at| *at > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let nanoseconds = match &rest[..unit] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * nanoseconds;
        rest = &rest[unit..];
    }
    (!text.is_empty() && total < i64::MAX as f64).then(|| Duration::from_nanos(total.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        for (text, value) in [("true", Some(true)), ("0", Some(false)), ("T", Some(true)), ("yes", None), ("", None)] {
            assert_eq!(boolean(text), value, "{text:?}");
        }
    }

    #[test]
    fn numbers() {
        for (text, value) in [
            ("10", Some(10)),
            ("0x10", Some(16)),
            ("010", Some(8)),
            ("0b11", Some(3)),
            ("1_000", Some(1000)),
            ("0", Some(0)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1s", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(unsigned(text), value, "{text:?}");
        }
        for (text, value) in [("-1", Some(-1)), ("+7", Some(7)), ("-", None), ("--1", None), ("0x7f", Some(127))] {
            assert_eq!(signed(text), value, "{text:?}");
        }
    }

    #[test]
    fn durations() {
        for (text, nanoseconds) in [
            ("0", Some(0)),
            ("5s", Some(5_000_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("100ms", Some(100_000_000)),
            ("1us2ns", Some(1_002)),
            ("5", None),
            ("s", None),
            ("", None),
            ("-5s", None),
            ("5 s", None),
            ("5d", None),
            ("1..5s", None),
        ] {
            assert_eq!(duration(text), nanoseconds.map(Duration::from_nanos), "{text:?}");
        }
    }
}
