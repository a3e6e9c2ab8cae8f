//! Devices that report while things go wrong.

use std::time::Duration;

use simtests::{Sim, telemetry};

#[test]
fn what_devices_reported_is_shown_in_the_end_whatever_went_wrong() {
    let seed = 1;
    simtests::check(seed, |sim: &mut Sim| {
        let found = telemetry(sim, seed, (3, 20), Duration::from_secs(300))?;
        assert!(found.reports > 3000, "{found:?}");
        Ok(())
    });
}
