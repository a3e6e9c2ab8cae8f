//! Accepting connections.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wire::link::{LinkError, ListenOn};

/// The pause after the system refused to hand out a connection, as when files run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections for as long as it is polled, and serves each by a task in `connections`. When
/// `at_once` are there, more wait.
pub(crate) async fn accept_all<F>(
    listener: &TcpListener,
    at_once: usize,
    connections: &mut JoinSet<()>,
    mut serve: impl FnMut(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Places::new(at_once, None, connections);
    accept(listener, places, |stream, peer, _| serve(stream, peer)).await;
}

/// Does the same for what should be over soon. While others wait, the eldest is told to give way once it
/// has had `patience`, and is told how long that was.
pub(crate) async fn accept_giving_way<F>(
    listener: &TcpListener,
    at_once: usize,
    patience: Duration,
    connections: &mut JoinSet<()>,
    serve: impl FnMut(TcpStream, SocketAddr, oneshot::Receiver<Duration>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    accept(listener, Places::new(at_once, Some(patience), connections), serve).await;
}

async fn accept<F>(
    listener: &TcpListener,
    mut places: Places<'_>,
    mut serve: impl FnMut(TcpStream, SocketAddr, oneshot::Receiver<Duration>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        places.free().await;
        places.serve(|give_way| serve(stream, peer, give_way));
    }
}

/// A bounded number of places, and the connections that have one.
pub(crate) struct Places<'a> {
    at_once: usize,
    turns: Turns,
    connections: &'a mut JoinSet<()>,
}

impl<'a> Places<'a> {
    /// Makes places for `at_once`. With a `patience`, the eldest gives way to those who wait.
    pub(crate) fn new(at_once: usize, patience: Option<Duration>, connections: &'a mut JoinSet<()>) -> Self {
        Self {
            at_once: at_once.max(1),
            turns: Turns { patience, eldest_first: VecDeque::new() },
            connections,
        }
    }

    /// Returns how many are taken.
    pub(crate) fn taken(&mut self) -> usize {
        while self.connections.try_join_next().is_some() {}
        self.connections.len()
    }

    /// Waits until there is one.
    pub(crate) async fn free(&mut self) {
        while self.taken() >= self.at_once {
            tokio::select! {
                biased;
                _ = self.connections.join_next() => {}
                () = self.turns.end_eldest() => {}
            }
        }
    }

    /// Gives one to a connection, whose task is told when it has to give way.
    pub(crate) fn serve<F>(&mut self, serve: impl FnOnce(oneshot::Receiver<Duration>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let give_way = self.turns.begin(Instant::now());
        self.connections.spawn(serve(give_way));
    }
}

/// Connections that may wait for the hub after their handshake.
pub(crate) const BACKLOG: usize = 64;
/// The part of its time that a handshake has while others wait for a place.
pub(crate) const CROWDED_PART: u32 = 4;

/// Waits for a handshake until its time is over, or until it has to give way.
pub(crate) async fn in_time<T>(
    limit: Duration,
    give_way: oneshot::Receiver<Duration>,
    handshake: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    tokio::select! {
        biased;
        outcome = timeout(limit, handshake) => outcome.unwrap_or(Err(LinkError::HandshakeTimeout(limit))),
        Ok(limit) = give_way => Err(LinkError::HandshakeTimeout(limit)),
    }
}

/// Returns where to listen, as the system is told.
pub(crate) fn place(on: &ListenOn) -> String {
    let ListenOn { address, port, .. } = on;
    if address.contains(':') && !address.starts_with('[') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// The connections that are served, and when each has had its time.
struct Turns {
    /// How long one may take while others wait; without it, for ever.
    patience: Option<Duration>,
    eldest_first: VecDeque<(Instant, oneshot::Sender<Duration>)>,
}

impl Turns {
    /// Adds a connection; it is told when it has to give way.
    fn begin(&mut self, now: Instant) -> oneshot::Receiver<Duration> {
        let (sender, give_way) = oneshot::channel();
        if self.patience.is_some() {
            self.forget_ended();
            self.eldest_first.push_back((now, sender));
        }
        give_way
    }

    /// Tells the eldest to give way, once it has had its time.
    async fn end_eldest(&mut self) {
        self.forget_ended();
        let (Some(patience), Some((began, _))) = (self.patience, self.eldest_first.front()) else {
            return std::future::pending().await;
        };
        sleep_until(*began + patience).await;
        if let Some((_, eldest)) = self.eldest_first.pop_front()
            && eldest.send(patience).is_err()
        {
            tracing::trace!("a connection ended just before it was to give way");
        }
    }

    fn forget_ended(&mut self) {
        self.eldest_first.retain(|(_, connection)| !connection.is_closed());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Long enough for any machine; only a failing test waits for it.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Tells its peer how many are served at the time, and stays until the peer leaves.
    async fn count(mut stream: TcpStream, open: Arc<AtomicU8>) {
        let here = open.fetch_add(1, Ordering::Relaxed) + 1;
        // A peer that leaves may reset the connection.
        let _left = async {
            stream.write_all(&[here]).await?;
            stream.read_to_end(&mut Vec::new()).await
        }
        .await;
        open.fetch_sub(1, Ordering::Relaxed);
    }

    #[tokio::test]
    async fn who_comes_when_all_places_are_taken_is_served_when_one_leaves() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let open = Arc::new(AtomicU8::new(0));
        let mut connections = JoinSet::new();
        let accepting = accept_all(&listener, 2, &mut connections, |stream, _| count(stream, open.clone()));
        let visiting = async {
            let mut visitors = Vec::new();
            for expected in [1, 2] {
                let mut visitor = TcpStream::connect(address).await.expect("it listens");
                assert_eq!(visitor.read_u8().await.expect("there is a place"), expected);
                visitors.push(visitor);
            }
            let mut third = TcpStream::connect(address).await.expect("it listens");
            drop(visitors.pop());
            assert_eq!(third.read_u8().await.expect("a place was left"), 2);
        };
        tokio::select! {
            biased;
            () = accepting => panic!("it goes on accepting"),
            visited = tokio::time::timeout(PATIENCE, visiting) => visited.expect("all are served"),
        }
    }
}
