//! What lies in a module's mailbox: letters of many types, in the order in which they came.

use std::any::{Any, TypeId};
use std::collections::VecDeque;
use std::task::{self, Poll};

use tokio::task::coop::consume_budget;

use crate::mailbox::{Mailbox, Ticket};
use crate::message::Message;
use crate::module::{Handler, Module};
use crate::route::{Letter, ModuleId, Put, Refused, Sink};
use crate::runner::{Handled, Make, Runners, Taken, put};

/// An empty lane keeps no more memory than this.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// What is written on a letter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Label {
    /// The message's name.
    pub(crate) message: &'static str,
    /// Who sent it.
    pub(crate) from: ModuleId,
    /// Which of the module's runners it is for.
    pub(crate) lane: LaneId,
    /// Whether it was asked, and the asker has left.
    pub(crate) is_abandoned: bool,
}

impl<E: Message> Letter<E> {
    #[inline]
    pub(crate) fn label(&self, lane: LaneId) -> Label {
        let is_abandoned = self.reply.as_ref().is_some_and(tokio::sync::oneshot::Sender::is_closed);
        Label { message: E::NAME, from: self.from, lane, is_abandoned }
    }
}

/// Names a lane of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneId(pub(crate) usize);

/// The letters in a mailbox. Those of one type lie in one lane, by value, so that none needs a place of
/// its own on the heap.
pub(crate) struct Lanes<M: Module> {
    /// The lane of each letter, first come first served.
    order: VecDeque<LaneId>,
    lanes: Vec<Lane<M>>,
}

struct Lane<M: Module> {
    taken: TypeId,
    make: Make<M>,
    letters: Box<dyn Letters>,
}

/// The letters of one type, without that type.
trait Letters: Any + Send {
    /// Lays the first letter on its runner's desk.
    fn deliver(&mut self, lane: LaneId, desk: &dyn Any) -> Option<Label>;
}

impl<E: Message> Letters for VecDeque<Letter<E>> {
    #[inline]
    fn deliver(&mut self, lane: LaneId, desk: &dyn Any) -> Option<Label> {
        let letter = self.pop_front()?;
        let label = letter.label(lane);
        put(desk, letter);
        if self.is_empty() && self.capacity() * size_of::<Letter<E>>() > KEPT_BYTES_MAX {
            *self = Self::new();
        }
        Some(label)
    }
}

impl<M: Module> Default for Lanes<M> {
    fn default() -> Self {
        Self { order: VecDeque::new(), lanes: Vec::new() }
    }
}

impl<M: Module> Lanes<M> {
    /// Returns a message's lane; opens it if need be.
    pub(crate) fn open<T: Taken<M>>(&mut self) -> LaneId {
        let taken = TypeId::of::<T>();
        let at = self.lanes.iter().position(|lane| lane.taken == taken).unwrap_or_else(|| {
            let letters = Box::new(VecDeque::<Letter<T::Message>>::new());
            self.lanes.push(Lane { taken, make: T::runner, letters });
            self.lanes.len() - 1
        });
        LaneId(at)
    }

    #[inline]
    fn push<E: Message>(&mut self, lane: LaneId, letter: Letter<E>) {
        let found = self.lanes.get_mut(lane.0).map(|lane| lane.letters.as_mut() as &mut dyn Any);
        let letters = found.and_then(|letters| letters.downcast_mut::<VecDeque<Letter<E>>>());
        letters.expect("a lane is opened for one message").push_back(letter);
        self.order.push_back(lane);
    }

    /// Takes the first letter and lays it on its runner's desk.
    #[inline]
    pub(crate) fn deliver(&mut self, runners: &mut Runners<M>) -> Option<Label> {
        let id = self.order.pop_front()?;
        let lane = self.lanes.get_mut(id.0)?;
        lane.letters.deliver(id, runners.desk(id, lane.make))
    }
}

/// A module's mailbox, seen from one of its messages.
pub(crate) struct Slot<M: Module> {
    mailbox: Mailbox<Lanes<M>>,
    lane: LaneId,
}

impl<M: Module> Slot<M> {
    pub(crate) fn new<T: Taken<M>>(mailbox: &Mailbox<Lanes<M>>) -> Self {
        let lane = mailbox.change(Lanes::open::<T>);
        Self { mailbox: mailbox.clone(), lane }
    }
}

impl<M: Module, E: Message> Sink<E> for Slot<M> {
    fn offer(&self, letter: Letter<E>) -> Result<(), Refused<E>> {
        Ok(self.mailbox.offer(letter, |lanes, letter| lanes.push(self.lane, letter))?)
    }

    fn poll_put(
        &self,
        cx: &task::Context<'_>,
        ticket: &mut Option<Ticket>,
        letter: &mut Option<Letter<E>>,
    ) -> Poll<Result<(), ()>> {
        self.mailbox.poll_put(cx, ticket, letter, |lanes, letter| lanes.push(self.lane, letter))
    }

    fn leave(&self, ticket: Ticket) {
        self.mailbox.leave(ticket);
    }
}

/// Returns a letter of a module to itself.
pub(crate) const fn own<E: Message>(message: E, from: ModuleId) -> Letter<E> {
    Letter { message, reply: None, from, wait: None }
}

/// A module's own mailbox, for its tasks.
///
/// It stays valid when the module is restarted: the message then reaches its next value.
pub struct Me<M: Module> {
    mailbox: Mailbox<Lanes<M>>,
    module: ModuleId,
}

impl<M: Module> Clone for Me<M> {
    fn clone(&self) -> Self {
        Self { mailbox: self.mailbox.clone(), module: self.module }
    }
}

impl<M: Module> Me<M> {
    pub(crate) const fn new(mailbox: Mailbox<Lanes<M>>, module: ModuleId) -> Self {
        Self { mailbox, module }
    }

    fn slot<E: Message>(&self) -> Slot<M>
    where
        M: Handler<E>,
    {
        Slot::new::<Handled<E>>(&self.mailbox)
    }

    /// Sends the module a message and waits for room in its mailbox.
    ///
    /// For tasks: a handler that waits for room in its own mailbox would wait for itself, and uses
    /// [`try_send`](Self::try_send).
    ///
    /// # Errors
    ///
    /// When the module has stopped.
    pub async fn send<E: Message>(&self, message: E) -> Result<(), crate::SendError>
    where
        M: Handler<E>,
    {
        // A task that never waits leaves the thread to the others now and then.
        consume_budget().await;
        let slot = self.slot::<E>();
        let put = Put::new(&slot, own(message, self.module)).await;
        put.map_err(|()| crate::SendError::Stopped { receiver: M::NAME })
    }

    /// Sends the module a message if its mailbox has room.
    ///
    /// # Errors
    ///
    /// When the mailbox is full or the module has stopped.
    pub fn try_send<E: Message>(&self, message: E) -> Result<(), crate::SendError>
    where
        M: Handler<E>,
    {
        match self.slot::<E>().offer(own(message, self.module)) {
            Ok(()) => Ok(()),
            Err(Refused::Full(_)) => Err(crate::SendError::Full { receiver: M::NAME, message: E::NAME }),
            Err(Refused::Closed) => Err(crate::SendError::Stopped { receiver: M::NAME }),
        }
    }
}
