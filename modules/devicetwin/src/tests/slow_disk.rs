//! What waits for the disk.

use store::{Commit, Medium, Over, StoreError, Survey};
use tokio::sync::Semaphore;

use super::*;

/// A store whose commits wait until the disk is let go.
#[derive(Debug, Clone)]
struct SlowDisk {
    store: MemoryStore,
    gate: Arc<Semaphore>,
}

impl SlowDisk {
    fn new() -> Self {
        Self { store: MemoryStore::new(), gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)) }
    }

    fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn let_go(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS);
    }
}

impl Medium for SlowDisk {
    fn store(&self) -> SharedStore {
        Arc::new(self.clone())
    }
}

impl store::Store for SlowDisk {
    fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store.get(tree, key)
    }

    fn survey(
        &self,
        tree: &'static str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Survey, StoreError> {
        self.store.survey(tree, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> Commit {
        let (commit, gate) = (self.store.commit(batch), Arc::clone(&self.gate));
        Box::pin(async move {
            let passed = gate.acquire().await.map_err(|_closed| StoreError::Closed)?;
            drop(passed);
            commit.await
        })
    }

    fn over(&self) -> Over {
        self.store.over()
    }

    fn is_over(&self) -> bool {
        false
    }
}

async fn start(disk: &SlowDisk) -> Probe<DeviceTwin> {
    Probe::<DeviceTwin>::new(DeviceTwinConfig::default(), Arc::new(disk.clone()) as SharedMedium)
        .serve::<ListObjects>(group::META, |_| Ok(vec![object("t1", "u1")]))
        .serve::<ListHeld>(group::META, |_| Ok(Vec::new()))
        .serve::<PublishLocal>(group::BUS, |_| ())
        .serve::<AskCloud>(group::HUB, |AskCloud(request)| online(&request))
        .start()
        .await
}

/// Sends a value without waiting for an answer.
async fn send(probe: &Probe<DeviceTwin>, value: &str) {
    let payload = format!(r#"{{"event_id":"e","twin":{{"x":{{"actual":{{"value":"{value}"}}}}}}}}"#);
    let call = CallDevice { call: DeviceCall::UpdateTwins(id("t1")), payload: payload.into() };
    probe.bus().to(group::TWIN).send(call).await.expect("it is there");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nobody_hears_of_a_value_before_it_is_on_disk_and_a_crash_takes_it_back() {
    let disk = SlowDisk::new();
    let probe = start(&disk).await;
    assert_eq!(set(&probe, "t1", "1").await, Ok(()));
    probe.advance(Duration::from_secs(5)).await;
    told(&probe);
    assert_eq!((reports(&probe).len(), probe.published::<TwinReported>().len()), (1, 1));
    disk.hold();
    send(&probe, "2").await;
    probe.advance(Duration::from_secs(60)).await;
    assert_eq!((told(&probe), reports(&probe), probe.published::<TwinReported>()), (vec![], vec![], vec![]));
    let found = disk.store.crash();
    drop(probe);
    let probe = with(&["t1"]).start(&found, online).await;
    assert_eq!(value(&probe, "t1").await, "1");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn more_than_may_wait_for_the_disk_is_refused_and_changes_nothing() {
    let disk = SlowDisk::new();
    let probe = start(&disk).await;
    disk.hold();
    let bus = probe.bus();
    let payload = Bytes::from_static(br#"{"twin":{"x":{"actual":{"value":"1"}}}}"#);
    let asks = (0..1100).map(|_| {
        let call = CallDevice { call: DeviceCall::UpdateTwins(id("t1")), payload: payload.clone() };
        bus.to(group::TWIN).ask(call).within(Duration::from_secs(60))
    });
    let release = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        disk.let_go();
    };
    let (answers, ()) = futures::join!(futures::future::join_all(asks), release);
    let refused = answers.into_iter().filter(|answer| answer.as_ref().expect("an answer").is_err()).count();
    assert!(refused > 0 && refused < 1100 - 1000, "{refused}");
    probe.settle().await;
    told(&probe);
    assert_eq!(refused + version(&probe, "t1").await, 1100, "each is kept or refused");
    probe.stop().await;
}
