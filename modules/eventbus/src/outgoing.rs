//! What is to be published and has not been sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use beehive::Responder;
use protocol::rules::DeliverError;
use tokio::sync::Notify;

use crate::ports::Publication;

/// Messages that wait for the broker, and their bytes together.
const MESSAGES_MAX: usize = 256;
const BYTES_MAX: usize = 4 << 20;

/// The way to the connection that publishes. One task takes; without a connection nothing waits.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Notify,
}

/// Who waits until the broker has a message, if anybody does.
pub(crate) type Asker = Option<Responder<Result<(), DeliverError>>>;

/// A message that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) publication: Publication,
    asker: Asker,
}

impl Waiting {
    /// Tells whoever waits what became of the message.
    pub(crate) fn done(self, outcome: Result<(), DeliverError>) {
        tell(self.asker, outcome);
    }
}

fn tell(asker: Asker, outcome: Result<(), DeliverError>) {
    if let Some(asker) = asker {
        asker.reply(outcome);
    }
}

#[derive(Debug, Default)]
struct Queue {
    is_open: bool,
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

/// What became of a message that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits.
    Queued,
    /// It waits, and so many older ones were dropped for it.
    Displaced(usize),
    /// It was dropped: there is no connection.
    Away,
    /// It was dropped: it is larger than all that may wait.
    TooLarge,
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared { queue: Mutex::default(), arrived: Notify::new() }))
    }

    /// Lets messages wait from now on.
    pub(crate) fn open(&self) {
        self.queue().is_open = true;
    }

    /// Drops what waits and all that comes, and returns how much waited.
    pub(crate) fn close(&self) -> usize {
        let waiting = std::mem::take(&mut *self.queue()).waiting;
        let lost = waiting.len();
        waiting.into_iter().for_each(|waiting| waiting.done(Err(DeliverError::Away)));
        lost
    }

    pub(crate) fn push(&self, publication: Publication, asker: Asker) -> Pushed {
        let bytes = size(&publication);
        let mut queue = self.queue();
        if !queue.is_open {
            tell(asker, Err(DeliverError::Away));
            return Pushed::Away;
        }
        if bytes > BYTES_MAX {
            tell(asker, Err(DeliverError::TooLarge));
            return Pushed::TooLarge;
        }
        let mut displaced = 0;
        while queue.waiting.len() >= MESSAGES_MAX || queue.bytes + bytes > BYTES_MAX {
            let Some(oldest) = queue.waiting.pop_front() else { break };
            queue.bytes -= size(&oldest.publication);
            oldest.done(Err(DeliverError::Overloaded));
            displaced += 1;
        }
        queue.bytes += bytes;
        queue.waiting.push_back(Waiting { publication, asker });
        drop(queue);
        self.0.arrived.notify_one();
        if displaced == 0 { Pushed::Queued } else { Pushed::Displaced(displaced) }
    }

    /// Returns the oldest message, once there is one.
    pub(crate) async fn take(&self) -> Waiting {
        loop {
            if let Some(waiting) = self.pop() {
                return waiting;
            }
            self.0.arrived.notified().await;
        }
    }

    fn pop(&self) -> Option<Waiting> {
        let mut queue = self.queue();
        let waiting = queue.waiting.pop_front()?;
        queue.bytes -= size(&waiting.publication);
        Some(waiting)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(publication: &Publication) -> usize {
    publication.topic.len() + publication.payload.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ports::Qos;

    fn publication(topic: &str, bytes: usize) -> Publication {
        let payload = Bytes::from(vec![0; bytes]);
        Publication { topic: topic.to_owned(), payload, qos: Qos::AtLeastOnce, is_retained: false }
    }

    fn topics(outgoing: &Outgoing) -> Vec<String> {
        std::iter::from_fn(|| outgoing.pop()).map(|waiting| waiting.publication.topic).collect()
    }

    #[test]
    fn the_oldest_give_way_to_newer_ones_by_number_and_by_bytes() {
        let outgoing = Outgoing::new();
        outgoing.open();
        for number in 0..MESSAGES_MAX {
            assert_eq!(outgoing.push(publication(&number.to_string(), 1), None), Pushed::Queued);
        }
        assert_eq!(outgoing.push(publication("last", 1), None), Pushed::Displaced(1));
        let waiting = topics(&outgoing);
        assert_eq!((waiting.len(), waiting.first().map(String::as_str)), (MESSAGES_MAX, Some("1")));
        assert_eq!(waiting.last().map(String::as_str), Some("last"));
        for name in ["a", "b", "c"] {
            assert_eq!(outgoing.push(publication(name, 1 << 20), None), Pushed::Queued);
        }
        assert_eq!(outgoing.push(publication("d", 3 << 20), None), Pushed::Displaced(3));
        assert_eq!(outgoing.push(publication("e", 5 << 20), None), Pushed::TooLarge);
        assert_eq!(topics(&outgoing), ["d"]);
        assert_eq!(outgoing.queue().bytes, 0);
    }

    #[test]
    fn nothing_waits_without_a_connection() {
        let outgoing = Outgoing::new();
        assert_eq!(outgoing.push(publication("a", 1), None), Pushed::Away);
        outgoing.open();
        assert_eq!(outgoing.push(publication("b", 1), None), Pushed::Queued);
        assert_eq!(outgoing.close(), 1);
        assert_eq!(outgoing.push(publication("c", 1), None), Pushed::Away);
        outgoing.open();
        assert_eq!(topics(&outgoing), [""; 0]);
    }
}
