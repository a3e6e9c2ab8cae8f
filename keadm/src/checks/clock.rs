//! Whether two clocks agree. Certificates and tokens begin and end by them.

use std::time::{Duration, SystemTime};

use super::time::{apart, date, length};
use crate::finding::Finding;

const CHECK: &str = "clock";
/// Beyond this a lease or a log line confuses people.
const WARN_FROM: Duration = Duration::from_secs(30);
/// Beyond this a certificate that was just made may not be valid yet.
const FAIL_FROM: Duration = Duration::from_secs(600);

/// Compares this machine's clock with that of `whom`.
pub(crate) fn compare(here: SystemTime, there: SystemTime, whom: &str) -> Finding {
    let skew = apart(here, there);
    let direction = if here > there { "ahead of" } else { "behind" };
    let seen = format!("this machine says {}, {} {direction} {whom}", date(here), length(skew),);
    let todo =
        "set the clock: timedatectl set-ntp true, or date -s; certificates and tokens begin and end by it";
    if skew >= FAIL_FROM {
        Finding::failed(CHECK, seen, todo)
    } else if skew >= WARN_FROM {
        Finding::warning(CHECK, seen, todo)
    } else {
        Finding::ok(CHECK, format!("agrees with {whom}, {}", date(here)))
    }
}
