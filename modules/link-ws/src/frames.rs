//! Frames over an established WebSocket.

use async_trait::async_trait;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use wire::link::{Frame, FrameReader, FrameWriter, Link, LinkError};

/// What each connection reads at a time. The library's default would cost each idle link 128 KiB.
const READ_BUFFER_BYTES: usize = 8 << 10;

/// Returns the settings of a connection whose frames have at most `bytes_max` bytes.
#[must_use]
pub fn settings(bytes_max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(bytes_max))
        .max_frame_size(Some(bytes_max))
}

/// Makes a link of an established WebSocket.
#[must_use]
pub fn link<S>(socket: WebSocketStream<S>) -> Link
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sink, stream) = socket.split();
    Link { reader: Box::new(Reader(stream)), writer: Box::new(Writer(sink)) }
}

struct Reader<S>(SplitStream<WebSocketStream<S>>);

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Send + Unpin> FrameReader for Reader<S> {
    async fn next(&mut self) -> Result<Frame, LinkError> {
        loop {
            match self.0.next().await {
                None | Some(Ok(Message::Close(_))) => return Err(LinkError::Closed),
                Some(Ok(Message::Text(text))) => return Ok(Frame::Text(text.into())),
                Some(Ok(Message::Binary(bytes))) => return Ok(Frame::Binary(bytes)),
                // The library answers pings by itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(link_error(error)),
            }
        }
    }
}

struct Writer<S>(SplitSink<WebSocketStream<S>, Message>);

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Send + Unpin> FrameWriter for Writer<S> {
    async fn send(&mut self, frame: Frame) -> Result<(), LinkError> {
        let message = match frame {
            Frame::Binary(bytes) => Message::Binary(bytes),
            Frame::Text(bytes) => match Utf8Bytes::try_from(bytes) {
                Ok(text) => Message::Text(text),
                Err(_) => return Err(LinkError::Local("a text frame is not UTF-8".to_owned())),
            },
        };
        self.0.send(message).await.map_err(link_error)
    }

    async fn close(&mut self) {
        if let Err(error) = self.0.close().await {
            tracing::trace!(%error, "the link was closed without a farewell");
        }
    }
}

fn link_error(error: Error) -> LinkError {
    match error {
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => LinkError::Closed,
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            LinkError::TooLarge { size, max: max_size }
        }
        // Upstream's ends drop the connection without a word.
        Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => LinkError::Closed,
        error => LinkError::Transport(error.to_string()),
    }
}
