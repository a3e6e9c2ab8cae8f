//! Changes and ends in, turns out.

use super::*;

const INTERVAL: Duration = Duration::from_secs(1);
const TOLD: Verdict = Verdict::Told { more: false };

fn id(n: usize) -> DeviceId {
    DeviceId::parse("ns", &format!("d{n:03}")).expect("a valid id")
}

fn start() -> (Reporter, Instant) {
    (Reporter::new(INTERVAL), Instant::now())
}

fn take_all(reporter: &mut Reporter, now: Instant) -> Vec<DeviceId> {
    std::iter::from_fn(|| reporter.take(now)).collect()
}

#[test]
fn a_device_is_reported_at_once_and_then_once_in_an_interval() {
    let (mut reporter, now) = start();
    assert_eq!(reporter.wake(), None);
    reporter.changed(&id(1), now);
    assert_eq!(take_all(&mut reporter, now), [id(1)]);
    for n in 0..100 {
        reporter.changed(&id(1), now + Duration::from_millis(n));
        assert_eq!(reporter.take(now + Duration::from_millis(n)), None, "one is under way");
    }
    reporter.finished(&id(1), TOLD, now + Duration::from_millis(100), 0);
    assert_eq!(reporter.take(now + Duration::from_millis(999)), None);
    assert_eq!(reporter.wake(), Some(now + INTERVAL));
    assert_eq!(take_all(&mut reporter, now + INTERVAL), [id(1)]);
    reporter.finished(&id(1), TOLD, now + INTERVAL, 0);
    assert_eq!((reporter.take(now + INTERVAL * 9), reporter.wake()), (None, None), "nothing changed since");
    reporter.changed(&id(1), now + INTERVAL * 9);
    assert_eq!(take_all(&mut reporter, now + INTERVAL * 9), [id(1)]);
}

#[test]
fn what_remains_is_reported_after_an_interval() {
    let (mut reporter, now) = start();
    reporter.changed(&id(1), now);
    take_all(&mut reporter, now);
    reporter.finished(&id(1), Verdict::Told { more: true }, now, 0);
    assert_eq!((reporter.take(now), reporter.wake()), (None, Some(now + INTERVAL)));
    assert_eq!(take_all(&mut reporter, now + INTERVAL), [id(1)]);
}

#[test]
fn devices_take_turns_and_few_are_under_way_at_once() {
    let (mut reporter, now) = start();
    for n in 0..AT_ONCE + 2 {
        reporter.changed(&id(n), now);
    }
    assert_eq!(take_all(&mut reporter, now).len(), AT_ONCE);
    assert_eq!(reporter.wake(), None, "the next one waits for an end");
    reporter.finished(&id(0), Verdict::Told { more: true }, now, 0);
    assert_eq!(take_all(&mut reporter, now), [id(AT_ONCE)]);
    reporter.finished(&id(1), TOLD, now + INTERVAL * 5, 0);
    reporter.finished(&id(2), TOLD, now + INTERVAL * 5, 0);
    assert_eq!(take_all(&mut reporter, now + INTERVAL * 5), [id(AT_ONCE + 1), id(0)]);
}

#[test]
fn failures_make_pauses_grow_and_a_link_ends_them() {
    let (mut reporter, mut now) = start();
    reporter.changed(&id(1), now);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        assert_eq!(take_all(&mut reporter, now), [id(1)]);
        reporter.finished(&id(1), Verdict::Failed, now, u32::MAX);
        let wake = reporter.wake().expect("it is tried again");
        assert_eq!(reporter.take(now), None);
        pauses.push((wake - now).as_secs());
        now = wake;
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]);
    take_all(&mut reporter, now);
    reporter.finished(&id(1), Verdict::Failed, now, 0);
    assert_eq!(reporter.wake(), Some(now + Duration::from_secs(150)), "the dice make it half");
    reporter.link_up(now);
    assert_eq!(reporter.wake(), Some(now + INTERVAL), "the interval is kept");
    assert_eq!(take_all(&mut reporter, now + INTERVAL), [id(1)]);
    reporter.finished(&id(1), TOLD, now + INTERVAL, 0);
    reporter.changed(&id(1), now + INTERVAL);
    take_all(&mut reporter, now + INTERVAL * 2);
    reporter.finished(&id(1), Verdict::Failed, now + INTERVAL * 2, u32::MAX);
    assert_eq!(reporter.wake(), Some(now + INTERVAL * 4), "a success makes the next pause short");
}

#[test]
fn without_a_link_one_pause_is_for_all_and_a_link_ends_it() {
    let (mut reporter, now) = start();
    for n in 0..AT_ONCE + 1 {
        reporter.changed(&id(n), now);
    }
    for device in take_all(&mut reporter, now) {
        reporter.finished(&device, Verdict::Offline, now, u32::MAX);
    }
    assert_eq!(reporter.wake(), Some(now + Duration::from_secs(2)));
    assert_eq!(reporter.take(now + INTERVAL), None);
    assert_eq!(
        take_all(&mut reporter, now + Duration::from_secs(2)).len(),
        AT_ONCE,
        "the pause ends by itself"
    );
    let later = now + Duration::from_secs(2);
    for n in 0..AT_ONCE + 1 {
        reporter.finished(&id(n), Verdict::Offline, later, u32::MAX);
    }
    assert_eq!(reporter.wake(), Some(later + Duration::from_secs(4)));
    reporter.link_up(later + INTERVAL);
    assert_eq!(take_all(&mut reporter, later + INTERVAL).len(), AT_ONCE);
}

#[test]
fn who_is_unwanted_waits_for_a_change_or_a_link() {
    let (mut reporter, now) = start();
    let end = |reporter: &mut Reporter, now| {
        assert_eq!(take_all(reporter, now), [id(1)]);
        reporter.finished(&id(1), Verdict::Unwanted, now, 0);
    };
    reporter.changed(&id(1), now);
    end(&mut reporter, now);
    assert_eq!((reporter.take(now + INTERVAL * 1000), reporter.wake()), (None, None));
    reporter.changed(&id(1), now + INTERVAL * 1000);
    end(&mut reporter, now + INTERVAL * 1000);
    reporter.link_up(now + INTERVAL * 2000);
    end(&mut reporter, now + INTERVAL * 2000);
    reporter.changed(&id(1), now + INTERVAL * 2000);
    assert_eq!(reporter.wake(), Some(now + INTERVAL * 2001));
    take_all(&mut reporter, now + INTERVAL * 2001);
    reporter.changed(&id(1), now + INTERVAL * 2001);
    reporter.finished(&id(1), Verdict::Unwanted, now + INTERVAL * 2001, 0);
    assert_eq!(reporter.wake(), Some(now + INTERVAL * 2002), "it changed meanwhile");
}

#[test]
fn who_is_gone_has_no_turn() {
    let (mut reporter, now) = start();
    for n in 0..3 {
        reporter.changed(&id(n), now);
    }
    assert_eq!(reporter.take(now), Some(id(0)));
    reporter.forget(&id(0));
    reporter.forget(&id(1));
    assert_eq!(take_all(&mut reporter, now), [id(2)]);
    reporter.finished(&id(0), Verdict::Failed, now, 0);
    reporter.finished(&id(2), Verdict::Failed, now, 0);
    reporter.forget(&id(2));
    assert_eq!((reporter.wake(), reporter.turns.len(), reporter.under_way), (None, 0, 0));
    reporter.changed(&id(0), now);
    reporter.take(now);
    reporter.forget(&id(0));
    reporter.changed(&id(0), now);
    assert_eq!(reporter.take(now), None, "the old report is under way");
    reporter.finished(&id(0), TOLD, now, 0);
    assert_eq!(reporter.wake(), Some(now + INTERVAL), "the new device has its turn");
}
