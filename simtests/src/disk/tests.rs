//! The simulated disk keeps the promises of every store, and its faults do what they say.

use super::*;

/// Runs a future on a clock that is paused.
fn paused<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime"), future)
}

fn disk(seed: u64) -> Disk {
    Disk::new(&"disk".into(), &World::new(seed))
}

#[test]
fn the_simulated_disk_conforms() {
    paused(async {
        let disk = disk(1);
        store::conformance::run(move || {
            disk.crash();
            disk.open().store()
        })
        .await;
    });
}

#[test]
fn the_simulated_disk_is_opened_anew_when_it_takes_writes_again() {
    for seed in 0..16 {
        paused(async {
            let disk = disk(seed);
            let open = || {
                disk.crash();
                disk.open()
            };
            store::conformance::run_failing(open, || disk.set_full(true), || disk.heal()).await;
        });
    }
}

#[test]
fn unsynced_writes_survive_a_crash_as_a_prefix_or_not_at_all() {
    let mut kept = BTreeMap::new();
    for seed in 0..64 {
        paused(async {
            let disk = disk(seed);
            let store = disk.open().store();
            store.commit(Batch::new().put("t", "synced", "1")).await.expect("a sound disk");
            for key in ["a", "b", "c"] {
                drop(store.commit(Batch::new().put("t", key, "2").put("t", format!("{key}-too"), "3")));
            }
            disk.crash();
            assert!(matches!(store.get("t", b"synced"), Err(StoreError::Closed)), "an old process is gone");
            let entries = disk.open().store().scan("t", b"", None, 99).expect("it reads");
            let keys: Vec<String> =
                entries.into_iter().map(|(key, _)| String::from_utf8_lossy(&key).into_owned()).collect();
            let all = ["a", "a-too", "b", "b-too", "c", "c-too"];
            assert_eq!(keys.last().map(String::as_str), Some("synced"));
            assert_eq!(keys[..keys.len() - 1], all[..keys.len() - 1]);
            assert_eq!(keys.len() % 2, 1, "a batch is whole or not there: {keys:?}");
            *kept.entry(keys.len()).or_insert(0) += 1;
        });
    }
    assert_eq!(kept.keys().copied().collect::<Vec<_>>(), [1, 3, 5, 7], "every outcome is explored");
}

#[test]
fn the_chosen_write_is_the_last_of_its_opening() {
    for (fault, is_seen) in [(DiskFault::Refused, false), (DiskFault::NotDurable, true)] {
        let mut found = std::collections::BTreeSet::new();
        for seed in 0..16 {
            paused(async {
                let disk = disk(seed);
                let medium = disk.open();
                let store = medium.store();
                disk.fail_write(1, fault);
                let mut outcomes = Vec::new();
                for key in ["a", "b", "c"] {
                    outcomes.push(store.commit(Batch::new().put("t", key, "")).await.is_ok());
                }
                assert_eq!(outcomes, [true, false, false]);
                let has = |store: &SharedStore, key: &str| {
                    store.get("t", key.as_bytes()).expect("it reads").is_some()
                };
                assert_eq!([has(&store, "b"), has(&store, "c")], [is_seen, false]);
                store.over().await;
                let store = medium.store();
                assert_eq!([has(&store, "a"), has(&store, "c")], [true, false]);
                found.insert(has(&store, "b"));
                store.commit(Batch::new().put("t", "d", "")).await.expect("the disk takes it");
            });
        }
        let expected = if is_seen { vec![false, true] } else { vec![false] };
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected, "every outcome is explored");
    }
}

#[test]
fn a_damaged_record_is_named_until_it_is_written_again() {
    paused(async {
        let disk = disk(1);
        let store = disk.open().store();
        assert!(!disk.damage("t"), "there is nothing to damage");
        store.commit(Batch::new().put("t", "a", "1")).await.expect("a sound disk");
        assert!(disk.damage("t"));
        assert!(matches!(store.get("t", b"a"), Err(StoreError::Corrupt { .. })));
        let survey = store.survey("t", b"", None, 9).expect("the disk itself is sound");
        assert_eq!((survey.entries.len(), survey.corrupt.len()), (0, 1));
        store.commit(Batch::new().put("t", "a", "2")).await.expect("a sound disk");
        assert_eq!(store.get("t", b"a").expect("it was written again"), Some(Bytes::from("2")));
    });
}
