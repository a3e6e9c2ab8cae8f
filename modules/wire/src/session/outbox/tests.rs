use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> OutboxLimits {
    OutboxLimits {
        keys_max: 3,
        bytes_max: 1000,
        window: 2,
        resend_after: SECOND * 5,
        resends_max: 4,
        retry: (SECOND, SECOND * 60),
    }
}

fn id(number: u32) -> MessageId {
    MessageId::new(&number.to_string())
}

fn sent(outbox: &mut Outbox<&'static str, u32>, now: Duration, number: u32) -> Option<(MessageId, u32)> {
    outbox.next(now, |_| true, || id(number)).map(|to_send| (to_send.id, to_send.value))
}

#[test]
fn the_newest_state_of_a_key_replaces_the_one_that_waits_in_its_place() {
    let mut outbox = Outbox::new(limits());
    outbox.push("a", 1, 10).expect("room");
    outbox.push("b", 2, 10).expect("room");
    outbox.push("a", 3, 10).expect("room");
    assert_eq!(sent(&mut outbox, Duration::ZERO, 1), Some((id(1), 3)));
    assert_eq!(sent(&mut outbox, Duration::ZERO, 2), Some((id(2), 2)));
    assert_eq!(sent(&mut outbox, Duration::ZERO, 3), None);
}

#[test]
fn a_full_outbox_refuses_new_keys_and_still_takes_newer_states() {
    let mut outbox = Outbox::new(limits());
    for key in ["a", "b", "c"] {
        outbox.push(key, 1, 10).expect("room");
    }
    assert_eq!(outbox.push("d", 1, 10), Err(Full));
    assert_eq!(outbox.push("a", 2, 10), Ok(()));
}

#[test]
fn bytes_are_bounded_but_for_a_single_value() {
    let mut outbox = Outbox::new(limits());
    outbox.push("a", 1, 5000).expect("a large object must travel too");
    assert_eq!(outbox.push("b", 1, 1), Err(Full));
    outbox.push("a", 2, 600).expect("it replaces the large one");
    outbox.push("b", 1, 400).expect("room");
    assert_eq!((outbox.push("b", 2, 401), outbox.bytes()), (Err(Full), 1000));
    assert_eq!(sent(&mut outbox, Duration::ZERO, 1), Some((id(1), 2)));
    assert_eq!(outbox.bytes(), 1000, "what is unacknowledged counts");
    assert!(outbox.acknowledge(&id(1)).is_some());
    assert_eq!(outbox.bytes(), 400);
}

#[test]
fn a_state_waits_for_the_acknowledgement_of_the_one_before() {
    let mut outbox = Outbox::new(limits());
    outbox.push("a", 1, 10).expect("room");
    assert_eq!(sent(&mut outbox, Duration::ZERO, 1), Some((id(1), 1)));
    outbox.push("a", 2, 10).expect("room");
    outbox.push("b", 3, 10).expect("room");
    assert_eq!(sent(&mut outbox, Duration::ZERO, 2), Some((id(2), 3)), "other keys go on");
    assert!(outbox.acknowledge(&id(1)).is_some());
    assert!(outbox.acknowledge(&id(1)).is_none(), "a second acknowledgement says nothing");
    assert_eq!(sent(&mut outbox, Duration::ZERO, 3), Some((id(3), 2)));
}

#[test]
fn an_unacknowledged_message_is_repeated_and_then_makes_way() {
    let mut outbox = Outbox::new(OutboxLimits { window: 1, ..limits() });
    outbox.push("a", 1, 10).expect("room");
    outbox.push("b", 2, 10).expect("room");
    assert_eq!(sent(&mut outbox, Duration::ZERO, 1), Some((id(1), 1)));
    for round in 1..=4 {
        assert_eq!(outbox.next_due(), Some(SECOND * 5 * round));
        assert_eq!(sent(&mut outbox, SECOND * 5 * round - Duration::from_millis(1), 9), None);
        assert_eq!(sent(&mut outbox, SECOND * 5 * round, 9), Some((id(1), 1)), "the same id");
    }
    assert_eq!(sent(&mut outbox, SECOND * 25, 2), Some((id(2), 2)), "the next key's turn");
    assert!(outbox.acknowledge(&id(2)).is_some());
    assert_eq!(sent(&mut outbox, SECOND * 25, 3), None, "the failed key pauses");
    assert_eq!(outbox.next_due(), Some(SECOND * 26));
    assert_eq!(sent(&mut outbox, SECOND * 26, 3), Some((id(3), 1)));
}

#[test]
fn a_refused_state_comes_back_after_growing_pauses_unless_a_newer_one_waits() {
    let mut outbox = Outbox::new(limits());
    outbox.push("a", 1, 10).expect("room");
    let mut now = Duration::ZERO;
    for (round, pause) in [1, 2, 4, 8].into_iter().enumerate() {
        let number = u32::try_from(round).expect("small");
        assert_eq!(sent(&mut outbox, now, number), Some((id(number), 1)));
        assert!(outbox.refuse(&id(number), now));
        assert_eq!(sent(&mut outbox, now, 99), None);
        now += SECOND * pause;
    }
    assert_eq!(sent(&mut outbox, now, 10), Some((id(10), 1)));
    outbox.push("a", 2, 10).expect("room");
    assert!(outbox.refuse(&id(10), now));
    assert_eq!(sent(&mut outbox, now + SECOND * 60, 11), Some((id(11), 2)));
}

#[derive(Debug, Clone)]
enum Step {
    Push(u8),
    Send,
    Acknowledge(usize),
    Refuse(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6_u8).prop_map(Step::Push),
        Just(Step::Send),
        (0..8_usize).prop_map(Step::Acknowledge),
        (0..8_usize).prop_map(Step::Refuse),
        (0..9_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens, the peer sees each key's states in order, nothing exceeds its bound, and
    /// once all is acknowledged the peer has the newest state of each key that was taken.
    #[test]
    fn states_arrive_in_order_and_the_newest_arrives(steps in proptest::collection::vec(step(), 0..120)) {
        let limits = limits();
        let mut outbox = Outbox::new(limits);
        let mut now = Duration::ZERO;
        let mut version = 0_u32;
        let mut ids = 0_u32;
        let mut newest = BTreeMap::new();
        let mut arrived: BTreeMap<u8, u32> = BTreeMap::new();
        let mut open: Vec<MessageId> = Vec::new();
        let drain = std::iter::repeat_n([Step::Wait(60), Step::Send, Step::Acknowledge(0)], 64).flatten();
        for step in steps.into_iter().chain(drain) {
            match step {
                Step::Push(key) => {
                    version += 1;
                    if outbox.push(key, (key, version), 10).is_ok() {
                        newest.insert(key, version);
                    }
                }
                Step::Send => {
                    ids += 1;
                    if let Some(ToSend { id, value: (key, version) }) = outbox.next(now, |_| true, || id(ids)) {
                        let before = arrived.insert(key, version);
                        prop_assert!(before.is_none_or(|before| before <= version));
                        if !open.contains(&id) {
                            open.push(id);
                        }
                    }
                }
                Step::Acknowledge(at) if at < open.len() => {
                    outbox.acknowledge(&open.remove(at));
                }
                Step::Refuse(at) if at < open.len() => {
                    outbox.refuse(&open.remove(at), now);
                }
                Step::Acknowledge(_) | Step::Refuse(_) => {}
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
            }
            prop_assert!(outbox.unacknowledged() <= limits.window);
            prop_assert!(outbox.waiting() <= limits.keys_max + limits.window);
            prop_assert_eq!(outbox.bytes(), 10 * (outbox.waiting() + outbox.unacknowledged()));
        }
        prop_assert_eq!(outbox.waiting() + outbox.unacknowledged() + outbox.bytes(), 0);
        prop_assert_eq!(arrived, newest);
    }
}
