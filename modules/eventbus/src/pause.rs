//! How long to wait before something is tried again.

use std::time::Duration;

/// The first pause, and the longest one, which is upstream's between two connections.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(5);

/// Returns the pause after so many attempts: it doubles up to the longest one, and `roll`, uniform over
/// its range, takes up to half of it away.
pub(crate) fn pause(attempt: u32, roll: u32) -> Duration {
    let whole = FIRST.saturating_mul(1 << attempt.min(8)).min(LONGEST);
    whole - (whole / 2).mul_f64(f64::from(roll) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_lose_up_to_half() {
        let whole: Vec<u128> = (0..6).map(|attempt| pause(attempt, 0).as_millis()).collect();
        assert_eq!(whole, [500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(pause(u32::MAX, u32::MAX), LONGEST / 2);
    }
}
