//! The simulated disk keeps the promises of every store, and its faults do what they say.

use super::*;

/// Runs a future on a clock that is paused.
fn paused<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
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
            disk.open()
        })
        .await;
    });
}

#[test]
fn unsynced_writes_survive_a_crash_as_a_prefix_or_not_at_all() {
    let mut kept = BTreeMap::new();
    for seed in 0..64 {
        paused(async {
            let disk = disk(seed);
            let store = disk.open();
            store.commit(Batch::new().put("t", "synced", "1")).await.expect("a sound disk");
            for key in ["a", "b", "c"] {
                drop(store.commit(Batch::new().put("t", key, "2").put("t", format!("{key}-too"), "3")));
            }
            disk.crash();
            assert!(matches!(store.get("t", b"synced"), Err(StoreError::Closed)), "an old process is gone");
            let entries = disk.open().scan("t", b"", None, 99).expect("it reads");
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
fn the_chosen_write_fails_and_a_full_disk_refuses_all() {
    paused(async {
        let disk = disk(1);
        let store = disk.open();
        disk.fail_write(1, DiskFault::Refused);
        disk.fail_write(2, DiskFault::NotDurable);
        let mut outcomes = Vec::new();
        for key in ["a", "b", "c", "d"] {
            outcomes.push(store.commit(Batch::new().put("t", key, "")).await.is_ok());
        }
        assert_eq!(outcomes, [true, false, false, true]);
        let keys = |store: &SharedStore| {
            let entries = store.scan("t", b"", None, 99).expect("it reads");
            entries.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys(&store), ["a", "c", "d"]);
        disk.crash();
        let store = disk.open();
        assert_eq!(keys(&store), ["a", "d"]);
        disk.set_full(true);
        assert!(store.commit(Batch::new().put("t", "e", "")).await.is_err());
        disk.heal();
        assert!(store.commit(Batch::new().put("t", "e", "")).await.is_ok());
        assert_eq!(keys(&store), ["a", "d", "e"]);
    });
}

#[test]
fn a_damaged_record_is_named_until_it_is_written_again() {
    paused(async {
        let disk = disk(1);
        let store = disk.open();
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
