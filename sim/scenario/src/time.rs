//! Simulated time: one signed type for moments since the start of a run and for lengths of time.
//!
//! Written as a number and a unit: `250us`, `1.5s`, `-20ms`. Printed back in the largest unit that is exact, so that
//! reading a printed value gives the same value.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

const UNITS: &[(&str, i64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds: a length of time, or a moment since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub i64);

impl Nanos {
    /// No time, or the start of the run.
    pub const ZERO: Nanos = Nanos(0);
    /// Later than every moment of every run.
    pub const MAX: Nanos = Nanos(i64::MAX);

    /// A number of milliseconds.
    pub const fn from_millis(millis: i64) -> Nanos {
        Nanos(millis * 1_000_000)
    }

    /// A number of seconds.
    pub const fn from_secs(secs: i64) -> Nanos {
        Nanos(secs * 1_000_000_000)
    }

    /// Reads `10ms`, `1.5s`, `-2us`; the error says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Nanos, String> {
        let bad =
            || format!("bad duration \"{text}\": write a number and a unit, such as \"250us\", \"10ms\" or \"2s\"");
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let unit_at = digits.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, unit) = digits.split_at(unit_at);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || fraction.contains('.') || fraction.len() > 9 {
            return Err(bad());
        }
        let whole: i128 = whole.parse().map_err(|_| bad())?;
        let divisor = 10i128.pow(u32::try_from(fraction.len()).expect("at most nine digits"));
        let fraction: i128 = fraction.parse().map_err(|_| bad())?;
        let total = whole.checked_mul(i128::from(*scale)).ok_or_else(bad)? + fraction * i128::from(*scale) / divisor;
        i64::try_from(total).map(|nanos| Nanos(sign * nanos)).map_err(|_| bad())
    }

    /// The same length as the standard library's type; a negative length becomes zero.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// Seconds, with a fraction.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The length times a number, clamped to what fits.
    #[must_use]
    pub fn times(self, factor: f64) -> Nanos {
        Nanos((self.0 as f64 * factor).round() as i64)
    }
}

impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Nanos {
        Nanos(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl Add for Nanos {
    type Output = Nanos;
    fn add(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(other.0))
    }
}

impl Sub for Nanos {
    type Output = Nanos;
    fn sub(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)]
            .into_iter()
            .find(|(_, scale)| self.0 % scale == 0)
            .expect("everything is a whole number of nanoseconds");
        write!(f, "{}{unit}", self.0 / scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_exactly() {
        for (text, nanos, printed) in [
            ("10ms", 10_000_000, "10ms"),
            ("1.5s", 1_500_000_000, "1500ms"),
            ("-20us", -20_000, "-20us"),
            ("2m", 120_000_000_000, "120s"),
            ("0s", 0, "0s"),
            ("0.000000001s", 1, "1ns"),
        ] {
            let parsed = Nanos::parse(text).expect(text);
            assert_eq!(parsed, Nanos(nanos), "{text}");
            assert_eq!(parsed.to_string(), printed);
            assert_eq!(Nanos::parse(printed), Ok(parsed));
        }
    }

    #[test]
    fn nonsense_is_not_a_duration() {
        for text in ["", "5", "s", "5 s", "5sec", "1..5s", ".5s", "1.s", "--1s", "99999999999999h"] {
            assert!(Nanos::parse(text).is_err(), "{text}");
        }
    }
}
