//! Times for people.

use std::time::{Duration, SystemTime};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Says how long something is, in one unit.
pub(crate) fn length(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        0..=119 => (seconds, "second"),
        120..=7_199 => (seconds / MINUTE, "minute"),
        7_200..=172_799 => (seconds / HOUR, "hour"),
        _ => (seconds / DAY, "day"),
    };
    if count == 1 { format!("{count} {unit}") } else { format!("{count} {unit}s") }
}

/// Writes a time to the minute.
pub(crate) fn date(time: SystemTime) -> String {
    match jiff::Timestamp::try_from(time) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => "a time out of range".to_owned(),
    }
}

/// Reads a time as HTTP writes it.
pub(crate) fn of_http(text: &str) -> Option<SystemTime> {
    jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp().into())
}

/// Returns how far two times are apart.
pub(crate) fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|earlier| earlier.duration())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn times_are_said_as_people_do() {
        for (seconds, expect) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (300, "5 minutes"),
            (86_400, "24 hours"),
            (30 * DAY, "30 days"),
        ] {
            assert_eq!(length(Duration::from_secs(seconds)), expect);
        }
        let at = UNIX_EPOCH + Duration::from_secs(1_300_819_380);
        assert_eq!(date(at), "2011-03-22 18:43 UTC");
        assert_eq!(of_http("Tue, 22 Mar 2011 18:43:00 GMT"), Some(at));
        assert_eq!(of_http("yesterday"), None);
    }
}
