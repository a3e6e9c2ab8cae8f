//! A few seeds of each scenario of the soak, and those that once found something.

use std::time::Duration;

use simtests::{Profile, Schedule, explore};

/// A profile that is small enough for every test run.
fn short(name: &str) -> Profile {
    let profile = Profile::named(name).expect("it is known");
    let duration = Duration::from_secs(90);
    Profile { edges: 2, works: 12, faults: 5, duration, ..profile }
}

#[test]
fn a_seed_of_each_scenario_holds() {
    for name in Profile::names() {
        let outcome = explore(&Schedule::generate(1, &short(name)));
        assert!(outcome.failure.is_none(), "scenario {name}: {outcome}");
        let checked = &outcome.summary.checked;
        for invariant in ["acknowledged-writes-are-kept", "nothing-is-left-behind", "statuses-are-true"] {
            assert!(
                checked.get(invariant).is_some_and(|count| *count > 0),
                "{name} never checks {invariant}"
            );
        }
        assert_eq!(outcome.summary.faults.is_empty(), name == "calm", "{name}");
    }
}
