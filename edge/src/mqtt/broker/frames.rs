//! Reads packets from a connection.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::packet::{FromClient, Header, Malformed};

/// What each connection may hold of a packet; larger ones share a budget.
const SMALL_BYTES: usize = 16 << 10;
/// What is asked of the system at a time.
const CHUNK_BYTES: usize = 4 << 10;
/// The unit of the budget.
const UNIT_BYTES: usize = 1 << 10;

/// Bytes that all connections together may hold of large packets. Who gets none waits, and reads no more.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Semaphore>);

impl Budget {
    /// Makes a budget in which a packet of `packet_bytes_max` fits.
    pub(super) fn new(bytes: usize, packet_bytes_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.max(packet_bytes_max).div_ceil(UNIT_BYTES) + 1)))
    }
}

/// Why no further packet comes.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the client closed the connection")]
    Closed,
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
}

/// The packets of a connection.
#[derive(Debug)]
pub(super) struct Frames<R> {
    reader: R,
    buffer: BytesMut,
    bytes_max: usize,
    budget: Budget,
    /// Held from a large packet's header until the packet after it is asked for.
    share: Option<OwnedSemaphorePermit>,
    /// Since when a packet is incomplete.
    began: Option<Instant>,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(reader: R, bytes_max: usize, budget: Budget) -> Self {
        Self { reader, buffer: BytesMut::new(), bytes_max, budget, share: None, began: None }
    }

    /// Returns since when a packet is incomplete.
    pub(super) const fn began(&self) -> Option<Instant> {
        self.began
    }

    /// Returns the next packet. Dropping the returned future loses nothing.
    pub(super) async fn next(&mut self) -> Result<FromClient, Fault> {
        loop {
            let header = Header::read(&self.buffer)?;
            if let Some(header) = header {
                if header.whole() > self.bytes_max {
                    return Err(Malformed::TooLarge { bytes: header.whole(), max: self.bytes_max }.into());
                }
                if header.whole() <= self.buffer.len() {
                    return Ok(self.take(header)?);
                }
                self.claim(header.whole()).await;
                self.buffer.reserve(header.whole() - self.buffer.len());
            } else {
                self.buffer.reserve(CHUNK_BYTES);
            }
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Err(Fault::Closed);
            }
            self.began.get_or_insert_with(Instant::now);
        }
    }

    fn take(&mut self, header: Header) -> Result<FromClient, Malformed> {
        let body = self.buffer.get(header.bytes..header.whole()).unwrap_or_default();
        let packet = FromClient::read(header.first, body)?;
        self.buffer.advance(header.whole());
        self.began = (!self.buffer.is_empty()).then(Instant::now);
        if header.whole() > SMALL_BYTES {
            // A connection does not stay as large as its largest packet.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        self.share = None;
        Ok(packet)
    }

    /// Waits until a large packet may be held.
    async fn claim(&mut self, bytes: usize) {
        if bytes <= SMALL_BYTES || self.share.is_some() {
            return;
        }
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        // The budget is never closed.
        self.share = Arc::clone(&self.budget.0).acquire_many_owned(units).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures::FutureExt;
    use proptest::prelude::*;
    use tokio::io::ReadBuf;

    use super::*;

    /// Delivers bytes in pieces, and waits for ever after the last one.
    struct Pieces(VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let Some(mut piece) = self.0.pop_front() else { return Poll::Pending };
            let rest = piece.split_off(piece.len().min(into.remaining()));
            into.put_slice(&piece);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
            Poll::Ready(Ok(()))
        }
    }

    fn frames(pieces: Vec<Vec<u8>>, bytes_max: usize) -> Frames<Pieces> {
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        Frames::new(Pieces(pieces), bytes_max, Budget::new(bytes_max, bytes_max))
    }

    /// Reads until nothing more comes, and returns how many packets there were and what ended it.
    fn drain(frames: &mut Frames<Pieces>) -> (usize, Option<Fault>) {
        let mut packets = 0;
        loop {
            match frames.next().now_or_never() {
                Some(Ok(_)) => packets += 1,
                Some(Err(fault)) => return (packets, Some(fault)),
                None => return (packets, None),
            }
        }
    }

    #[test]
    fn packets_are_read_wherever_they_are_cut() {
        let one = [0x32, 7, 0, 1, b'a', 0, 9, b'x', b'y'];
        let bytes: Vec<u8> = [&one[..], &[0xc0, 0], &one[..]].concat();
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            let mut frames = frames(vec![head.to_vec(), tail.to_vec()], 1 << 20);
            let (packets, fault) = drain(&mut frames);
            assert_eq!((packets, fault.is_none(), frames.began()), (3, true, None), "{cut}");
        }
    }

    #[test]
    fn a_packet_that_is_too_large_ends_the_connection_before_it_is_read() {
        let mut frames = frames(vec![vec![0x30, 0xff, 0xff, 0x7f]], 1024);
        let (packets, fault) = drain(&mut frames);
        assert_eq!(packets, 0);
        assert!(matches!(fault, Some(Fault::Malformed(Malformed::TooLarge { max: 1024, .. }))), "{fault:?}");
        assert!(frames.buffer.capacity() <= 2 * CHUNK_BYTES);
    }

    #[test]
    fn a_connection_does_not_stay_as_large_as_its_largest_packet() {
        let mut large = vec![0x30, 0x80, 0x80, 0x10, 0, 1, b'a'];
        large.resize(4 + 0x4_0000, 0);
        let mut frames = frames(vec![large, vec![0xc0, 0, 0xc0]], 1 << 20);
        let (packets, fault) = drain(&mut frames);
        assert_eq!((packets, fault.is_none()), (2, true));
        assert!(frames.buffer.capacity() <= 4 * CHUNK_BYTES, "{}", frames.buffer.capacity());
        assert!(frames.began().is_some(), "a packet has begun");
    }

    #[test]
    fn large_packets_wait_for_each_other() {
        let budget = Budget::new(100 << 10, 100 << 10);
        let large = |length: u8| vec![0x30, 0x80, 0x80, length];
        let reader = |pieces: Vec<Vec<u8>>| Frames::new(Pieces(pieces.into()), 1 << 20, budget.clone());
        let mut first = reader(vec![large(4)]);
        let mut second = reader(vec![large(4), [&[0, 1, b'a'][..], &[0; (64 << 10) - 3]].concat()]);
        assert!(first.next().now_or_never().is_none());
        assert!(second.next().now_or_never().is_none());
        assert_eq!(second.buffer.len(), 4, "its rest is not read");
        drop(first);
        assert!(matches!(second.next().now_or_never(), Some(Ok(FromClient::Publish(_)))));
    }

    proptest! {
        #[test]
        fn whatever_bytes_come_nothing_panics_and_little_is_held(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..64),
        ) {
            let mut frames = frames(pieces, 4096);
            drain(&mut frames);
            prop_assert!(frames.buffer.capacity() <= 4 * (CHUNK_BYTES + 4096));
        }

        #[test]
        fn what_looks_like_a_packet_and_is_none_panics_neither(
            first in prop::sample::select(vec![0x10_u8, 0x30, 0x32, 0x34, 0x3d, 0x40, 0x50, 0x62, 0x70, 0x82, 0xa2, 0xc0, 0xe0]),
            body in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(4), any::<u8>()], 0..127),
        ) {
            let length = u8::try_from(body.len()).expect("short");
            let (packets, fault) = drain(&mut frames(vec![vec![first, length], body], 4096));
            prop_assert_eq!(packets, usize::from(fault.is_none()));
        }
    }
}
