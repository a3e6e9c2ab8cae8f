//! Connections as slow as those of real edges, with the queues that real ones have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use wire::link::{DialTo, Dialed, Dialer, Frame, FrameReader, FrameWriter, Link, LinkError};
use wire::{MemoryNetwork, link_pair};

/// What a connection is like, in each direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Bytes that it carries in a second.
    pub(crate) per_second: u32,
    /// How long each byte is on its way.
    pub(crate) delay: Duration,
    /// Bytes that wait in it: the buffers of two kernels and of what is between them.
    pub(crate) queue: u32,
}

/// Dials into a network through slow connections.
pub(crate) struct Shaped {
    pub(crate) network: MemoryNetwork,
    pub(crate) shape: Shape,
    /// The bytes that all connections carried, both ways.
    pub(crate) carried: Arc<AtomicU64>,
}

#[async_trait]
impl Dialer for Shaped {
    async fn dial(&self, to: DialTo) -> Result<Dialed, LinkError> {
        let bytes_max = to.frame_bytes_max;
        let Dialed { codec, link } = self.network.dial(to).await?;
        Ok(Dialed { codec, link: shaped(link, self.shape, bytes_max, &self.carried) })
    }
}

/// Returns the near end of a connection whose far end is `far`.
fn shaped(far: Link, shape: Shape, bytes_max: usize, carried: &Arc<AtomicU64>) -> Link {
    let (near, middle) = link_pair(1, bytes_max, usize::MAX);
    carry(middle.reader, far.writer, shape, Arc::clone(carried));
    carry(far.reader, middle.writer, shape, Arc::clone(carried));
    near
}

#[expect(clippy::disallowed_methods, reason = "a network outlives the modules that use it")]
fn carry(
    mut from: Box<dyn FrameReader>,
    mut to: Box<dyn FrameWriter>,
    shape: Shape,
    carried: Arc<AtomicU64>,
) {
    let (queue, mut queued) = mpsc::unbounded_channel::<(Frame, OwnedSemaphorePermit)>();
    let (flight, mut in_flight) = mpsc::unbounded_channel::<(Frame, Instant)>();
    let room = Arc::new(Semaphore::new(usize::try_from(shape.queue).expect("a small number")));
    tokio::spawn(async move {
        while let Ok(frame) = from.next().await {
            let size = u32::try_from(frame.payload().len()).expect("a small frame").min(shape.queue);
            carried.fetch_add(frame.payload().len() as u64, Ordering::Relaxed);
            let Ok(permit) = Arc::clone(&room).acquire_many_owned(size).await else { return };
            if queue.send((frame, permit)).is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((frame, permit)) = queued.recv().await {
            let size = u32::try_from(frame.payload().len()).expect("a small frame");
            sleep(Duration::from_secs(1) * size / shape.per_second).await;
            drop(permit);
            if flight.send((frame, Instant::now() + shape.delay)).is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((frame, at)) = in_flight.recv().await {
            sleep_until(at).await;
            if to.send(frame).await.is_err() {
                return;
            }
        }
    });
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_a_connection_holds_up_what_comes_after_it() {
    let shape = Shape { per_second: 10_000, delay: Duration::from_millis(20), queue: 50_000 };
    let (far, mut listener) = link_pair(1, 1 << 20, 1 << 20);
    let mut near = shaped(far, shape, 1 << 20, &Arc::default());
    let started = Instant::now();
    for _ in 0..10 {
        near.writer.send(Frame::Binary(vec![0; 5000].into())).await.expect("it is up");
    }
    near.writer.send(Frame::Binary(vec![0; 10].into())).await.expect("it is up");
    while listener.reader.next().await.expect("it is up").payload().len() > 10 {}
    let took = started.elapsed();
    assert!(took > Duration::from_secs(5) && took < Duration::from_millis(5100), "{took:?}");
}
