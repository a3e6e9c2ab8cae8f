//! A conversation on a link: the thin part with a clock and a socket.
//!
//! A session speaks through its line and never waits for the peer: it asks for room and speaks when
//! there is some, while the writing goes on beside it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::link::{FrameWriter, LinkError};
use crate::session::{Conversation, End};

struct Shared<E: End> {
    conversation: RefCell<Conversation<E>>,
    started: Instant,
    said: Notify,
    written: Notify,
    closed: Cell<bool>,
}

/// A session's hold on its conversation. Once it is dropped and all is written, the link is closed.
pub struct Line<E: End>(Rc<Shared<E>>);

impl<E: End> fmt::Debug for Line<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

impl<E: End> Line<E> {
    /// Puts a conversation that began at `started` on a link, each of whose frames may take
    /// `write_timeout`. The future writes: it must be polled beside the session, and ends when the
    /// link does.
    pub fn new(
        conversation: Conversation<E>,
        started: Instant,
        writer: Box<dyn FrameWriter>,
        write_timeout: Duration,
    ) -> (Self, impl Future<Output = LinkError>) {
        let shared = Rc::new(Shared {
            conversation: RefCell::new(conversation),
            started,
            said: Notify::new(),
            written: Notify::new(),
            closed: Cell::new(false),
        });
        (Self(Rc::clone(&shared)), write(shared, writer, write_timeout))
    }

    /// Returns the time since the session began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Speaks or listens, now.
    pub fn with<R>(&self, act: impl FnOnce(&mut Conversation<E>, Duration) -> R) -> R {
        let result = act(&mut self.0.conversation.borrow_mut(), self.now());
        self.0.said.notify_one();
        result
    }

    /// Waits until something was written since the last wait.
    pub async fn written(&self) {
        self.0.written.notified().await;
    }
}

impl<E: End> Drop for Line<E> {
    fn drop(&mut self) {
        self.0.closed.set(true);
        self.0.said.notify_one();
    }
}

async fn write<E: End>(
    line: Rc<Shared<E>>,
    mut writer: Box<dyn FrameWriter>,
    write_timeout: Duration,
) -> LinkError {
    loop {
        let next = line.conversation.borrow_mut().next_frame(line.started.elapsed());
        match next {
            Some(frame) => match timeout(write_timeout, writer.send(frame)).await {
                Ok(Ok(())) => line.written.notify_one(),
                Ok(Err(error)) => return error,
                Err(_) => {
                    return LinkError::Transport(format!("a frame was not written within {write_timeout:?}"));
                }
            },
            None if line.closed.get() => {
                writer.close().await;
                return LinkError::Closed;
            }
            None => line.said.notified().await,
        }
    }
}
