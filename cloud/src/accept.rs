//! Accepting connections.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

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
    let mut turns = Turns { patience: None, eldest_first: VecDeque::new() };
    accept(listener, at_once, &mut turns, connections, |stream, peer, _| serve(stream, peer)).await;
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
    let mut turns = Turns { patience: Some(patience), eldest_first: VecDeque::new() };
    accept(listener, at_once, &mut turns, connections, serve).await;
}

async fn accept<F>(
    listener: &TcpListener,
    at_once: usize,
    turns: &mut Turns,
    connections: &mut JoinSet<()>,
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
        while connections.try_join_next().is_some() {}
        while connections.len() >= at_once.max(1) {
            tokio::select! {
                biased;
                _ = connections.join_next() => {}
                () = turns.end_eldest() => {}
            }
        }
        connections.spawn(serve(stream, peer, turns.begin(Instant::now())));
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
