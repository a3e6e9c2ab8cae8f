//! Links within one process, bounded as those between machines are.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::codec::Codec;
use crate::link::{
    Accepted, DialTo, Dialed, Dialer, Frame, FrameReader, FrameWriter, Identity, Incoming, Link, LinkError,
    ListenOn, Listener,
};

/// The bounds of an in-memory network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Frames that may wait in each direction of a link.
    pub frames_max: usize,
    /// Connections that may wait to be accepted.
    pub backlog_max: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { frames_max: 64, backlog_max: 128 }
    }
}

struct MemoryReader {
    frames: mpsc::Receiver<Frame>,
    bytes_max: usize,
}

#[async_trait]
impl FrameReader for MemoryReader {
    async fn next(&mut self) -> Result<Frame, LinkError> {
        let frame = self.frames.recv().await.ok_or(LinkError::Closed)?;
        let size = frame.payload().len();
        if size > self.bytes_max {
            self.frames.close();
            return Err(LinkError::TooLarge { size, max: self.bytes_max });
        }
        Ok(frame)
    }
}

struct MemoryWriter {
    frames: Option<mpsc::Sender<Frame>>,
}

#[async_trait]
impl FrameWriter for MemoryWriter {
    async fn send(&mut self, frame: Frame) -> Result<(), LinkError> {
        let frames = self.frames.as_ref().ok_or(LinkError::Closed)?;
        frames.send(frame).await.map_err(|_| LinkError::Closed)
    }

    async fn close(&mut self) {
        self.frames = None;
    }
}

/// Makes the two ends of a link. Each direction holds at most `frames_max` frames, and each end
/// refuses to read a frame of more than its own number of bytes.
#[must_use]
pub fn link_pair(frames_max: usize, left_bytes_max: usize, right_bytes_max: usize) -> (Link, Link) {
    let (to_right, from_left) = mpsc::channel(frames_max.max(1));
    let (to_left, from_right) = mpsc::channel(frames_max.max(1));
    let end = |frames, bytes_max, out| Link {
        reader: Box::new(MemoryReader { frames, bytes_max }),
        writer: Box::new(MemoryWriter { frames: Some(out) }),
    };
    (end(from_right, left_bytes_max, to_right), end(from_left, right_bytes_max, to_left))
}

struct Hub {
    limits: MemoryLimits,
    accepting: Mutex<Option<Accepting>>,
}

#[derive(Clone)]
struct Accepting {
    backlog: mpsc::Sender<Accepted>,
    frame_bytes_max: usize,
}

/// A network of one cloud and any number of edges within one process: both a [`Dialer`] and a
/// [`Listener`]. Clones are the same network.
///
/// The newest listener replaces an older one. Dialing while nobody listens fails at once.
#[derive(Clone)]
pub struct MemoryNetwork {
    hub: Arc<Hub>,
}

impl MemoryNetwork {
    /// Makes a network.
    #[must_use]
    pub fn new(limits: MemoryLimits) -> Self {
        Self { hub: Arc::new(Hub { limits, accepting: Mutex::new(None) }) }
    }

    fn accepting(&self) -> Option<Accepting> {
        self.hub.accepting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Default for MemoryNetwork {
    fn default() -> Self {
        Self::new(MemoryLimits::default())
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork").field("limits", &self.hub.limits).finish_non_exhaustive()
    }
}

#[async_trait]
impl Dialer for MemoryNetwork {
    async fn dial(&self, to: DialTo) -> Result<Dialed, LinkError> {
        let Some(accepting) = self.accepting() else {
            return Err(LinkError::Transport("nobody listens in this process".to_owned()));
        };
        let codec = to.codecs.first().copied().unwrap_or(Codec::KubeEdge);
        let (ours, theirs) =
            link_pair(self.hub.limits.frames_max, to.frame_bytes_max, accepting.frame_bytes_max);
        let accepted = Accepted {
            identity: Identity::SameProcess,
            claimed: to.node.to_string(),
            codec,
            transport: to.transport,
            address: "in-process".to_owned(),
            link: theirs,
        };
        match timeout(to.handshake_timeout, accepting.backlog.send(accepted)).await {
            Err(_) => Err(LinkError::HandshakeTimeout(to.handshake_timeout)),
            Ok(Err(_)) => Err(LinkError::Transport("nobody listens in this process".to_owned())),
            Ok(Ok(())) => Ok(Dialed { codec, link: ours }),
        }
    }
}

struct MemoryIncoming {
    backlog: mpsc::Receiver<Accepted>,
}

#[async_trait]
impl Incoming for MemoryIncoming {
    async fn accept(&mut self) -> Result<Accepted, LinkError> {
        self.backlog.recv().await.ok_or(LinkError::Closed)
    }
}

#[async_trait]
impl Listener for MemoryNetwork {
    async fn listen(&self, on: ListenOn) -> Result<Box<dyn Incoming>, LinkError> {
        let (sender, backlog) = mpsc::channel(self.hub.limits.backlog_max.max(1));
        let accepting = Accepting { backlog: sender, frame_bytes_max: on.frame_bytes_max };
        *self.hub.accepting.lock().unwrap_or_else(PoisonError::into_inner) = Some(accepting);
        Ok(Box::new(MemoryIncoming { backlog }))
    }
}
