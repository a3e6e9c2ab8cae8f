//! What lies in a module's mailbox: a message of any type, with the handler that it is for.

use std::collections::VecDeque;
use std::task::{self, Poll};

use futures::future::LocalBoxFuture;
use tokio::task::coop::consume_budget;

use crate::context::Context;
use crate::error::Failure;
use crate::mailbox::{Mailbox, Ticket};
use crate::message::Message;
use crate::module::{Defer, Handler, Module};
use crate::reply::Responder;
use crate::route::{Letter, ModuleId, Put, Refused, Sink};

/// A letter for module `M`, without its type.
pub(crate) type Parcel<M> = Box<dyn Open<M> + Send>;
/// The letters in a mailbox, first come first served.
pub(crate) type Parcels<M> = VecDeque<Parcel<M>>;

/// Opens a parcel.
pub(crate) trait Open<M: Module> {
    /// Returns what is written on it.
    fn label(&self) -> Label;
    /// Runs the handler.
    fn open<'a>(
        self: Box<Self>,
        module: &'a mut M,
        cx: &'a mut Context<M>,
    ) -> LocalBoxFuture<'a, Result<(), Failure>>;
}

/// What is written on a parcel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Label {
    /// The message's name.
    pub(crate) message: &'static str,
    /// Who sent it.
    pub(crate) from: ModuleId,
    /// Whether it was asked, and the asker has left.
    pub(crate) is_abandoned: bool,
}

struct ToHandle<E: Message>(Letter<E>);
struct ToDefer<E: Message>(Letter<E>);

fn label<E: Message>(letter: &Letter<E>) -> Label {
    let is_abandoned = letter.reply.as_ref().is_some_and(tokio::sync::oneshot::Sender::is_closed);
    Label { message: E::NAME, from: letter.from, is_abandoned }
}

impl<M: Handler<E>, E: Message> Open<M> for ToHandle<E> {
    fn label(&self) -> Label {
        label(&self.0)
    }

    fn open<'a>(
        self: Box<Self>,
        module: &'a mut M,
        cx: &'a mut Context<M>,
    ) -> LocalBoxFuture<'a, Result<(), Failure>> {
        let Letter { message, reply, .. } = self.0;
        Box::pin(async move {
            let answer = module.handle(message, cx).await?;
            Responder::new(reply).reply(answer);
            Ok(())
        })
    }
}

impl<M: Defer<E>, E: Message> Open<M> for ToDefer<E> {
    fn label(&self) -> Label {
        label(&self.0)
    }

    fn open<'a>(
        self: Box<Self>,
        module: &'a mut M,
        cx: &'a mut Context<M>,
    ) -> LocalBoxFuture<'a, Result<(), Failure>> {
        let Letter { message, reply, wait, .. } = self.0;
        Box::pin(async move {
            let core = cx.core().clone();
            let done = module.handle(message, Responder::new(reply), cx).await;
            // From here on the asker waits for the responder, no longer for this mailbox.
            if let Some(wait) = wait {
                core.waits.remove(wait);
            }
            done
        })
    }
}

/// Returns a letter of a module to itself.
const fn own<E: Message>(message: E, from: ModuleId) -> Letter<E> {
    Letter { message, reply: None, from, wait: None }
}

/// Returns a message that nobody sent: a timer's.
pub(crate) fn timed<M: Handler<E>, E: Message>(message: E, from: ModuleId) -> Parcel<M> {
    Box::new(ToHandle(own(message, from)))
}

/// The mailbox of a module that handles `E`.
pub(crate) struct HandlePort<M: Module>(pub(crate) Mailbox<Parcels<M>>);
/// The mailbox of a module that defers `E`.
pub(crate) struct DeferPort<M: Module>(pub(crate) Mailbox<Parcels<M>>);

macro_rules! sink {
    ($port:ident, $handler:ident, $parcel:ident) => {
        impl<M: $handler<E>, E: Message> Sink<E> for $port<M> {
            fn offer(&self, letter: Letter<E>) -> Result<(), Refused<E>> {
                Ok(self.0.offer(letter, |parcels, letter| parcels.push_back(Box::new($parcel(letter))))?)
            }

            fn poll_put(
                &self,
                cx: &task::Context<'_>,
                ticket: &mut Option<Ticket>,
                letter: &mut Option<Letter<E>>,
            ) -> Poll<Result<(), ()>> {
                let put = |parcels: &mut Parcels<M>, letter| parcels.push_back(Box::new($parcel(letter)));
                self.0.poll_put(cx, ticket, letter, put)
            }

            fn leave(&self, ticket: Ticket) {
                self.0.leave(ticket);
            }
        }
    };
}

sink!(HandlePort, Handler, ToHandle);
sink!(DeferPort, Defer, ToDefer);

/// A module's own mailbox, for its tasks.
///
/// It stays valid when the module is restarted: the message then reaches its next value.
pub struct Me<M: Module> {
    port: HandlePort<M>,
    module: ModuleId,
}

impl<M: Module> Clone for Me<M> {
    fn clone(&self) -> Self {
        Self { port: HandlePort(self.port.0.clone()), module: self.module }
    }
}

impl<M: Module> Me<M> {
    pub(crate) const fn new(mailbox: Mailbox<Parcels<M>>, module: ModuleId) -> Self {
        Self { port: HandlePort(mailbox), module }
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
        let put = Put::new(&self.port, own(message, self.module)).await;
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
        match self.port.offer(own(message, self.module)) {
            Ok(()) => Ok(()),
            Err(Refused::Full(_)) => Err(crate::SendError::Full { receiver: M::NAME, message: E::NAME }),
            Err(Refused::Closed) => Err(crate::SendError::Stopped { receiver: M::NAME }),
        }
    }
}
