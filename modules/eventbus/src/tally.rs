//! How often something happened, and when that is worth a line of the log.

use std::collections::BTreeMap;

/// Counts what happened, by kind. A kind is to be told the first time and then each time that its count
/// has doubled, so that a flood of messages is no flood of lines.
#[derive(Debug)]
pub struct Tally<K>(BTreeMap<K, u64>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Tally<K> {
    /// Has counted nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Counts one, and returns the count if it is to be told.
    pub fn count(&mut self, kind: K) -> Option<u64> {
        let count = self.0.entry(kind).or_default();
        *count += 1;
        count.is_power_of_two().then_some(*count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_of_a_kind_are_ten_lines() {
        let mut tally = Tally::new();
        let told: Vec<u64> = (0..1000).filter_map(|_| tally.count("a")).collect();
        assert_eq!(told, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
        assert_eq!(tally.count("b"), Some(1));
    }
}
