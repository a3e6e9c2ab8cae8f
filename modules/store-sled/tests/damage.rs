//! What is done with damaged directories.

use std::fs;
use std::path::Path;

use store::{Batch, Store};
use store_sled::{OpenError, SledStore};

const TREE: &str = "objects";

fn filled(path: &Path) {
    let store = SledStore::open(path).expect("it is a fresh directory");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it needs no driver");
    for number in 0..200_u32 {
        let batch = Batch::new().put(TREE, format!("key-{number}"), vec![7_u8; 2_000]);
        runtime.block_on(store.commit(batch)).expect("the disk is sound");
    }
    drop(store);
    drop(SledStore::open(path).expect("opening a store with a past makes sled's snapshot"));
}

fn file(path: &Path, name: &str) -> std::path::PathBuf {
    let entries = fs::read_dir(path.join("data")).expect("it is a store");
    let mut names = entries.map(|entry| entry.expect("it is readable").path());
    names
        .find(|found| found.file_name().is_some_and(|found| found.to_string_lossy().starts_with(name)))
        .unwrap_or_else(|| panic!("sled keeps a file {name}"))
}

#[test]
fn a_second_opening_says_who_has_the_store() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let _first = SledStore::open(directory.path()).expect("it is a fresh directory");
    let second = SledStore::open(directory.path()).expect_err("it is in use");
    let expected = format!("is in use by process {}", std::process::id());
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    assert!(second.to_string().ends_with(&expected), "{second}");
    assert!(SledStore::open_or_recover(directory.path()).is_err(), "a store in use is not moved");
}

#[test]
fn a_path_that_is_no_directory_is_an_error() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("file");
    fs::write(&path, "x").expect("the directory is writable");
    assert!(matches!(SledStore::open(&path), Err(OpenError::Io { .. })));
    assert!(matches!(SledStore::open_or_recover(&path), Err(OpenError::Io { .. })));
}

#[test]
fn garbage_is_moved_aside_and_reported() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for round in 1..=2 {
        filled(directory.path());
        for name in ["db", "snap"] {
            let path = file(directory.path(), name);
            let length = fs::metadata(&path).expect("it is a file").len();
            let garbage: Vec<u8> = (0..length).map(|n| (n * 31 % 251).to_le_bytes()[0]).collect();
            fs::write(&path, garbage).expect("the directory is writable");
        }
        let opened = SledStore::open_or_recover(directory.path()).expect("it recovers");
        let found = opened.store.scan(TREE, b"", None, usize::MAX).expect("it is readable");
        match opened.recovery {
            Some(recovery) => {
                assert_eq!(recovery.moved_to, directory.path().join(format!("data.corrupt-{round}")));
                assert!(recovery.moved_to.join("db").exists());
                assert!(!recovery.cause.is_empty());
            }
            None => panic!("garbage was taken for a store of {} objects", found.len()),
        }
        assert!(found.is_empty());
    }
}

/// Whatever is cut off or flipped: no panic, no hang; either the store opens and gives sound
/// records only, or it says that it is damaged.
#[test]
fn no_damage_to_a_file_gives_a_panic_or_a_wrong_value() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sound = directory.path().join("sound");
    filled(&sound);
    let mut recovered = 0;
    for name in ["db", "snap", "conf"] {
        let content = fs::read(file(&sound, name)).expect("it is a file");
        for step in 0..12_usize {
            let position = content.len() * step / 12;
            for cut in [true, false] {
                let path = directory.path().join(format!("{name}-{step}-{cut}"));
                copy(&sound, &path);
                let mut damaged = content.clone();
                if cut {
                    damaged.truncate(position);
                } else if let Some(byte) = damaged.get_mut(position) {
                    *byte ^= 0x55;
                }
                fs::write(file(&path, name), damaged).expect("the directory is writable");
                recovered += u32::from(survives(&path));
            }
        }
    }
    assert!(recovered > 0, "some damage is found at opening");
}

/// sled opens a log up to where it is damaged: what was acknowledged later would be gone in silence.
#[test]
fn what_was_acknowledged_and_is_missing_is_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sound = directory.path().join("sound");
    {
        let store = SledStore::open(&sound).expect("it is a fresh directory");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it needs no driver");
        for number in 0..20_u32 {
            let batch = Batch::new().put(TREE, format!("key-{number}"), vec![7_u8; 2_000]);
            runtime.block_on(store.commit(batch)).expect("the disk is sound");
        }
    }
    let database = file(&sound, "db");
    let content = fs::read(&database).expect("it is a file");
    let end = content.iter().rposition(|byte| *byte != 0).expect("it holds something");
    for part in 1..10 {
        let mut damaged = content.clone();
        damaged[end * part / 10] ^= 0x55;
        fs::write(&database, damaged).expect("the directory is writable");
        for attempt in ["first", "second"] {
            let refused = SledStore::open(&sound);
            let refused = refused.err().unwrap_or_else(|| panic!("damage at {part}/10, {attempt} opening"));
            assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
        }
        for name in fs::read_dir(sound.join("data")).expect("it is a store") {
            let path = name.expect("it is readable").path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap")) {
                fs::remove_file(path).expect("the directory is writable");
            }
        }
    }
    fs::write(&database, content).expect("the directory is writable");
    let store = SledStore::open(&sound).expect("it is as it was");
    assert_eq!(store.scan(TREE, b"", None, usize::MAX).expect("it is readable").len(), 20);
}

fn survives(path: &Path) -> bool {
    drop(SledStore::open(path));
    let opened = SledStore::open_or_recover(path).expect("it opens or recovers");
    let survey = opened.store.survey(TREE, b"", None, usize::MAX).expect("what opened is readable");
    assert!(survey.entries.iter().all(|(_, value)| **value == vec![7_u8; 2_000]), "{}", path.display());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it needs no driver");
    let batch = Batch::new().put(TREE, "after", "damage");
    runtime.block_on(opened.store.commit(batch)).expect("a recovered store takes batches");
    fs::remove_dir_all(path).expect("the directory is writable");
    opened.recovery.is_some()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("data/blobs")).expect("the directory is writable");
    for name in ["db", "snap", "conf"] {
        let source = file(from, name);
        let target = to.join("data").join(source.file_name().expect("it is a file"));
        fs::copy(source, target).expect("the directory is writable");
    }
}

/// Returns the names and lengths of all files below a directory.
fn listing(directory: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("it is readable") {
        let entry = entry.expect("it is readable");
        if entry.path().is_dir() {
            found.extend(listing(&entry.path()));
        } else {
            found.push((entry.path(), entry.metadata().expect("it is readable").len()));
        }
    }
    found.sort();
    found
}

#[test]
fn an_examination_reads_all_and_changes_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store");
    let scratch = |name: &str| directory.path().join(name);
    assert_eq!(store_sled::examine(&path, &scratch("0")).expect("it is not there"), None);

    filled(&path);
    let before = listing(&path);
    let examined = store_sled::examine(&path, &scratch("1")).expect("it is whole").expect("it is there");
    assert!(examined.records >= 200, "{examined:?}");
    assert_eq!((examined.corrupt, examined.moved_aside), (0, 0));
    assert_eq!(listing(&path), before);

    let open = SledStore::open(&path).expect("it is whole");
    let error = store_sled::examine(&path, &scratch("2")).expect_err("it is in use");
    assert!(matches!(&error, OpenError::InUse { .. }), "{error}");
    drop(open);

    let database = file(&path, "db");
    let length = fs::metadata(&database).expect("it is a file").len();
    fs::write(&database, vec![0x5a; usize::try_from(length).expect("it is short")]).expect("it is writable");
    let damaged = store_sled::examine(&path, &scratch("3"));
    assert!(matches!(&damaged, Err(OpenError::Damaged { .. })), "{damaged:?}");
}
