//! Averages, percentiles, and how sure a share is.

use crate::registry::Function;
use crate::time::Nanos;
use crate::value::Value;
use std::cmp::Ordering;

/// Gathers values into one. A missing value (an event that never came) counts as worse than every other: it sorts
/// last in percentiles and in `max`, and an average or total with it is missing too.
pub fn gather(function: Function, items: &[Value]) -> Value {
    let mut sorted: Vec<&Value> = items.iter().collect();
    sorted.sort_by(|a, b| match (a, b) {
        (Value::Missing, Value::Missing) => Ordering::Equal,
        (Value::Missing, _) => Ordering::Greater,
        (_, Value::Missing) => Ordering::Less,
        (a, b) => a.order(b).unwrap_or(Ordering::Equal),
    });
    let Some((first, last)) = sorted.first().zip(sorted.last()) else { return Value::Missing };
    match function {
        Function::Min => (*first).clone(),
        Function::Max => (*last).clone(),
        Function::P50 => percentile(&sorted, 0.50),
        Function::P99 => percentile(&sorted, 0.99),
        Function::Sum => total(items),
        Function::Mean => match total(items) {
            Value::Number(sum) => Value::Number(sum / items.len() as f64),
            Value::Duration(sum) => Value::Duration(sum.times(1.0 / items.len() as f64)),
            _ => Value::Missing,
        },
        Function::All | Function::Any | Function::Monotone | Function::Count | Function::TimeTo => Value::Missing,
    }
}

/// The nearest rank: the smallest value that at least this share of the values does not exceed.
fn percentile(sorted: &[&Value], share: f64) -> Value {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1].clone()
}

fn total(items: &[Value]) -> Value {
    let zero = match items.first() {
        Some(Value::Duration(_)) => Value::Duration(Nanos::ZERO),
        _ => Value::Number(0.0),
    };
    items.iter().fold(zero, |sum, item| match (sum, item) {
        (Value::Number(a), Value::Number(b)) => Value::Number(a + b),
        (Value::Duration(a), Value::Duration(b)) => Value::Duration(a + *b),
        _ => Value::Missing,
    })
}

/// A share of runs with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proportion {
    /// Runs in which it was so.
    pub hits: u64,
    /// All runs.
    pub runs: u64,
}

impl Proportion {
    /// The share seen; 0 without runs.
    pub fn share(self) -> f64 {
        if self.runs == 0 { 0.0 } else { self.hits as f64 / self.runs as f64 }
    }

    /// The exact (Clopper-Pearson) interval that holds the true share with 95 % confidence.
    pub fn interval(self) -> (f64, f64) {
        const TAIL: f64 = 0.025;
        let low = if self.hits == 0 { 0.0 } else { bisect(|p| 1.0 - self.at_most(self.hits - 1, p) < TAIL) };
        let high = if self.hits == self.runs { 1.0 } else { bisect(|p| self.at_most(self.hits, p) > TAIL) };
        (low, high)
    }

    /// The probability of at most `hits` hits when the true share is `p`.
    fn at_most(self, hits: u64, p: f64) -> f64 {
        if p <= 0.0 {
            return 1.0;
        }
        if p >= 1.0 {
            return if hits >= self.runs { 1.0 } else { 0.0 };
        }
        // log of n choose k, stepped up from k = 0.
        let mut log_choose = 0.0;
        let mut sum = 0.0;
        for k in 0..=hits {
            sum += (log_choose + k as f64 * p.ln() + (self.runs - k) as f64 * (1.0 - p).ln()).exp();
            log_choose += ((self.runs - k) as f64).ln() - ((k + 1) as f64).ln();
        }
        sum.min(1.0)
    }
}

/// The point in 0..1 up to which `below` holds.
fn bisect(below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_match_published_tables() {
        for (hits, runs, low, high) in
            [(0, 10, 0.0, 0.3085), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1.0), (190, 200, 0.9100, 0.9758)]
        {
            let (l, h) = Proportion { hits, runs }.interval();
            assert!((l - low).abs() < 1e-3, "{hits}/{runs}: {l} is not {low}");
            assert!((h - high).abs() < 1e-3, "{hits}/{runs}: {h} is not {high}");
        }
    }

    #[test]
    fn a_missing_value_is_the_worst_value() {
        let items = [Value::Number(3.0), Value::Missing, Value::Number(1.0)];
        assert_eq!(gather(Function::P50, &items), Value::Number(3.0));
        assert_eq!(gather(Function::Min, &items), Value::Number(1.0));
        assert_eq!(gather(Function::Max, &items), Value::Missing);
        assert_eq!(gather(Function::Mean, &items), Value::Missing);
        assert_eq!(gather(Function::Mean, &[]), Value::Missing);
    }
}
