//! Accepting connections.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The pause after the system refused to hand out a connection, as when files run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections for as long as it is polled, and serves each by a task in `connections`. When
/// `at_once` are there, more wait in the system's queue.
pub(crate) async fn accept_all<F>(
    listener: &TcpListener,
    at_once: usize,
    connections: &mut JoinSet<()>,
    mut serve: impl FnMut(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        while connections.try_join_next().is_some() {}
        while connections.len() >= at_once.max(1) {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, peer)) => {
                connections.spawn(serve(stream, peer));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
            }
        }
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
