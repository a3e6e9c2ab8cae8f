//! Times as the Kubernetes API writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Formats a time with whole seconds, as `metav1.Time` is written: `2026-01-02T03:04:05Z`.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    format(time, 0)
}

/// Formats a time with microseconds, as `metav1.MicroTime` is written.
#[must_use]
pub fn rfc3339_micro(time: SystemTime) -> String {
    format(time, 6)
}

/// Formats a time with nanoseconds, as runtimes write them in logs.
#[must_use]
pub fn rfc3339_nano(time: SystemTime) -> String {
    format(time, 9)
}

fn format(time: SystemTime, digits: u8) -> String {
    let stamp = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{stamp:.*}", usize::from(digits))
}

/// Parses an RFC 3339 time.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    text.parse::<Timestamp>().ok().map(SystemTime::from)
}

/// Returns how much later `later` is, or zero if it is not.
#[must_use]
pub fn since(later: SystemTime, earlier: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or(Duration::ZERO)
}

/// Returns the nanoseconds since 1970.
#[must_use]
pub fn unix_nanos(time: SystemTime) -> u128 {
    since(time, UNIX_EPOCH).as_nanos()
}

/// Formats a duration as Go does for whole seconds: `10s`, `1m20s`, `5m0s`.
#[must_use]
pub fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_api_writes_them() {
        let time = UNIX_EPOCH + Duration::new(1_795_211_442, 899_662_001);
        assert_eq!(rfc3339(time), "2026-11-20T21:50:42Z");
        assert_eq!(rfc3339_micro(time), "2026-11-20T21:50:42.899662Z");
        assert_eq!(rfc3339_micro(UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
        assert_eq!(
            parse_rfc3339("2026-11-20T21:50:42Z"),
            Some(UNIX_EPOCH + Duration::from_secs(1_795_211_442))
        );
        assert_eq!(parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (seconds, expect) in [(10, "10s"), (80, "1m20s"), (300, "5m0s"), (3661, "1h1m1s")] {
            assert_eq!(go_duration(Duration::from_secs(seconds)), expect);
        }
    }
}
