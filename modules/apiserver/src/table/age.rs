//! Times as people read them: `5m3s`, `3d4h`.

use jiff::Timestamp;
use serde_json::Value;

/// Writes a number of seconds as kubectl does.
pub(super) fn human(seconds: i64) -> String {
    let with = |large: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{small_unit}") }
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        i64::MIN..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => with(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => with(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => with(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => with(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

/// Reads a time from an object.
pub(super) fn parse(value: Option<&Value>) -> Option<Timestamp> {
    value.and_then(Value::as_str).and_then(|text| text.parse().ok())
}

/// Writes how long ago a time was; `<unknown>` without one.
pub(super) fn since(value: Option<&Value>, now: Timestamp) -> String {
    match parse(value) {
        Some(then) => human(now.as_second() - then.as_second()),
        None => "<unknown>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_kubectl_does() {
        fn check(seconds: i64, expected: &str) {
            assert_eq!(human(seconds), expected, "{seconds}");
        }
        check(-2, "<invalid>");
        check(-1, "0s");
        check(0, "0s");
        check(119, "119s");
        check(120, "2m");
        check(183, "3m3s");
        check(600, "10m");
        check(10_799, "179m");
        check(10_800, "3h");
        check(11_100, "3h5m");
        check(28_800, "8h");
        check(172_799, "47h");
        check(172_800, "2d");
        check(176_400, "2d1h");
        check(691_200, "8d");
        check(63_072_000, "2y");
        check(63_158_400, "2y1d");
        check(252_288_000, "8y");
    }
}
