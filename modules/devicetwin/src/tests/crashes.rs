//! A disk that fails, records that are damaged, and crashes at each write.

use super::*;
use crate::layout::{device_key, twin_key};

/// Does what a node does in a day, and stops at the first call that fails. Returns the last value that
/// was acknowledged and the one that was tried last.
async fn day(probe: &Probe<DeviceTwin>) -> (Value, Value) {
    let (mut acknowledged, mut tried) = (Value::Null, Value::Null);
    for n in 0..6 {
        tried = json!(n.to_string());
        if set(probe, "t1", &n.to_string()).await.is_err() {
            break;
        }
        acknowledged = tried.clone();
        probe.advance(Duration::from_secs(2)).await;
    }
    (acknowledged, tried)
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_crash_at_any_write_loses_nothing_that_was_acknowledged() {
    for fault in [Fault::Refused, Fault::NotDurable, Fault::Unsaid] {
        for number in 0..12 {
            let (store, world) = (MemoryStore::new(), with(&["t1"]));
            let mut found = store.clone();
            store.fail_commits(number..number + 1, fault);
            let probe = world.start(&store, online).await;
            let (acknowledged, tried) = day(&probe).await;
            let known = reports(&probe).last().map(|(_, value)| json!(value));
            probe.stop().await;
            found = found.crash();
            let probe = world.start(&found, online).await;
            let now = value(&probe, "t1").await;
            assert!(now == acknowledged || now == tried, "{fault:?} {number}: {now} after {acknowledged}");
            probe.advance(Duration::from_secs(10)).await;
            let known = reports(&probe).last().map(|(_, value)| json!(value)).or(known);
            assert_eq!(known.unwrap_or_default(), now, "{fault:?} {number}: the cloud knows the newest");
            probe.stop().await;
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_disk_that_fails_is_told_and_nothing_unkept_is_shown_or_reported() {
    for (fault, found) in [(Fault::Refused, "1"), (Fault::NotDurable, "1"), (Fault::Unsaid, "2")] {
        let (store, world) = (MemoryStore::new(), with(&["t1"]));
        let probe = world.start(&store, online).await;
        assert_eq!(set(&probe, "t1", "1").await, Ok(()));
        probe.advance(Duration::from_secs(5)).await;
        assert_eq!(reports(&probe), [pair("t1", "1")]);
        told(&probe);
        assert_eq!(probe.published::<TwinReported>().len(), 1);
        store.break_down(fault);
        for _ in 0..2 {
            assert!(set(&probe, "t1", "2").await.is_err(), "{fault:?}");
            let [(topic, answer)] = told(&probe).try_into().expect("one answer");
            assert_eq!(topic, LocalTopic::TwinResult(Some(id("t1"))));
            assert_eq!((&answer["event_id"], &answer["code"]), (&json!("e"), &json!(500)));
        }
        probe.advance(Duration::from_secs(5)).await;
        assert_eq!((reports(&probe), probe.published::<TwinReported>()), (vec![], vec![]), "{fault:?}");
        if fault == Fault::Refused {
            assert_eq!(value(&probe, "t1").await, "1", "what is there is read");
        }
        let wish = DesireTwin { device: id("t1"), property: "fan".to_owned(), value: "on".to_owned() };
        let wished = probe.ask(wish).await.expect("an answer");
        assert!(matches!(wished, Err(TwinError::Store(_))), "{wished:?}");
        store.mend();
        probe.settle().await;
        assert_eq!(value(&probe, "t1").await, found, "{fault:?}");
        probe.advance(Duration::from_secs(5)).await;
        let news = if found == "2" { vec![pair("t1", "2")] } else { vec![] };
        assert_eq!(reports(&probe), news, "{fault:?}");
        assert_eq!(set(&probe, "t1", "3").await, Ok(()), "{fault:?}");
        assert_eq!(value(&probe, "t1").await, "3");
        probe.stop().await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn devices_that_came_while_the_disk_failed_are_found_when_it_is_well() {
    let (store, world) = (MemoryStore::new(), with(&["t1"]));
    let probe = world.start(&store, online).await;
    moves(&probe);
    store.break_down(Fault::Refused);
    for name in ["t2", "t3"] {
        world.devices.borrow_mut().insert(id(name), object(name, "u1"));
        probe.send(change(ChangeKind::Insert, name, "u1")).await;
    }
    world.devices.borrow_mut().remove(&id("t1"));
    probe.send(change(ChangeKind::Delete, "t1", "u1")).await;
    assert_eq!(moves(&probe), [""; 0], "nobody is told of what is not kept");
    store.mend();
    probe.settle().await;
    assert_eq!(moves(&probe), ["+t2", "+t3", "-t1"]);
    assert_eq!(members(&probe).await, ["t2", "t3"]);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_damaged_record_costs_what_it_holds_and_nothing_else() {
    let (store, world) = (MemoryStore::new(), with(&["t1", "t2", "t3"]));
    let probe = world.start(&store, online).await;
    for device in ["t1", "t2", "t3"] {
        assert_eq!(set(&probe, device, "1").await, Ok(()));
    }
    probe.advance(Duration::from_secs(5)).await;
    probe.stop().await;
    let store = store.crash();
    store.corrupt(TWINS, &twin_key(&id("t1"), "x"));
    store.corrupt(DEVICES, &device_key(&id("t2")));
    let junk = Batch::new().put(TWINS, "junk", "junk").put(DEVICES, device_key(&id("t3")), "\u{2}{}");
    store.commit(junk).await.expect("it is in memory");
    let probe = world.start(&store, online).await;
    assert_eq!(moves(&probe), ["+t3"; 0], "they are there all the same");
    assert_eq!(get(&probe, "t1").await, json!({}));
    assert_eq!(value(&probe, "t2").await, "1");
    assert_eq!(value(&probe, "t3").await, "1");
    assert_eq!(set(&probe, "t1", "2").await, Ok(()), "it is written anew");
    probe.stop().await;
    let probe = world.start(&store.crash(), online).await;
    assert_eq!(value(&probe, "t1").await, "2");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_store_that_lost_everything_begins_anew() {
    let (store, world) = (MemoryStore::new(), with(&["t1"]));
    let probe = world.start(&store, online).await;
    assert_eq!(set(&probe, "t1", "1").await, Ok(()));
    moves(&probe);
    store.lose_all();
    probe.settle().await;
    assert_eq!(moves(&probe), ["+t1"]);
    assert_eq!(get(&probe, "t1").await, json!({}));
    assert_eq!(set(&probe, "t1", "2").await, Ok(()));
    probe.stop().await;
}
