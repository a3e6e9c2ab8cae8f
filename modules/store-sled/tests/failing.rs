//! What is done when the disk takes no writes. The limit of a file's size stands for a full disk: beyond
//! it each write fails. It is the whole process's, so this suite is a program of its own, with one test.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use store::{Batch, SharedMedium};
use store_sled::{OnDamage, OpenError, SledMedium};

/// How long a medium may need to notice that it takes writes again: its longest pause and an opening.
const PATIENCE: Duration = Duration::from_secs(45);

/// Lets no file grow beyond so many bytes.
fn limit_files(bytes: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).expect("the limit is known");
    setrlimit(Resource::RLIMIT_FSIZE, bytes.min(hard), hard).expect("a limit may be lowered");
}

fn fail() {
    limit_files(0);
}

fn mend() {
    limit_files(u64::MAX);
}

/// Opens the medium as a process does.
fn medium(path: &Path) -> SharedMedium {
    Arc::new(SledMedium::open(path, OnDamage::MoveAside).expect("the directory is sound"))
}

/// Fails the flush of small batches, which sled notices only when it writes its log.
async fn small_batches_are_lost_or_kept_in_order(path: &Path) {
    let medium = medium(path);
    let put = |number: u32| Batch::new().put("small", number.to_be_bytes().to_vec(), "x");
    medium.store().commit(put(0)).await.expect("the disk is sound");
    fail();
    let store = medium.store();
    let commits: Vec<_> = (1..50).map(|number| store.commit(put(number))).collect();
    for commit in commits {
        commit.await.expect_err("no write reaches the disk");
    }
    mend();
    store.over().await;
    let store = medium.store();
    let found = store.scan("small", b"", None, usize::MAX).expect("a sound disk reads");
    let numbers: Vec<_> = found.iter().map(|(key, _)| key.to_vec()).collect();
    let expected: Vec<_> =
        (0_u32..).map(|number| number.to_be_bytes().to_vec()).take(numbers.len()).collect();
    assert!(!numbers.is_empty(), "what was acknowledged is there");
    assert_eq!(numbers, expected, "what survives is a beginning");
    store.commit(put(50)).await.expect("the disk is sound");
}

/// A value whose file cannot be written leaves sled in a state in which it never closes.
async fn a_store_that_does_not_close_goes_on_in_a_copy(path: &Path) {
    let medium = medium(path);
    for round in 0..2_u8 {
        let store = medium.store();
        let data = if round == 0 { path.join("data") } else { path.join(format!("data-{round}")) };
        store.commit(Batch::new().put("kept", vec![round], "x")).await.expect("the disk is sound");
        std::fs::remove_dir_all(data.join("blobs")).expect("no large value is kept");
        let large = Batch::new().put("large", vec![round], vec![7_u8; 1 << 20]);
        store.commit(large).await.expect_err("its file has no place");
        store.commit(Batch::new().put("kept", "late", "x")).await.expect_err("nothing is taken any more");
        store.over().await;
        assert!(!data.exists(), "the copy counts");
        let store = medium.store();
        let found = store.scan("kept", b"", None, usize::MAX).expect("a sound disk reads");
        assert_eq!(found.len(), usize::from(round) + 1, "what was acknowledged is there, and no more");
        store.commit(Batch::new().put("kept", vec![round], "y")).await.expect("the disk is sound");
    }
    drop(medium);
    let found = self::medium(path).store().scan("kept", b"", None, usize::MAX).expect("it reads");
    assert_eq!(found.len(), 2);
}

/// A store that cannot be opened since nothing can be written is not taken for a damaged one.
async fn a_full_disk_is_no_damage(path: &Path) {
    let sound = Batch::new().put("kept", "a", vec![7_u8; 100_000]);
    medium(path).store().commit(sound).await.expect("the disk is sound");
    fail();
    let refused = SledMedium::open(path, OnDamage::MoveAside).map(drop);
    mend();
    assert!(matches!(refused, Err(OpenError::Io { .. })), "{refused:?}");
    let found = medium(path).store().get("kept", b"a").expect("it reads");
    assert_eq!(found.map(|value| value.len()), Some(100_000));
}

#[tokio::test]
async fn a_medium_opens_itself_anew_when_its_disk_takes_writes_again() {
    // A write beyond the limit is an error only where the signal does not end the process. Threads that
    // are started from here inherit the mask.
    SigSet::from(Signal::SIGXFSZ).thread_block().expect("a signal may be blocked");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let suite = async {
        let path = directory.path().join("suite");
        store::conformance::run_failing(|| medium(&path), fail, mend).await;
        small_batches_are_lost_or_kept_in_order(&directory.path().join("small")).await;
        a_store_that_does_not_close_goes_on_in_a_copy(&directory.path().join("copy")).await;
        a_full_disk_is_no_damage(&directory.path().join("full")).await;
    };
    tokio::time::timeout(10 * PATIENCE, suite).await.expect("each outage ends");
}
