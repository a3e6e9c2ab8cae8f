//! A relay of datagrams, as a router with address translation is.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// The largest datagram.
const DATAGRAM_BYTES: usize = 1 << 16;

/// A relay between one edge and its cloud.
pub(crate) struct Relay {
    inner: Arc<UdpSocket>,
    shared: Arc<Shared>,
    cloud: SocketAddr,
    upward: JoinSet<()>,
    downward: Mutex<JoinSet<()>>,
}

struct Shared {
    /// The socket that the cloud sees.
    outer: Mutex<Arc<UdpSocket>>,
    edge: Mutex<Option<SocketAddr>>,
    /// How many datagrams may go up, and how many went.
    limit: AtomicUsize,
    passed: AtomicUsize,
    went_up: Notify,
    retries: AtomicUsize,
}

impl Relay {
    pub(crate) async fn start(cloud: SocketAddr) -> Self {
        let inner = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port"));
        let outer = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let shared = Arc::new(Shared {
            outer: Mutex::new(Arc::new(outer)),
            edge: Mutex::default(),
            limit: AtomicUsize::new(usize::MAX),
            passed: AtomicUsize::new(0),
            went_up: Notify::new(),
            retries: AtomicUsize::new(0),
        });
        let mut upward = JoinSet::new();
        upward.spawn(up(Arc::clone(&inner), Arc::clone(&shared), cloud));
        let relay = Self { inner, shared, cloud, upward, downward: Mutex::default() };
        relay.begin_downward();
        relay
    }

    fn begin_downward(&self) {
        let mut downward = JoinSet::new();
        downward.spawn(down(self.shared.outer(), Arc::clone(&self.inner), Arc::clone(&self.shared)));
        *self.downward.lock().expect("no test panics with it") = downward;
    }

    /// Returns where the edge dials.
    pub(crate) fn server(&self) -> String {
        assert!(!self.upward.is_empty(), "it relays");
        self.inner.local_addr().expect("an address").to_string()
    }

    /// Returns where the edge seems to be.
    pub(crate) fn outer(&self) -> SocketAddr {
        self.shared.outer().local_addr().expect("an address")
    }

    /// Gives the edge another address, as its cloud sees it. What is sent to the old one is lost.
    pub(crate) async fn rebind(&self) {
        let outer = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        *self.shared.outer.lock().expect("no test panics with it") = Arc::new(outer);
        self.begin_downward();
        assert_ne!(self.outer(), self.cloud);
    }

    /// Lets only so many datagrams go up.
    pub(crate) fn pass_up(&self, limit: usize) {
        self.shared.limit.store(limit, Ordering::Relaxed);
    }

    /// Waits until so many went up.
    pub(crate) async fn passed_up(&self, count: usize) {
        while self.shared.passed.load(Ordering::Relaxed) < count {
            self.shared.went_up.notified().await;
        }
    }

    /// Returns how often the cloud asked the edge to show that its address is its own.
    pub(crate) fn retries(&self) -> usize {
        self.shared.retries.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn outer(&self) -> Arc<UdpSocket> {
        Arc::clone(&self.outer.lock().expect("no test panics with it"))
    }
}

async fn up(inner: Arc<UdpSocket>, shared: Arc<Shared>, cloud: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let Ok((size, from)) = inner.recv_from(&mut buffer).await else { continue };
        *shared.edge.lock().expect("no test panics with it") = Some(from);
        if shared.passed.load(Ordering::Relaxed) >= shared.limit.load(Ordering::Relaxed) {
            continue;
        }
        let outer = shared.outer();
        // A datagram may be lost.
        let _sent = outer.send_to(&buffer[..size], cloud).await;
        shared.passed.fetch_add(1, Ordering::Relaxed);
        shared.went_up.notify_one();
    }
}

async fn down(outer: Arc<UdpSocket>, inner: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let Ok((size, _)) = outer.recv_from(&mut buffer).await else { continue };
        // A long header of the type Retry.
        if buffer[0] & 0xf0 == 0xf0 {
            shared.retries.fetch_add(1, Ordering::Relaxed);
        }
        let edge = *shared.edge.lock().expect("no test panics with it");
        if let Some(edge) = edge {
            let _sent = inner.send_to(&buffer[..size], edge).await;
        }
    }
}
