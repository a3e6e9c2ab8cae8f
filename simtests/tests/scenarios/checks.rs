//! Checks notice what they are for: on a disk that lies, promises are broken.

use std::time::Duration;

use simtests::{Action, DiskFault, Failure, Fault, Invariant, Profile, Schedule, Step, Work, carry_out, run};

/// Carries out groups of actions, ten seconds apart, on a small cluster.
fn carried_out(groups: &[Vec<Action>]) -> Option<Failure> {
    let mut profile = Profile::named("all").expect("it is known");
    (profile.edges, profile.configs) = (1, 1);
    profile.duration = Duration::ZERO;
    let mut steps = Vec::new();
    for group in groups {
        profile.duration += Duration::from_secs(10);
        steps.extend(group.iter().map(|action| Step { at: profile.duration, action: action.clone() }));
    }
    profile.duration += Duration::from_secs(10);
    let schedule = Schedule { seed: 1, profile, steps };
    run(schedule.seed, |sim| carry_out(sim, &schedule)).failure
}

/// Makes a disk forget its next writes.
fn forget(name: &str) -> Vec<Action> {
    let fault = |after| Fault::FailWrite(name.to_owned(), after, DiskFault::Forgotten);
    (0..200).map(|after| Action::Fault(fault(after))).collect()
}

/// Does something, on a disk as it is or on one that forgets, and lets the process crash after that.
fn crashed_after(action: Action, name: &str, forgetting: Vec<Action>) -> Option<Failure> {
    let crash = Action::Fault(Fault::Crash(name.to_owned()));
    let restart = Action::Fault(Fault::Restart(name.to_owned()));
    carried_out(&[forgetting, vec![action], vec![crash], vec![restart]])
}

fn broken(failure: Option<Failure>) -> Option<Invariant> {
    match failure {
        Some(Failure::Correctness(violation)) => Some(violation.invariant),
        _ => None,
    }
}

#[test]
fn a_write_that_the_cloud_s_disk_forgets_is_missed() {
    let change = Action::Work(Work::ChangeConfigMap { number: 0 });
    let forgotten = crashed_after(change.clone(), "cloud", forget("cloud"));
    assert_eq!(broken(forgotten), Some(Invariant::AcknowledgedWritesAreKept));
    assert_eq!(crashed_after(change, "cloud", Vec::new()), None);
}

#[test]
fn a_change_that_an_edge_s_disk_forgets_is_missed_when_it_says_what_it_holds() {
    let make = Action::Work(Work::CreatePod { number: 1, edge: "edge-01".to_owned(), config: 0 });
    let forgotten = crashed_after(make.clone(), "edge-01", forget("edge-01"));
    assert_eq!(broken(forgotten), Some(Invariant::AcknowledgedChangesAreHeld));
    assert_eq!(crashed_after(make, "edge-01", Vec::new()), None);
}

#[test]
fn what_does_not_come_right_in_time_is_named() {
    let mut profile = Profile::named("runtimes").expect("it is known");
    (profile.edges, profile.configs) = (1, 1);
    (profile.duration, profile.patience) = (Duration::from_secs(240), Duration::ZERO);
    let make = Action::Work(Work::CreatePod { number: 1, edge: "edge-01".to_owned(), config: 0 });
    let crash = |at| (at, Action::Fault(Fault::CrashContainer("edge-01".to_owned())));
    // Containers that end again and again wait longer and longer before they are started again.
    let crashes = (20..240).step_by(2).map(crash);
    let actions = std::iter::once((0, make)).chain(crashes);
    let steps = actions.map(|(at, action)| Step { at: Duration::from_secs(at), action }).collect();
    let schedule = Schedule { seed: 1, profile, steps };
    let failure = run(1, |sim| carry_out(sim, &schedule)).failure;
    let Some(Failure::Liveness { what, .. }) = failure else { panic!("{failure:?}") };
    assert!(what.contains("pod pod-1 on edge-01"), "it says what is not right: {what}");
}
