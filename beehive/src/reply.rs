//! The way an answer takes back.

use tokio::sync::oneshot;

/// Answers one request, now or later, from anywhere.
///
/// Dropping it unanswered gives the asker [`AskError::Dropped`](crate::AskError::Dropped). For a
/// message that nobody waits for, it leads nowhere.
#[derive(Debug)]
pub struct Responder<R>(Option<oneshot::Sender<R>>);

impl<R> Responder<R> {
    pub(crate) const fn new(sender: Option<oneshot::Sender<R>>) -> Self {
        Self(sender)
    }

    /// Answers the request. An asker that has left misses nothing.
    pub fn reply(self, reply: R) {
        if let Some(sender) = self.0 {
            drop(sender.send(reply));
        }
    }

    /// Returns whether nobody waits for the answer any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}
