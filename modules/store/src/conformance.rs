//! What every store must do: run by each adapter's tests and by simulated stores.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::batch::Batch;
use crate::error::StoreError;
use crate::port::{Entry, SharedMedium, SharedStore, Store};

/// Runs the whole suite. `open` opens the same, at first empty, medium at each call; the store of
/// the call before was dropped.
///
/// # Panics
///
/// When the store breaks a promise of the port.
pub async fn run(mut open: impl FnMut() -> SharedStore) {
    let store = open();
    an_empty_store_holds_nothing(&*store);
    a_batch_is_visible_before_it_is_durable(&*store).await;
    keys_are_ordered_by_their_bytes(&*store).await;
    scans_honour_prefix_after_and_limit(&*store).await;
    trees_do_not_mix(&*store).await;
    the_last_write_of_a_batch_wins(&*store).await;
    empty_batches_and_missing_keys_are_no_errors(&*store).await;
    large_values_come_back(&*store).await;
    commits_resolve_in_any_order_of_waiting(&*store).await;
    a_commit_that_nobody_waits_for_is_not_taken_back(&*store).await;
    drop(store);
    what_was_acknowledged_is_there_after_reopening(&mut open).await;
    a_long_history_ends_as_a_map_would(&mut open).await;
}

/// Runs the suite of what a medium does after a write failed.
///
/// From `fail` to `mend` no write reaches the medium. `open` opens the same, at first empty, medium at
/// each call; the one of the call before was dropped.
///
/// # Panics
///
/// When the medium breaks a promise of the port.
pub async fn run_failing(mut open: impl FnMut() -> SharedMedium, fail: impl Fn(), mend: impl Fn()) {
    let medium = open();
    for outage in 0..3_u8 {
        let store = medium.store();
        let key = |name: &str| Bytes::from(format!("{outage}/{name}"));
        commit(&*store, Batch::new().put("outage", key("before"), "1")).await;
        assert!(!store.is_over(), "a sound opening goes on");
        fail();
        let large = vec![outage; 3 << 20];
        let halves = |name: &str| {
            Batch::new().put("outage", key(name), "1").put("outage other", key(name), large.clone())
        };
        let failing = store.commit(halves("failed"));
        let behind = store.commit(Batch::new().put("outage", key("behind"), "1"));
        failing.await.expect_err("a medium that takes no writes acknowledges none");
        behind.await.expect_err("nothing is acknowledged that came after what failed");
        let later = store.commit(Batch::new().put("outage", key("later"), "1"));
        later.await.expect_err("an opening that failed takes no more");
        assert!(!store.is_over(), "a medium that takes no writes is not opened anew");
        let found = store.get("outage", &key("before")).expect("reads go on");
        assert_eq!(found, Some(Bytes::from("1")));

        mend();
        store.over().await;
        assert!(store.is_over());
        assert!(matches!(store.get("outage", &key("before")), Err(StoreError::Closed)));
        let late = store.commit(Batch::new().put("outage", key("late"), "1"));
        late.await.expect_err("an opening that is over takes nothing");

        let store = medium.store();
        assert!(!store.is_over());
        let has = |tree: &'static str, name: &str| {
            store.get(tree, &key(name)).expect("a sound medium reads").is_some()
        };
        assert!(has("outage", "before"), "what was acknowledged is there");
        assert_eq!(has("outage", "failed"), has("outage other", "failed"), "a batch is whole or not there");
        assert!(has("outage", "failed") || !has("outage", "behind"), "what survives is a beginning");
        assert!(!has("outage", "later") && !has("outage", "late"), "what was turned away did not come");
        commit(&*store, Batch::new().put("outage", key("after"), "1")).await;
    }
    drop(medium);
    let found = scan(&*open().store(), "outage", b"", None, usize::MAX);
    for outage in 0..3 {
        for name in ["before", "after"] {
            let is_it = |(key, _): &Entry| *key == format!("{outage}/{name}").as_bytes();
            assert!(found.iter().any(is_it), "{name} of outage {outage} was acknowledged");
        }
    }
}

async fn commit(store: &dyn Store, batch: Batch) {
    store.commit(batch).await.expect("a sound medium takes a batch");
}

fn get(store: &dyn Store, tree: &'static str, key: &str) -> Option<Bytes> {
    store.get(tree, key.as_bytes()).expect("a sound medium reads")
}

fn scan(
    store: &dyn Store,
    tree: &'static str,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Vec<Entry> {
    store.scan(tree, prefix, after, limit).expect("a sound medium reads")
}

fn an_empty_store_holds_nothing(store: &dyn Store) {
    assert_eq!(get(store, "empty", "a"), None);
    assert_eq!(scan(store, "empty", b"", None, usize::MAX), []);
}

async fn a_batch_is_visible_before_it_is_durable(store: &dyn Store) {
    let durable = store.commit(Batch::new().put("visible", "a", "1").put("visible", "b", "2"));
    assert_eq!(get(store, "visible", "a"), Some(Bytes::from("1")), "a commit is seen at once");
    assert_eq!(scan(store, "visible", b"", None, 9).len(), 2, "a commit is scanned at once");
    let later = store.commit(Batch::new().remove("visible", "a"));
    assert_eq!(get(store, "visible", "a"), None, "batches apply in the order of calls");
    durable.await.expect("a sound medium takes a batch");
    later.await.expect("a sound medium takes a batch");
    assert_eq!(get(store, "visible", "a"), None);
}

async fn keys_are_ordered_by_their_bytes(store: &dyn Store) {
    let keys: [&[u8]; 7] = [b"", b"\0", b"\0\xff", b"a", b"a\0", b"b", b"\xff\xff"];
    let batch = keys.iter().rev().fold(Batch::new(), |batch, key| {
        batch.put("order", Bytes::copy_from_slice(key), Bytes::copy_from_slice(key))
    });
    commit(store, batch).await;
    let found = scan(store, "order", b"", None, usize::MAX);
    let expected: Vec<Entry> =
        keys.iter().map(|key| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(key))).collect();
    assert_eq!(found, expected);
}

async fn scans_honour_prefix_after_and_limit(store: &dyn Store) {
    let keys = ["a", "b/1", "b/2", "b/3", "b/4", "b0", "c"];
    let batch = keys.iter().fold(Batch::new(), |batch, key| batch.put("ranges", *key, ""));
    commit(store, batch).await;
    let check = |prefix: &str, after: Option<&str>, limit: usize, expect: &[&str]| {
        let found = scan(store, "ranges", prefix.as_bytes(), after.map(str::as_bytes), limit);
        let found: Vec<Bytes> = found.into_iter().map(|(key, _)| key).collect();
        assert_eq!(found, expect, "prefix {prefix:?} after {after:?} limit {limit}");
    };
    check("", None, usize::MAX, &keys);
    check("b/", None, usize::MAX, &["b/1", "b/2", "b/3", "b/4"]);
    check("b/", None, 2, &["b/1", "b/2"]);
    check("b/", Some("b/2"), 2, &["b/3", "b/4"]);
    check("b/", Some("b/4"), 2, &[]);
    check("b/", Some("a"), 1, &["b/1"]);
    check("b/", Some("c"), 9, &[]);
    check("b/", Some("b/25"), 9, &["b/3", "b/4"]);
    check("b/", None, 0, &[]);
    check("d", None, 9, &[]);
}

async fn trees_do_not_mix(store: &dyn Store) {
    commit(store, Batch::new().put("one", "k", "1").put("one-more", "k", "2")).await;
    assert_eq!(get(store, "one", "k"), Some(Bytes::from("1")));
    assert_eq!(scan(store, "one", b"", None, 9), [(Bytes::from("k"), Bytes::from("1"))]);
    commit(store, Batch::new().remove("one", "k")).await;
    assert_eq!(get(store, "one-more", "k"), Some(Bytes::from("2")));
}

async fn the_last_write_of_a_batch_wins(store: &dyn Store) {
    let batch = Batch::new().put("last", "a", "1").remove("last", "a").put("last", "a", "2");
    commit(store, batch.put("last", "b", "1").remove("last", "b")).await;
    assert_eq!(scan(store, "last", b"", None, 9), [(Bytes::from("a"), Bytes::from("2"))]);
}

async fn empty_batches_and_missing_keys_are_no_errors(store: &dyn Store) {
    commit(store, Batch::new()).await;
    commit(store, Batch::new().remove("missing", "a").put("missing", "b", "")).await;
    assert_eq!(get(store, "missing", "b"), Some(Bytes::new()), "an empty value is a value");
}

async fn large_values_come_back(store: &dyn Store) {
    for (key, size) in [("64k", 64 << 10), ("1m", 1 << 20), ("3m", 3 << 20)] {
        let value: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
        commit(store, Batch::new().put("large", key, value.clone())).await;
        assert_eq!(get(store, "large", key).as_deref(), Some(&value[..]), "{key}");
    }
}

async fn commits_resolve_in_any_order_of_waiting(store: &dyn Store) {
    let commits: Vec<_> =
        (0..100u8).map(|n| store.commit(Batch::new().put("many", vec![n], vec![n]))).collect();
    for commit in commits.into_iter().rev() {
        commit.await.expect("a sound medium takes a batch");
    }
    assert_eq!(scan(store, "many", b"", None, usize::MAX).len(), 100);
}

async fn a_commit_that_nobody_waits_for_is_not_taken_back(store: &dyn Store) {
    drop(store.commit(Batch::new().put("dropped", "a", "1")));
    commit(store, Batch::new().put("dropped", "b", "2")).await;
    assert_eq!(scan(store, "dropped", b"", None, 9).len(), 2);
}

async fn what_was_acknowledged_is_there_after_reopening(open: &mut impl FnMut() -> SharedStore) {
    let large = vec![7_u8; 1 << 20];
    let store = open();
    assert_eq!(get(&*store, "dropped", "b"), Some(Bytes::from("2")), "the suite's own past");
    commit(&*store, Batch::new().put("kept", "a", "1").put("kept", "large", large.clone())).await;
    commit(&*store, Batch::new().put("kept", "b", "2").put("kept too", "c", "3").remove("kept", "a")).await;
    drop(store);
    let store = open();
    assert_eq!(get(&*store, "kept", "a"), None);
    assert_eq!(get(&*store, "kept", "b"), Some(Bytes::from("2")));
    assert_eq!(get(&*store, "kept", "large").as_deref(), Some(&large[..]));
    assert_eq!(get(&*store, "kept too", "c"), Some(Bytes::from("3")));
}

async fn a_long_history_ends_as_a_map_would(open: &mut impl FnMut() -> SharedStore) {
    let mut model: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut draw = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for _restart in 0..4 {
        let store = open();
        let mut commits = Vec::new();
        for _batch in 0..50 {
            let mut batch = Batch::new();
            for _write in 0..draw(8) {
                let key = Bytes::from(format!("{:02x}", draw(200)));
                if draw(3) == 0 {
                    model.remove(&key);
                    batch = batch.remove("history", key);
                } else {
                    let value = Bytes::from(draw(u64::MAX).to_be_bytes().to_vec());
                    model.insert(key.clone(), value.clone());
                    batch = batch.put("history", key, value);
                }
            }
            commits.push(store.commit(batch));
            if draw(5) == 0 {
                for commit in commits.drain(..) {
                    commit.await.expect("a sound medium takes a batch");
                }
            }
            let expected: Vec<Entry> =
                model.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            assert_eq!(scan(&*store, "history", b"", None, usize::MAX), expected);
            assert_eq!(page_through(&*store, "history", 7).expect("a sound medium reads"), expected);
        }
        for commit in commits {
            commit.await.expect("a sound medium takes a batch");
        }
    }
}

fn page_through(store: &dyn Store, tree: &'static str, limit: usize) -> Result<Vec<Entry>, StoreError> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map(|(key, _)| key.clone());
        let page = store.scan(tree, b"", after.as_deref(), limit)?;
        if page.is_empty() {
            return Ok(entries);
        }
        entries.extend(page);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::memory::{Fault, MemoryStore};

    #[test]
    fn the_store_in_memory_conforms() {
        let mut store = MemoryStore::new();
        futures::executor::block_on(super::run(move || {
            store = store.crash();
            Arc::new(store.clone())
        }));
    }

    #[test]
    fn the_store_in_memory_opens_itself_anew() {
        for fault in [Fault::Refused, Fault::NotDurable, Fault::Unsaid] {
            let store = MemoryStore::new();
            futures::executor::block_on(super::run_failing(
                || Arc::new(store.clone()),
                || store.break_down(fault),
                || store.mend(),
            ));
        }
    }
}
