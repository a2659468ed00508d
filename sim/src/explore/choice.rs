//! Draws with the distributions of exploration, each under its own label.

use evenkeel_scenario::Decisions;

/// The choices of one generated scenario. Labels begin with `explore/`, so that they meet none of the run's own.
#[derive(Debug)]
pub struct Choices(Decisions);

impl Choices {
    /// The choices of a seed. Different `stream`s of one seed are independent.
    pub fn new(seed: u64, stream: &str) -> Choices {
        let mut decisions = Decisions::new(seed);
        let derived = decisions.draw(&format!("explore/{stream}"));
        Choices(Decisions::new(derived))
    }

    /// A whole number between both ends, ends included.
    pub fn range(&mut self, label: &str, low: u64, high: u64) -> u64 {
        self.0.range(label, low, high)
    }

    /// True with this probability.
    pub fn chance(&mut self, label: &str, share: f64) -> bool {
        self.0.chance(label, share)
    }

    /// One of `items`, all equally likely.
    pub fn pick<T: Copy>(&mut self, label: &str, items: &[T]) -> T {
        *self.0.pick(label, items)
    }

    /// One of `items`, each as likely as its weight says.
    pub fn weighted<T: Copy>(&mut self, label: &str, items: &[(T, f64)]) -> T {
        let total: f64 = items.iter().map(|(_, weight)| weight).sum();
        let mut left = self.unit(label) * total;
        for (item, weight) in items {
            left -= weight;
            if left < 0.0 {
                return *item;
            }
        }
        items.last().expect("something to choose from").0
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self, label: &str) -> f64 {
        evenkeel_scenario::decision::unit(self.0.draw(label))
    }

    /// A number between both ends, whose logarithm is evenly spread: small ones are as likely as large ones.
    pub fn log(&mut self, label: &str, low: f64, high: f64) -> f64 {
        assert!(0.0 < low && low <= high, "{label}: a logarithmic range from {low} to {high}");
        low * (high / low).powf(self.unit(label))
    }

    /// As [`Choices::log`], in whole numbers.
    pub fn log_whole(&mut self, label: &str, low: u64, high: u64) -> u64 {
        (self.log(label, low as f64, high as f64 + 0.999) as u64).clamp(low, high)
    }
}

/// Milliseconds as TOML.
pub fn ms(millis: f64) -> String {
    format!("\"{}ms\"", millis.round().max(1.0))
}

/// A range of milliseconds as TOML.
pub fn ms_range(low: f64, high: f64) -> String {
    let (low, high) = (low.round().max(1.0), high.round().max(1.0));
    if low < high { format!("\"{low}ms..{high}ms\"") } else { ms(low) }
}

/// A share as TOML, with three digits at most.
pub fn share(value: f64) -> String {
    format!("{:?}", (value * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_are_as_likely_as_large_ones() {
        let mut choices = Choices::new(1, "test");
        let drawn: Vec<u64> = (0..4000).map(|_| choices.log_whole("n", 1, 64)).collect();
        let small = drawn.iter().filter(|n| **n < 8).count();
        assert!((1800..2300).contains(&small), "{small} of 4000 are below 8");
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&1), Some(&64)));
    }

    #[test]
    fn weights_decide() {
        let mut choices = Choices::new(1, "test");
        let ones = (0..1000).filter(|_| choices.weighted("w", &[(1, 3.0), (2, 1.0), (3, 0.0)]) == 1).count();
        assert!((700..800).contains(&ones), "{ones}");
        assert!((0..1000).all(|_| choices.weighted("w", &[(1, 3.0), (3, 0.0)]) == 1));
    }

    #[test]
    fn what_is_written_is_toml() {
        assert_eq!(
            (ms(0.2), ms_range(3.0, 20.4), ms_range(5.0, 5.2)),
            ("\"1ms\"".into(), "\"3ms..20ms\"".into(), "\"5ms\"".into())
        );
        assert_eq!((share(0.12345), share(1.0)), ("0.123".into(), "1.0".into()));
    }
}
