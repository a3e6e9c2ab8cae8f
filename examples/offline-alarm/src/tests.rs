//! The module alone, with a probe that plays all others and a clock that the test moves.

use beehive::probe::run;
use beehive::{ModuleState, Probe};
use serde_json::json;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn section(body: &serde_json::Value) -> Result<AlarmConfig, String> {
    beehive::section::parse(body, "modules.offlineAlarm").map_err(|problems| problems.to_string())
}

#[test]
fn the_alarm_is_told_once_per_outage_and_not_while_the_link_is_up() {
    run(async {
        let config = section(&json!({})).expect("valid");
        let alarm = Probe::<OfflineAlarm>::new(config, ()).start().await;
        alarm.advance(4 * MINUTE).await;
        alarm.send(LinkUp).await;
        alarm.advance(60 * MINUTE).await;
        assert_eq!(alarm.published::<OfflineTooLong>(), [], "the link is up");
        alarm.send(LinkDown).await;
        alarm.advance(4 * MINUTE).await;
        alarm.send(LinkDown).await;
        assert_eq!(alarm.published::<OfflineTooLong>(), [], "it is not time yet");
        alarm.advance(MINUTE).await;
        assert_eq!(alarm.published::<OfflineTooLong>(), [OfflineTooLong { after: 5 * MINUTE }]);
        alarm.advance(60 * MINUTE).await;
        assert_eq!(alarm.published::<OfflineTooLong>(), [], "it was told already");
        assert_eq!(alarm.stop().await.overran, []);
    });
}

#[test]
fn a_crash_is_caught_and_a_fresh_alarm_begins() {
    run(async {
        let config = section(&json!({"after": "1m", "crash": true})).expect("valid");
        let alarm = Probe::<OfflineAlarm>::new(config, ()).start().await;
        alarm.advance(MINUTE).await;
        assert_eq!(alarm.health().state, ModuleState::Restarting);
        let failure = alarm.health().last_failure.expect("it has failed");
        assert_eq!(failure, "Due: panicked: the section asks for a crash");
        alarm.advance(MINUTE / 2).await;
        assert_eq!((alarm.health().state, alarm.metrics().restarts), (ModuleState::Running, 1));
    });
}

#[test]
fn the_section_is_checked() {
    assert_eq!(section(&json!({"after": "90s"})).map(|config| config.after), Ok(MINUTE * 3 / 2));
    let unknown = section(&json!({"aftre": "90s"})).expect_err("a typo");
    assert!(
        unknown.contains("modules.offlineAlarm.aftre") && unknown.contains("did you mean after?"),
        "{unknown}"
    );
    let zero = section(&json!({"after": "0s"})).expect_err("no time");
    assert!(zero.contains("modules.offlineAlarm.after") && zero.contains("longer than zero"), "{zero}");
}
