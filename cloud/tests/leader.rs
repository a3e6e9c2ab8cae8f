//! Of several clouds of a cluster one leads, over loopback with an API server in memory.

use std::sync::Arc;
use std::time::Duration;

use apiserver::NoNodeLogs;
use cloudcore::leader::{LEASE, Leader, LeaderTimes, LeaseLost};
use cloudcore::{Embedded, EmbeddedOptions};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use store::MemoryStore;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(60);
/// Kubernetes writes whole seconds into a lease.
const TIMES: LeaderTimes = LeaderTimes {
    lasts: Duration::from_secs(2),
    gives_up_after: Duration::from_secs(1),
    every: Duration::from_millis(50),
};

struct Cluster {
    embedded: Embedded,
    _directory: tempfile::TempDir,
}

impl Cluster {
    async fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let embedded = Embedded::open(EmbeddedOptions {
            store: Arc::new(MemoryStore::new()),
            directory: directory.path().join("kube-api"),
            address: ([127, 0, 0, 1], 0).into(),
            logs: Arc::new(NoNodeLogs),
        });
        Self { embedded: embedded.await.expect("it opens"), _directory: directory }
    }

    fn leader(&self, name: &str) -> Leader {
        Leader::new(self.embedded.client(), name.to_owned(), TIMES)
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.embedded.client(), LEASE.0)
    }

    async fn holder(&self) -> String {
        let lease = self.leases().get(LEASE.1).await.expect("there is one");
        lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default()
    }
}

async fn win(leader: &mut Leader) {
    timeout(PATIENCE, leader.win()).await.expect("it wins");
}

#[tokio::test]
async fn a_second_cloud_stands_by_and_takes_over_at_once_when_the_first_lets_go() {
    let cluster = Cluster::open().await;
    let (mut first, mut second) = (cluster.leader("a"), cluster.leader("b"));
    win(&mut first).await;
    assert_eq!(cluster.holder().await, "a");
    let standing_by = async {
        tokio::select! {
            biased;
            lost = first.keep() => panic!("nobody else leads: {lost}"),
            () = second.win() => panic!("there is one already"),
            () = tokio::time::sleep(TIMES.lasts * 2) => {}
        }
    };
    standing_by.await;
    first.release().await;
    let began = Instant::now();
    win(&mut second).await;
    assert!(began.elapsed() < TIMES.lasts, "it does not wait for the lease to end");
    assert_eq!(cluster.holder().await, "b");
}

#[tokio::test]
async fn a_cloud_that_vanished_is_followed_after_its_time_and_gives_up_when_it_is_back() {
    let cluster = Cluster::open().await;
    let (mut first, mut second) = (cluster.leader("a"), cluster.leader("b"));
    win(&mut first).await;
    let began = Instant::now();
    win(&mut second).await;
    assert!(began.elapsed() >= TIMES.lasts, "{:?}", began.elapsed());
    let lost = timeout(PATIENCE, first.keep()).await.expect("it sees that another leads");
    assert!(matches!(&lost, LeaseLost::Taken(holder) if holder == "b"), "{lost}");
    assert_eq!(cluster.holder().await, "b");
}

#[tokio::test]
async fn a_leader_that_does_not_reach_the_api_serves_on_and_gives_up_after_its_time() {
    let cluster = Cluster::open().await;
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut leader = cluster.leader("a");
    win(&mut leader).await;
    // From here on the API server is one that never answers.
    let silent = format!("http://{}", server.local_addr().expect("an address"));
    let config = kube::Config::new(silent.parse().expect("a URL"));
    let mut leader = leader.with_client(kube::Client::try_from(config).expect("a client"));
    let began = Instant::now();
    let lost = timeout(PATIENCE, leader.keep()).await.expect("it gives up");
    assert!(matches!(lost, LeaseLost::Unreached(_)), "{lost}");
    assert!(began.elapsed() >= TIMES.gives_up_after, "{:?}", began.elapsed());
}
