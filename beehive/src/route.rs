//! Where each message goes. Fixed at launch: a restarted module keeps its mailbox, so that nothing
//! here ever changes while the node runs.

use std::any::{Any, TypeId};
use std::hash::{BuildHasherDefault, Hasher};
use std::pin::Pin;
use std::task::{self, Poll};

use tokio::sync::oneshot;

use crate::mailbox::{NoRoom, Ticket};
use crate::message::Message;
use crate::name::Group;
use crate::wait::WaitId;

/// Names a module within its node. Modules are numbered in start order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ModuleId(u16);

impl ModuleId {
    /// Stands for everyone who is no module: mains, adapters, tests.
    pub(crate) const OUTSIDE: Self = Self(u16::MAX);

    /// Returns the id of the module at this place.
    pub(crate) fn at(index: usize) -> Self {
        Self(u16::try_from(index).expect("launch refuses catalogs of more than 65,534 modules"))
    }

    /// Returns the module's place.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns the id as a number, for an atomic.
    pub(crate) const fn number(self) -> u16 {
        self.0
    }
}

/// A message on its way.
pub(crate) struct Letter<E: Message> {
    pub(crate) message: E,
    /// Who gets the answer, if anybody waits for it.
    pub(crate) reply: Option<oneshot::Sender<E::Reply>>,
    pub(crate) from: ModuleId,
    /// The edge of the handler that waits for the answer.
    pub(crate) wait: Option<WaitId>,
}

/// Says why a mailbox did not take a letter.
pub(crate) enum Refused<E: Message> {
    /// No room at the moment.
    Full(Letter<E>),
    /// The receiver is gone.
    Closed,
}

impl<E: Message> From<(NoRoom, Letter<E>)> for Refused<E> {
    fn from((reason, letter): (NoRoom, Letter<E>)) -> Self {
        match reason {
            NoRoom::Full => Self::Full(letter),
            NoRoom::Closed => Self::Closed,
        }
    }
}

/// A mailbox, seen from one of the messages that it takes.
pub(crate) trait Sink<E: Message>: Send + Sync {
    /// Puts the letter in at once, or gives it back.
    fn offer(&self, letter: Letter<E>) -> Result<(), Refused<E>>;
    /// Puts the letter in as soon as there is room. Fails if the receiver is gone.
    fn poll_put(
        &self,
        cx: &task::Context<'_>,
        ticket: &mut Option<Ticket>,
        letter: &mut Option<Letter<E>>,
    ) -> Poll<Result<(), ()>>;
    /// Gives up a turn.
    fn leave(&self, ticket: Ticket);
}

/// Puts a letter in a mailbox as soon as there is room. Fails if the receiver is gone.
pub(crate) struct Put<'a, E: Message> {
    sink: &'a dyn Sink<E>,
    letter: Option<Letter<E>>,
    ticket: Option<Ticket>,
}

impl<'a, E: Message> Put<'a, E> {
    pub(crate) const fn new(sink: &'a dyn Sink<E>, letter: Letter<E>) -> Self {
        Self { sink, letter: Some(letter), ticket: None }
    }
}

// The letter is moved into the mailbox, never polled.
impl<E: Message> Unpin for Put<'_, E> {}

impl<E: Message> Future for Put<'_, E> {
    type Output = Result<(), ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let Self { sink, letter, ticket } = &mut *self;
        sink.poll_put(cx, ticket, letter)
    }
}

impl<E: Message> Drop for Put<'_, E> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.sink.leave(ticket);
        }
    }
}

/// A receiver of `E`.
pub(crate) struct Port<E: Message> {
    pub(crate) module: ModuleId,
    pub(crate) group: Group,
    pub(crate) sink: Box<dyn Sink<E>>,
}

impl<E: Message> Port<E> {
    pub(crate) fn put(&self, letter: Letter<E>) -> Put<'_, E> {
        Put::new(self.sink.as_ref(), letter)
    }
}

/// The receivers of one message, in order of name.
type Ports<E> = Vec<Port<E>>;

/// The routes of all messages, by their types. Looked up for each message and never walked through,
/// so that no order of it can be seen.
#[derive(Default)]
#[expect(clippy::disallowed_types, reason = "it is only looked up, and its hasher has no random seed")]
pub(crate) struct Routes(
    std::collections::HashMap<TypeId, Box<dyn Any + Send + Sync>, BuildHasherDefault<TypeHasher>>,
);

/// Takes a type's id, which is a hash already, as it is.
#[derive(Default)]
pub(crate) struct TypeHasher(u64);

impl Hasher for TypeHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, part: u64) {
        self.0 ^= part;
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }
}

impl Routes {
    /// Returns the receivers of `E`, in order of name.
    #[inline]
    pub(crate) fn of<E: Message>(&self) -> &[Port<E>] {
        let ports = self.0.get(&TypeId::of::<E>()).and_then(|ports| ports.downcast_ref::<Ports<E>>());
        ports.map_or(&[], Vec::as_slice)
    }
}

/// Collects routes. Receivers are to be added in order of name.
#[derive(Default)]
pub(crate) struct RoutesBuilder(Routes);

impl RoutesBuilder {
    pub(crate) fn add<E: Message>(&mut self, port: Port<E>) {
        let ports = self.0.0.entry(TypeId::of::<E>()).or_insert_with(|| Box::new(Ports::<E>::new()));
        if let Some(ports) = ports.downcast_mut::<Ports<E>>() {
            ports.push(port);
        }
    }

    pub(crate) fn build(self) -> Routes {
        self.0
    }
}
