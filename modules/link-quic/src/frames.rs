//! Frames on a stream: a number that says how long a frame is and of which type, then its content.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::time::timeout;
use wire::link::{Frame, FrameReader, FrameWriter, LinkError};

use crate::failure::link_error;

/// What is read at a time.
const READ_BYTES: usize = 16 << 10;
/// The most bytes that a frame's head may have.
const HEAD_BYTES_MAX: usize = 5;
/// A frame up to this size is copied behind its head, a larger one is sent as it is.
const COPIED_BYTES_MAX: usize = 1 << 10;
/// The time that the last words may take to arrive.
const FAREWELL: Duration = Duration::from_secs(1);
/// What a connection is closed with when a frame was too large.
pub(crate) const TOO_LARGE: VarInt = VarInt::from_u32(3);

pub(crate) struct Reader {
    pub(crate) connection: Connection,
    pub(crate) stream: RecvStream,
    pub(crate) bytes_max: usize,
    buffer: BytesMut,
}

impl Reader {
    pub(crate) fn new(connection: Connection, stream: RecvStream, bytes_max: usize) -> Self {
        Self { connection, stream, bytes_max, buffer: BytesMut::new() }
    }

    /// Takes a frame of what was read, once it is complete.
    fn take(&mut self) -> Result<Option<Frame>, LinkError> {
        let Some(head) = Head::parse(&self.buffer)? else { return Ok(None) };
        if head.size > self.bytes_max {
            self.connection.close(TOO_LARGE, b"a frame was too large");
            return Err(LinkError::TooLarge { size: head.size, max: self.bytes_max });
        }
        if self.buffer.len() < head.own_size + head.size {
            return Ok(None);
        }
        let mut payload = self.buffer.split_to(head.own_size + head.size).freeze();
        if self.buffer.is_empty() {
            // A large frame's memory goes with it.
            self.buffer = BytesMut::new();
        }
        let payload = payload.split_off(head.own_size);
        Ok(Some(if head.is_text { Frame::Text(payload) } else { Frame::Binary(payload) }))
    }
}

#[async_trait]
impl FrameReader for Reader {
    async fn next(&mut self) -> Result<Frame, LinkError> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            match self.stream.read_chunk(READ_BYTES, true).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) if self.buffer.is_empty() => return Err(LinkError::Closed),
                Ok(None) => return Err(LinkError::Transport("the stream ended within a frame".to_owned())),
                Err(ReadError::ConnectionLost(error)) => return Err(link_error(&error)),
                Err(error) => return Err(LinkError::Transport(error.to_string())),
            }
        }
    }
}

pub(crate) struct Writer {
    pub(crate) stream: SendStream,
}

#[async_trait]
impl FrameWriter for Writer {
    async fn send(&mut self, frame: Frame) -> Result<(), LinkError> {
        let mut head = Head::write(&frame)?;
        let payload = match frame {
            Frame::Text(payload) | Frame::Binary(payload) => payload,
        };
        let sent = if payload.len() <= COPIED_BYTES_MAX {
            head.extend_from_slice(&payload);
            self.stream.write_chunk(head.freeze()).await
        } else {
            self.stream.write_all_chunks(&mut [head.freeze(), payload]).await
        };
        sent.map_err(|error| match error {
            WriteError::ConnectionLost(error) => link_error(&error),
            WriteError::Stopped(_) | WriteError::ClosedStream => LinkError::Closed,
            error => LinkError::Transport(error.to_string()),
        })
    }

    async fn close(&mut self) {
        if self.stream.finish().is_err() {
            return;
        }
        if timeout(FAREWELL, self.stream.stopped()).await.is_err() {
            tracing::trace!("the link was closed before the peer had all of it");
        }
    }
}

/// What stands before a frame: its size and its type in one number, seven bits in a byte, the lowest
/// first.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    own_size: usize,
    size: usize,
    is_text: bool,
}

impl Head {
    /// Returns the head of a frame, with room for a small frame behind it.
    fn write(frame: &Frame) -> Result<BytesMut, LinkError> {
        let (size, is_text) = (frame.payload().len(), matches!(frame, Frame::Text(_)));
        let max = usize::try_from(u32::MAX >> 1).unwrap_or(usize::MAX);
        if size > max {
            return Err(LinkError::TooLarge { size, max });
        }
        let mut rest = (size << 1) | usize::from(is_text);
        let mut head = BytesMut::with_capacity(HEAD_BYTES_MAX + size.min(COPIED_BYTES_MAX));
        while rest > 0x7f {
            head.put_u8(low_bits(rest) | 0x80);
            rest >>= 7;
        }
        head.put_u8(low_bits(rest));
        Ok(head)
    }

    /// Reads a head; `None` while it is incomplete.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, LinkError> {
        let mut number: u64 = 0;
        for (at, byte) in bytes.iter().take(HEAD_BYTES_MAX).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                let size = usize::try_from(number >> 1).unwrap_or(usize::MAX);
                return Ok(Some(Self { own_size: at + 1, size, is_text: number & 1 == 1 }));
            }
        }
        if bytes.len() < HEAD_BYTES_MAX {
            return Ok(None);
        }
        Err(LinkError::Transport("what arrived is no frame".to_owned()))
    }
}

fn low_bits(number: usize) -> u8 {
    number.to_le_bytes()[0] & 0x7f
}

/// Makes a text frame.
pub(crate) fn text(content: Vec<u8>) -> Frame {
    Frame::Text(Bytes::from(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_how_long_a_frame_is_and_of_which_type() {
        for size in [0, 1, 63, 64, 1024, 8191, 8192, (1 << 20) - 1, 16 << 20] {
            for is_text in [false, true] {
                let payload = Bytes::from(vec![b'x'; size]);
                let frame = if is_text { Frame::Text(payload) } else { Frame::Binary(payload) };
                let head = Head::write(&frame).expect("it is not too large");
                let expected = Head { own_size: head.len(), size, is_text };
                assert_eq!(Head::parse(&head), Ok(Some(expected)));
                for part in 0..head.len() {
                    assert_eq!(Head::parse(&head[..part]), Ok(None), "{part} bytes of {head:?}");
                }
            }
        }
        let small = Head::write(&Frame::Binary(Bytes::from_static(b"?"))).expect("it is small");
        assert_eq!(small.len(), 1, "a ping has one byte of its own, and one before it");
    }

    #[test]
    fn a_head_without_an_end_is_no_frame() {
        assert!(Head::parse(&[0xff; 5]).is_err());
        assert!(Head::parse(&[0xff; 9]).is_err());
    }
}
