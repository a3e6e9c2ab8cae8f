//! A module's mailbox: a bounded queue that many put messages in and one takes them from.
//!
//! Tokio's bounded channel keeps its bound, its queue and its reader's waker apart, each with atomics
//! of its own, and takes a lock besides for each message that is read. Here one lock guards all; on
//! the one thread that modules share it is never contended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll, Waker};

/// Says why a mailbox does not take a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// It is full at the moment.
    Full,
    /// Its reader is gone.
    Closed,
}

/// The turn of a sender that waits for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// The senders' end of a mailbox. `S` is what holds its messages.
pub(crate) struct Mailbox<S>(Arc<Shared<S>>);

struct Shared<S> {
    capacity: usize,
    inner: Mutex<Inner<S>>,
}

struct Inner<S> {
    content: S,
    /// How many messages `content` holds.
    filled: usize,
    /// Places that are kept for senders whose turn has come, until they put their messages in.
    kept: usize,
    /// Senders that wait, in the order of their tickets. There are none while there is room.
    waiting: VecDeque<(Ticket, Waker)>,
    next: u64,
    /// The reader, if it waits.
    reader: Option<Waker>,
    is_closed: bool,
}

impl<S> Clone for Mailbox<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Default> Mailbox<S> {
    /// Makes a mailbox for so many messages.
    pub(crate) fn new(capacity: usize) -> (Self, Reader<S>) {
        let inner = Inner {
            content: S::default(),
            filled: 0,
            kept: 0,
            waiting: VecDeque::new(),
            next: 0,
            reader: None,
            is_closed: false,
        };
        let mailbox = Self(Arc::new(Shared { capacity, inner: Mutex::new(inner) }));
        (mailbox.clone(), Reader(mailbox))
    }
}

impl<S> Mailbox<S> {
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message in at once, or gives it back.
    #[inline]
    pub(crate) fn offer<L>(&self, message: L, put: impl FnOnce(&mut S, L)) -> Result<(), (NoRoom, L)> {
        let mut inner = self.lock();
        if let Some(reason) = inner.refuses(self.0.capacity) {
            return Err((reason, message));
        }
        put(&mut inner.content, message);
        inner.filled += 1;
        wake_reader(inner);
        Ok(())
    }

    /// Puts a message in as soon as there is room, or fails once the reader is gone.
    ///
    /// Senders that wait get their turns in the order in which they came. One that gives up while it
    /// has a ticket has to [`leave`](Self::leave).
    pub(crate) fn poll_put<L>(
        &self,
        cx: &task::Context<'_>,
        ticket: &mut Option<Ticket>,
        message: &mut Option<L>,
        put: impl FnOnce(&mut S, L),
    ) -> Poll<Result<(), ()>> {
        let mut inner = self.lock();
        let refused = inner.refuses(self.0.capacity);
        if refused == Some(NoRoom::Closed) {
            *ticket = None;
            return Poll::Ready(Err(()));
        }
        match *ticket {
            None if refused.is_some() => {
                *ticket = Some(inner.queue_up(cx.waker()));
                return Poll::Pending;
            }
            None => {}
            Some(mine) => {
                if let Some(at) = inner.find(mine) {
                    let old = inner.waiting.get_mut(at).and_then(|(_, old)| replace(old, cx.waker()));
                    drop(inner);
                    drop(old);
                    return Poll::Pending;
                }
                inner.kept -= 1;
                *ticket = None;
            }
        }
        if let Some(message) = message.take() {
            put(&mut inner.content, message);
            inner.filled += 1;
        }
        wake_reader(inner);
        Poll::Ready(Ok(()))
    }

    /// Gives up a turn, or the place that was kept for it.
    pub(crate) fn leave(&self, ticket: Ticket) {
        let mut inner = self.lock();
        if let Some(at) = inner.find(ticket) {
            let gone = inner.waiting.remove(at);
            drop(inner);
            drop(gone);
        } else if !inner.is_closed {
            inner.kept -= 1;
            wake_next_sender(inner);
        }
    }

    /// Returns how many places are taken, and how many there are.
    pub(crate) fn depth(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.filled + inner.kept, self.0.capacity)
    }
}

impl<S> Inner<S> {
    #[inline]
    const fn refuses(&self, capacity: usize) -> Option<NoRoom> {
        if self.is_closed {
            Some(NoRoom::Closed)
        } else if self.filled + self.kept >= capacity {
            Some(NoRoom::Full)
        } else {
            None
        }
    }

    fn queue_up(&mut self, waker: &Waker) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.push_back((ticket, waker.clone()));
        ticket
    }

    /// Returns where a sender waits, unless its turn has come.
    fn find(&self, ticket: Ticket) -> Option<usize> {
        self.waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()
    }
}

/// Replaces a waker by another, and returns the old one: to be dropped without the lock, since with a
/// waker a task may be dropped, and with that task a sender.
fn replace(old: &mut Waker, new: &Waker) -> Option<Waker> {
    (!old.will_wake(new)).then(|| std::mem::replace(old, new.clone()))
}

/// Wakes the reader if it waits; without the lock, since a waker may do anything.
#[inline]
fn wake_reader<S>(mut inner: MutexGuard<'_, Inner<S>>) {
    if let Some(reader) = inner.reader.take() {
        drop(inner);
        reader.wake();
    }
}

/// Keeps the place that has become free for the sender that has waited longest, and wakes it.
#[inline]
fn wake_next_sender<S>(mut inner: MutexGuard<'_, Inner<S>>) {
    if let Some((_, sender)) = inner.waiting.pop_front() {
        inner.kept += 1;
        drop(inner);
        sender.wake();
    }
}

/// The reader's end of a mailbox. Dropping it closes and empties the mailbox.
pub(crate) struct Reader<S: Default>(Mailbox<S>);

impl<S: Default> Reader<S> {
    /// Takes the next message, if there is one.
    #[inline]
    pub(crate) fn take<L>(&self, take: impl FnOnce(&mut S) -> Option<L>) -> Option<L> {
        let mut inner = self.0.lock();
        if inner.filled == 0 {
            return None;
        }
        let message = take(&mut inner.content);
        inner.filled -= 1;
        wake_next_sender(inner);
        message
    }

    /// Takes the next message; nothing if there is none and the mailbox is closed.
    #[inline]
    pub(crate) fn poll_take<L>(
        &self,
        cx: &task::Context<'_>,
        take: impl FnOnce(&mut S) -> Option<L>,
    ) -> Poll<Option<L>> {
        let mut inner = self.0.lock();
        if inner.filled > 0 {
            let message = take(&mut inner.content);
            inner.filled -= 1;
            wake_next_sender(inner);
            return Poll::Ready(message);
        }
        if inner.is_closed {
            return Poll::Ready(None);
        }
        let old = match &mut inner.reader {
            Some(reader) => replace(reader, cx.waker()),
            none => none.replace(cx.waker().clone()),
        };
        drop(inner);
        drop(old);
        Poll::Pending
    }

    /// Takes no more messages. Those that lie in the mailbox stay.
    pub(crate) fn close(&self) {
        let mut inner = self.0.lock();
        inner.is_closed = true;
        inner.kept = 0;
        let senders = std::mem::take(&mut inner.waiting);
        drop(inner);
        for (_, sender) in senders {
            sender.wake();
        }
    }

    /// Drops all messages; without the lock, since their destructors may do anything.
    pub(crate) fn clear(&self) {
        let mut inner = self.0.lock();
        inner.filled = 0;
        let content = std::mem::take(&mut inner.content);
        drop(inner);
        drop(content);
    }
}

impl<S: Default> Drop for Reader<S> {
    fn drop(&mut self) {
        self.close();
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    type Numbers = VecDeque<u32>;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A sender with one message, as a future polls it.
    #[derive(Default)]
    struct Sender {
        woken: Arc<Woken>,
        ticket: Option<Ticket>,
    }

    impl Sender {
        fn poll(&mut self, mailbox: &Mailbox<Numbers>, number: u32) -> Poll<Result<(), ()>> {
            let waker = self.woken.clone().into();
            let cx = task::Context::from_waker(&waker);
            mailbox.poll_put(&cx, &mut self.ticket, &mut Some(number), Numbers::push_back)
        }

        fn wakes(&self) -> u32 {
            self.woken.0.load(Ordering::Relaxed)
        }
    }

    fn take(reader: &Reader<Numbers>) -> Poll<Option<u32>> {
        reader.poll_take(&task::Context::from_waker(Waker::noop()), Numbers::pop_front)
    }

    fn offer(mailbox: &Mailbox<Numbers>, number: u32) -> Result<(), NoRoom> {
        mailbox.offer(number, Numbers::push_back).map_err(|(reason, _)| reason)
    }

    #[test]
    fn messages_come_out_in_order_and_no_more_go_in_than_there_is_room() {
        let (mailbox, reader) = Mailbox::new(2);
        assert_eq!(offer(&mailbox, 1), Ok(()));
        assert_eq!(offer(&mailbox, 2), Ok(()));
        assert_eq!(offer(&mailbox, 3), Err(NoRoom::Full));
        assert_eq!(mailbox.depth(), (2, 2));
        assert_eq!(take(&reader), Poll::Ready(Some(1)));
        assert_eq!(offer(&mailbox, 4), Ok(()));
        assert_eq!(take(&reader), Poll::Ready(Some(2)));
        assert_eq!(take(&reader), Poll::Ready(Some(4)));
        assert_eq!(take(&reader), Poll::Pending);
    }

    #[test]
    fn who_waited_first_gets_the_place_and_nobody_takes_it_away() {
        let (mailbox, reader) = Mailbox::new(1);
        let (mut first, mut second) = (Sender::default(), Sender::default());
        assert_eq!(offer(&mailbox, 1), Ok(()));
        assert_eq!(first.poll(&mailbox, 2), Poll::Pending);
        assert_eq!(second.poll(&mailbox, 3), Poll::Pending);
        assert_eq!(take(&reader), Poll::Ready(Some(1)));
        assert_eq!((first.wakes(), second.wakes()), (1, 0));
        assert_eq!(offer(&mailbox, 4), Err(NoRoom::Full));
        assert_eq!(second.poll(&mailbox, 3), Poll::Pending);
        assert_eq!(mailbox.depth(), (1, 1));
        assert_eq!(first.poll(&mailbox, 2), Poll::Ready(Ok(())));
        assert_eq!(take(&reader), Poll::Ready(Some(2)));
        assert_eq!(second.poll(&mailbox, 3), Poll::Ready(Ok(())));
        assert_eq!(take(&reader), Poll::Ready(Some(3)));
    }

    #[test]
    fn a_sender_that_leaves_passes_its_place_on() {
        let (mailbox, reader) = Mailbox::new(1);
        let (mut first, mut second, mut third) = (Sender::default(), Sender::default(), Sender::default());
        assert_eq!(offer(&mailbox, 1), Ok(()));
        assert_eq!(first.poll(&mailbox, 2), Poll::Pending);
        assert_eq!(second.poll(&mailbox, 3), Poll::Pending);
        assert_eq!(third.poll(&mailbox, 4), Poll::Pending);
        // The second leaves while it waits, the first when its turn has come.
        mailbox.leave(second.ticket.unwrap());
        assert_eq!(take(&reader), Poll::Ready(Some(1)));
        mailbox.leave(first.ticket.unwrap());
        assert_eq!((second.wakes(), third.wakes()), (0, 1));
        assert_eq!(third.poll(&mailbox, 4), Poll::Ready(Ok(())));
        assert_eq!(take(&reader), Poll::Ready(Some(4)));
        assert_eq!(mailbox.depth(), (0, 1));
    }

    #[test]
    fn a_closed_mailbox_refuses_all_and_still_gives_what_it_holds() {
        let (mailbox, reader) = Mailbox::new(1);
        let (mut waits, mut called) = (Sender::default(), Sender::default());
        assert_eq!(offer(&mailbox, 0), Ok(()));
        assert_eq!(called.poll(&mailbox, 7), Poll::Pending);
        assert_eq!(take(&reader), Poll::Ready(Some(0)));
        assert_eq!(called.wakes(), 1);
        assert_eq!(waits.poll(&mailbox, 8), Poll::Pending);
        reader.close();
        assert_eq!(waits.wakes(), 1);
        assert_eq!(waits.poll(&mailbox, 8), Poll::Ready(Err(())));
        mailbox.leave(called.ticket.unwrap());
        assert_eq!(offer(&mailbox, 9), Err(NoRoom::Closed));
        assert_eq!(take(&reader), Poll::Ready(None));
        assert_eq!(mailbox.depth(), (0, 1));
    }

    #[test]
    fn a_waiting_reader_is_woken_once() {
        let (mailbox, reader) = Mailbox::new(2);
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        let cx = task::Context::from_waker(&waker);
        assert_eq!(reader.poll_take(&cx, Numbers::pop_front), Poll::Pending);
        assert_eq!(offer(&mailbox, 1), Ok(()));
        assert_eq!(offer(&mailbox, 2), Ok(()));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn dropping_the_reader_drops_the_messages() {
        let (mailbox, reader) = Mailbox::<VecDeque<Arc<()>>>::new(2);
        let message = Arc::new(());
        assert!(mailbox.offer(message.clone(), VecDeque::push_back).is_ok());
        drop(reader);
        assert_eq!(Arc::strong_count(&message), 1);
        assert_eq!(mailbox.depth(), (0, 2));
    }
}
