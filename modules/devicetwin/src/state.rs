//! The states of devices.

/// The states of a device, in any case.
pub(crate) const KNOWN: [&str; 5] = ["online", "ok", "offline", "unknown", "unhealthy"];

/// Returns when a device that reports `state` was last online; `None` for a state that is none.
///
/// Those that are not online were online at no time, as in KubeEdge. What KubeEdge's mappers call
/// `disconnected` is no state.
pub(crate) fn last_online(state: &str, at_ms: i64) -> Option<String> {
    let is = |known: &[&str]| known.iter().any(|known| state.eq_ignore_ascii_case(known));
    if is(&["online", "ok"]) {
        return Some(rfc3339(at_ms));
    }
    is(&KNOWN).then(String::new)
}

fn rfc3339(at_ms: i64) -> String {
    let seconds = at_ms.div_euclid(1000);
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn these_are_the_states() {
        let online = Some("2026-11-20T21:58:41Z".to_owned());
        for (state, expect) in [
            ("online", online.clone()),
            ("OK", online),
            ("offline", Some(String::new())),
            ("Unknown", Some(String::new())),
            ("unhealthy", Some(String::new())),
            ("disconnected", None),
            ("", None),
            ("online ", None),
        ] {
            assert_eq!(last_online(state, 1_795_211_921_668), expect, "{state:?}");
        }
        assert_eq!(last_online("ok", i64::MAX), Some(String::new()));
    }
}
