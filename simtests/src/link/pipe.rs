//! One direction of one connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use wire::link::{Frame, FrameReader, FrameWriter, LinkError};

use super::{BYTES_MAX, Direction, FRAMES_MAX, Network, State};

/// What is on its way in one direction.
#[derive(Debug)]
pub(super) struct Pipe {
    frames: VecDeque<(Instant, Frame)>,
    bytes: usize,
    /// When the wire is free for the next frame, and when the last one arrives.
    free_at: Instant,
    last_due: Instant,
    ended: bool,
    reader_is_gone: bool,
    pub(super) readable: Arc<Notify>,
    pub(super) writable: Arc<Notify>,
}

impl Pipe {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            free_at: now,
            last_due: now,
            ended: false,
            reader_is_gone: false,
            readable: Arc::default(),
            writable: Arc::default(),
        }
    }

    /// Sends a frame that occupies the wire for `busy` and is on its way for `latency` after that.
    pub(super) fn push(&mut self, frame: Frame, busy: Duration, latency: Duration) {
        self.free_at = self.free_at.max(Instant::now()) + busy;
        self.last_due = self.last_due.max(self.free_at + latency);
        self.bytes += frame.payload().len();
        self.frames.push_back((self.last_due, frame));
        self.readable.notify_one();
    }

    /// Lets nothing arrive before `at`.
    pub(super) fn not_before(&mut self, at: Instant) {
        if self.frames.is_empty() && !self.ended {
            return;
        }
        for (due, _) in &mut self.frames {
            *due = at.max(*due);
        }
        self.last_due = self.last_due.max(at);
    }

    fn has_room(&self, size: usize) -> bool {
        self.frames.is_empty() || (self.frames.len() < FRAMES_MAX && self.bytes + size <= BYTES_MAX)
    }
}

/// Names one end of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Half {
    pub(super) connection: u64,
    pub(super) direction: Direction,
}

enum Next {
    Frame(Frame),
    Over(LinkError),
    At(Instant),
    Later,
}

impl State {
    fn next(&mut self, half: Half, now: Instant) -> Next {
        let Some(connection) = self.connections.get(&half.connection) else {
            return Next::Over(LinkError::Closed);
        };
        if connection.is_broken {
            return Next::Over(LinkError::Transport("connection reset by peer".to_owned()));
        }
        let (node, is_stuck) = (connection.node.clone(), connection.is_stuck);
        if is_stuck || !self.is_open(&node, half.direction) {
            return Next::Later;
        }
        let Some(pipe) = self.pipe(half) else { return Next::Over(LinkError::Closed) };
        match pipe.frames.front() {
            Some((due, _)) if *due > now => Next::At(*due),
            Some(_) => pipe.frames.pop_front().map_or(Next::Later, |(_, frame)| {
                pipe.bytes -= frame.payload().len();
                pipe.writable.notify_one();
                Next::Frame(frame)
            }),
            None if pipe.ended && pipe.last_due > now => Next::At(pipe.last_due),
            None if pipe.ended => Next::Over(LinkError::Closed),
            None => Next::Later,
        }
    }

    fn pipe(&mut self, half: Half) -> Option<&mut Pipe> {
        Some(&mut self.connections.get_mut(&half.connection)?.pipes[half.direction.at()])
    }

    /// Says whether a frame may be sent, or why none ever will.
    fn may_send(&mut self, half: Half, size: usize) -> Result<bool, LinkError> {
        let connection = self.connections.get(&half.connection).ok_or(LinkError::Closed)?;
        if connection.is_broken {
            return Err(LinkError::Transport("connection reset by peer".to_owned()));
        }
        let (node, is_stuck) = (connection.node.clone(), connection.is_stuck);
        let is_told = !is_stuck && Direction::BOTH.into_iter().all(|way| self.is_open(&node, way));
        let pipe = self.pipe(half).ok_or(LinkError::Closed)?;
        if pipe.ended || (pipe.reader_is_gone && is_told) {
            return Err(LinkError::Closed);
        }
        Ok(pipe.has_room(size))
    }

    /// One of the four holds on a connection is let go.
    fn let_go(&mut self, half: Half) {
        let Some(connection) = self.connections.get_mut(&half.connection) else { return };
        connection.halves -= 1;
        if connection.halves == 0 {
            self.connections.remove(&half.connection);
        }
    }

    fn end(&mut self, half: Half) {
        let Some(node) = self.connections.get(&half.connection).map(|connection| connection.node.clone())
        else {
            return;
        };
        let latency = self.latency(&node);
        let Some(pipe) = self.pipe(half) else { return };
        if !pipe.ended {
            pipe.ended = true;
            pipe.last_due = pipe.last_due.max(Instant::now() + latency);
            pipe.readable.notify_one();
        }
    }
}

pub(super) struct Reader {
    pub(super) network: Network,
    pub(super) half: Half,
    pub(super) readable: Arc<Notify>,
    pub(super) bytes_max: usize,
}

#[async_trait]
impl FrameReader for Reader {
    async fn next(&mut self) -> Result<Frame, LinkError> {
        loop {
            let next = self.network.lock().next(self.half, Instant::now());
            match next {
                Next::Frame(frame) => return self.arrived(frame),
                Next::Over(error) => return Err(error),
                Next::Later => self.readable.notified().await,
                Next::At(due) => tokio::select! {
                    biased;
                    () = self.readable.notified() => {}
                    () = sleep_until(due) => {}
                },
            }
        }
    }
}

impl Reader {
    fn arrived(&self, frame: Frame) -> Result<Frame, LinkError> {
        let size = frame.payload().len();
        let mut state = self.network.lock();
        if let Some(connection) = state.connections.get_mut(&self.half.connection) {
            if size > self.bytes_max {
                connection.is_broken = true;
                connection.pipes[self.half.direction.at()].writable.notify_one();
                return Err(LinkError::TooLarge { size, max: self.bytes_max });
            }
            let (node, direction) = (&connection.node, self.half.direction);
            self.network.world.record(format_args!("link {node} {direction:?} brought {size} bytes"));
        }
        Ok(frame)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.network.lock();
        if let Some(pipe) = state.pipe(self.half) {
            pipe.reader_is_gone = true;
            pipe.writable.notify_one();
        }
        state.let_go(self.half);
    }
}

pub(super) struct Writer {
    pub(super) network: Network,
    pub(super) half: Half,
    pub(super) writable: Arc<Notify>,
}

#[async_trait]
impl FrameWriter for Writer {
    async fn send(&mut self, frame: Frame) -> Result<(), LinkError> {
        loop {
            {
                let mut state = self.network.lock();
                if state.may_send(self.half, frame.payload().len())? {
                    let sent = state.dispatch(&self.network.world, self.half, frame);
                    return sent.ok_or(LinkError::Closed);
                }
            }
            self.writable.notified().await;
        }
    }

    async fn close(&mut self) {
        self.network.lock().end(self.half);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.network.lock();
        state.end(self.half);
        state.let_go(self.half);
    }
}
