//! The sending side of a session: two bounded lanes onto one link.
//!
//! What keeps the link alive never waits behind data, and a session never waits for the peer:
//! it asks for room and sends when there is some.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::link::{Frame, FrameWriter, LinkError};

/// Frames of liveness that may wait: more means that the link does not drain.
const URGENT_MAX: usize = 16;

/// The bounds of a session's sending side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneLimits {
    /// Frames of data that may wait.
    pub frames_max: usize,
    /// How many of these are kept for [`Lanes::must_send`].
    pub reserve: usize,
    /// The longest time that one frame may take.
    pub write_timeout: Duration,
}

/// Says that the link does not drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link does not drain")]
pub struct Stuck;

/// The lanes of one link.
#[derive(Debug)]
pub struct Lanes {
    urgent: mpsc::Sender<Frame>,
    data: mpsc::Sender<Frame>,
    reserve: usize,
}

impl Lanes {
    /// Makes the lanes of `writer`, and the future that writes. It must be polled beside the
    /// session; it ends when the link does, or once the lanes are dropped and drained.
    pub fn new(
        writer: Box<dyn FrameWriter>,
        limits: LaneLimits,
    ) -> (Self, impl Future<Output = LinkError> + Send) {
        let (urgent, urgent_frames) = mpsc::channel(URGENT_MAX);
        let (data, data_frames) = mpsc::channel(limits.frames_max.max(limits.reserve + 1));
        let writing = write(writer, urgent_frames, data_frames, limits.write_timeout);
        (Self { urgent, data, reserve: limits.reserve }, writing)
    }

    /// Sends a frame ahead of all data.
    ///
    /// # Errors
    ///
    /// When too many such frames wait already.
    pub fn send_first(&self, frame: Frame) -> Result<(), Stuck> {
        self.urgent.try_send(frame).map_err(|_| Stuck)
    }

    /// Tells whether there is room for data beyond the reserve.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.data.capacity() > self.reserve
    }

    /// Waits until there is room for data beyond the reserve, or for ever if the link ended.
    pub async fn room(&self) {
        if self.data.reserve_many(self.reserve + 1).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Sends a frame of data, using the reserve if need be.
    ///
    /// # Errors
    ///
    /// When the reserve is used up.
    pub fn must_send(&self, frame: Frame) -> Result<(), Stuck> {
        self.data.try_send(frame).map_err(|_| Stuck)
    }
}

async fn write(
    mut writer: Box<dyn FrameWriter>,
    mut urgent: mpsc::Receiver<Frame>,
    mut data: mpsc::Receiver<Frame>,
    limit: Duration,
) -> LinkError {
    loop {
        let frame = tokio::select! {
            biased;
            Some(frame) = urgent.recv() => frame,
            Some(frame) = data.recv() => frame,
            else => {
                writer.close().await;
                return LinkError::Closed;
            }
        };
        match timeout(limit, writer.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(_) => return LinkError::Transport(format!("a frame was not written within {limit:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::memory::link_pair;

    fn frame(text: &'static str) -> Frame {
        Frame::Text(Bytes::from_static(text.as_bytes()))
    }

    fn limits() -> LaneLimits {
        LaneLimits { frames_max: 4, reserve: 2, write_timeout: Duration::from_secs(30) }
    }

    #[tokio::test(start_paused = true)]
    async fn urgent_frames_overtake_data_and_all_is_written_before_the_end() {
        let (left, mut right) = link_pair(16, 1024, 1024);
        let (lanes, writing) = Lanes::new(left.writer, limits());
        lanes.must_send(frame("data")).expect("room");
        lanes.send_first(frame("ping")).expect("room");
        drop(lanes);
        assert_eq!(writing.await, LinkError::Closed);
        assert_eq!(right.reader.next().await, Ok(frame("ping")));
        assert_eq!(right.reader.next().await, Ok(frame("data")));
        assert_eq!(right.reader.next().await, Err(LinkError::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn room_ends_before_the_reserve_and_comes_back_when_the_peer_reads() {
        let (left, mut right) = link_pair(1, 1024, 1024);
        let (lanes, writing) = Lanes::new(left.writer, limits());
        assert!(lanes.has_room());
        lanes.must_send(frame("1")).expect("room");
        lanes.must_send(frame("2")).expect("room");
        assert!(!lanes.has_room());
        lanes.must_send(frame("3")).expect("reserve");
        lanes.must_send(frame("4")).expect("reserve");
        assert_eq!(lanes.must_send(frame("5")), Err(Stuck));
        let reading = async {
            for text in ["1", "2", "3"] {
                assert_eq!(right.reader.next().await, Ok(frame(text)));
            }
            lanes.room().await;
        };
        tokio::select! {
            biased;
            error = writing => panic!("the link is fine: {error}"),
            () = reading => assert!(lanes.has_room()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_reads_ends_the_writing() {
        let (left, _right) = link_pair(1, 1024, 1024);
        let (lanes, writing) = Lanes::new(left.writer, limits());
        lanes.must_send(frame("1")).expect("room");
        lanes.must_send(frame("2")).expect("room");
        assert!(matches!(writing.await, LinkError::Transport(_)));
    }
}
