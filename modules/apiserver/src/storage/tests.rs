use beehive::block_on;
use serde_json::json;
use store::MemoryStore;

use super::*;

const WRITERS: usize = 4;
const WRITES: usize = 500;

/// The embedded server answers clients on a thread of its own, and its process on another.
#[test]
fn writers_on_several_threads_carry_out_each_others_writes() {
    let store = Arc::new(MemoryStore::new());
    let storage = Storage::open(store, HistoryLimits::default()).expect("an empty store opens");
    let space: Space = "configmaps".into();
    std::thread::scope(|threads| {
        for writer in 0..WRITERS {
            let (storage, space) = (&storage, &space);
            threads.spawn(move || {
                let writing = async move {
                    for number in 0..WRITES {
                        let key = Key::new("default", &format!("{writer}-{number}"));
                        let put = storage.write(|to| to.put(space, key.clone(), json!({}))).await;
                        let put = put.expect("the store takes it");
                        let seen = storage.get(space, &key).expect("an answered write is seen");
                        assert_eq!(seen.version, put.version);
                    }
                };
                block_on(writing).expect("a runtime");
            });
        }
    });
    let all =
        storage.list(&space, &Range::default(), None, |_, _| true).expect("the latest version is known");
    assert_eq!(all.objects.len(), WRITERS * WRITES);
}
