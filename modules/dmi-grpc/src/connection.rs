//! One connection to a socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;
use tonic::transport::server::{Connected, UdsConnectInfo};

use crate::authority::Rewriter;

const READ_BYTES: usize = 8 << 10;

/// A connection whose requests have authorities that the HTTP/2 library takes.
pub(crate) struct Connection {
    stream: UnixStream,
    rewriter: Rewriter,
    /// What is to be read, from `given` on.
    ready: Vec<u8>,
    given: usize,
    /// A place among the connections that may be open.
    _place: OwnedSemaphorePermit,
}

impl Connection {
    pub(crate) const fn new(stream: UnixStream, place: OwnedSemaphorePermit) -> Self {
        Self { stream, rewriter: Rewriter::new(), ready: Vec::new(), given: 0, _place: place }
    }
}

impl Connected for Connection {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> UdsConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.given == this.ready.len() {
            this.ready.clear();
            this.given = 0;
            let mut bytes = [0; READ_BYTES];
            let mut arrived = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut arrived))?;
            if arrived.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.rewriter.feed(arrived.filled(), &mut this.ready);
        }
        let waiting = this.ready.get(this.given..).unwrap_or_default();
        let taken = waiting.get(..buf.remaining().min(waiting.len())).unwrap_or_default();
        buf.put_slice(taken);
        this.given += taken.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
