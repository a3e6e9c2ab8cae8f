//! A close after which the client can still read the answer.
//!
//! When a socket is closed while bytes wait in it, the system resets the connection, and a client that
//! was still writing never reads what it was told. So a connection that is shut down says that it has
//! nothing more to say, and what still comes is read and thrown away: so many bytes and for so long,
//! and not decrypted.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What is read at a time.
const BUFFER_BYTES: usize = 16 << 10;

/// What is put up with after a connection was shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LingerLimits {
    /// How many bytes are thrown away.
    pub bytes_max: u64,
    /// How long the client may take to end its side.
    pub timeout: Duration,
}

impl Default for LingerLimits {
    fn default() -> Self {
        Self { bytes_max: 256 << 20, timeout: Duration::from_secs(5) }
    }
}

/// A stream whose shutdown lingers.
pub(crate) struct Lingering<S> {
    stream: S,
    limits: LingerLimits,
    /// There once our side has ended.
    lingering: Option<Pin<Box<Sleep>>>,
    thrown_away: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lingering<S> {
    pub(crate) fn new(stream: S, limits: LingerLimits) -> Self {
        Self { stream, limits, lingering: None, thrown_away: 0 }
    }

    /// Resolves when the peer has ended its side or the limits are reached.
    fn poll_throw_away(&mut self, until: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        if until.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while self.thrown_away < self.limits.bytes_max {
            let mut buffer = [const { MaybeUninit::uninit() }; BUFFER_BYTES];
            let mut buffer = ReadBuf::uninit(&mut buffer);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.thrown_away += buffer.filled().len() as u64;
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut until = match self.lingering.take() {
            Some(until) => until,
            None => {
                ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                Box::pin(sleep(self.limits.timeout))
            }
        };
        let over = self.poll_throw_away(until.as_mut(), cx);
        self.lingering = Some(until);
        over.map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    const LIMITS: LingerLimits = LingerLimits { bytes_max: 1 << 20, timeout: Duration::from_secs(5) };

    /// Answers and shuts down; returns how long the shutdown took.
    async fn answer(stream: DuplexStream) -> (Duration, Lingering<DuplexStream>) {
        let mut stream = Lingering::new(stream, LIMITS);
        stream.write_all(b"too large").await.expect("it is written");
        let began = Instant::now();
        stream.shutdown().await.expect("it is shut down");
        (began.elapsed(), stream)
    }

    #[tokio::test(start_paused = true)]
    async fn who_writes_first_and_reads_then_gets_the_answer() {
        let (mut client, server) = duplex(64);
        let talk = async {
            client.write_all(&[0; 10_000]).await.expect("somebody reads it");
            let mut answer = [0; 9];
            client.read_exact(&mut answer).await.expect("the answer is there");
            assert_eq!(&answer, b"too large");
            assert_eq!(client.read(&mut answer).await.expect("the end is there"), 0);
            drop(client);
        };
        let ((took, _stream), ()) = tokio::join!(answer(server), talk);
        assert_eq!(took, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_more_and_stays_is_waited_for_a_limited_time() {
        let (client, server) = duplex(64);
        let (took, _stream) = answer(server).await;
        assert!((LIMITS.timeout..LIMITS.timeout * 2).contains(&took), "{took:?}");
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_stops_writing_is_read_up_to_a_limit() {
        let (mut client, server) = duplex(64);
        let talk = async {
            let mut sent = 0_u64;
            while client.write_all(&[0; 64]).await.is_ok() {
                sent += 64;
            }
            sent
        };
        let shut = async {
            let (_took, stream) = answer(server).await;
            stream.thrown_away
        };
        let (thrown_away, sent) = tokio::join!(shut, talk);
        assert!((LIMITS.bytes_max..LIMITS.bytes_max + 64).contains(&thrown_away), "{thrown_away}");
        assert!(sent < thrown_away + 1024, "{sent}");
    }
}
