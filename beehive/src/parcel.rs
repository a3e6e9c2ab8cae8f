//! What lies in a module's mailbox: a message of any type, with the handler that it is for.

use std::marker::PhantomData;

use futures::FutureExt as _;
use futures::future::{BoxFuture, LocalBoxFuture};
use tokio::sync::mpsc;

use crate::context::Context;
use crate::error::Failure;
use crate::message::Message;
use crate::module::{Defer, Handler, Module};
use crate::reply::Responder;
use crate::route::{Letter, ModuleId, Refused, Sink};

/// A letter for module `M`, without its type.
pub(crate) type Parcel<M> = Box<dyn Open<M> + Send>;

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

/// Returns a message that nobody else sent: a timer's.
pub(crate) fn own<M: Handler<E>, E: Message>(message: E, from: ModuleId) -> Parcel<M> {
    Box::new(ToHandle(Letter { message, reply: None, from, wait: None }))
}

/// The mailbox of a module that handles `E`.
pub(crate) struct HandlePort<M: Module>(pub(crate) mpsc::Sender<Parcel<M>>);
/// The mailbox of a module that defers `E`.
pub(crate) struct DeferPort<M: Module>(pub(crate) mpsc::Sender<Parcel<M>>);

fn offer<M: Module, E: Message>(
    mailbox: &mpsc::Sender<Parcel<M>>,
    letter: Letter<E>,
    wrap: impl FnOnce(Letter<E>) -> Parcel<M>,
) -> Result<(), Refused<E>> {
    match mailbox.try_reserve() {
        Ok(room) => {
            room.send(wrap(letter));
            Ok(())
        }
        Err(mpsc::error::TrySendError::Full(())) => Err(Refused::Full(letter)),
        Err(mpsc::error::TrySendError::Closed(())) => Err(Refused::Closed),
    }
}

fn put<M: Module>(mailbox: &mpsc::Sender<Parcel<M>>, parcel: Parcel<M>) -> BoxFuture<'_, Result<(), ()>> {
    mailbox.send(parcel).map(|sent| sent.map_err(drop)).boxed()
}

impl<M: Handler<E>, E: Message> Sink<E> for HandlePort<M> {
    fn offer(&self, letter: Letter<E>) -> Result<(), Refused<E>> {
        offer(&self.0, letter, |letter| Box::new(ToHandle(letter)))
    }

    fn put(&self, letter: Letter<E>) -> BoxFuture<'_, Result<(), ()>> {
        put(&self.0, Box::new(ToHandle(letter)))
    }
}

impl<M: Defer<E>, E: Message> Sink<E> for DeferPort<M> {
    fn offer(&self, letter: Letter<E>) -> Result<(), Refused<E>> {
        offer(&self.0, letter, |letter| Box::new(ToDefer(letter)))
    }

    fn put(&self, letter: Letter<E>) -> BoxFuture<'_, Result<(), ()>> {
        put(&self.0, Box::new(ToDefer(letter)))
    }
}

/// A module's own mailbox, for its tasks.
///
/// It stays valid when the module is restarted: the message then reaches its next value.
pub struct Me<M: Module> {
    mailbox: mpsc::Sender<Parcel<M>>,
    module: ModuleId,
    marker: PhantomData<fn(M)>,
}

impl<M: Module> Clone for Me<M> {
    fn clone(&self) -> Self {
        Self { mailbox: self.mailbox.clone(), module: self.module, marker: PhantomData }
    }
}

impl<M: Module> Me<M> {
    pub(crate) const fn new(mailbox: mpsc::Sender<Parcel<M>>, module: ModuleId) -> Self {
        Self { mailbox, module, marker: PhantomData }
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
        let parcel = own::<M, E>(message, self.module);
        self.mailbox.send(parcel).await.map_err(|_gone| crate::SendError::Stopped { receiver: M::NAME })
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
        match self.mailbox.try_send(own::<M, E>(message, self.module)) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(crate::SendError::Full { receiver: M::NAME, message: E::NAME })
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(crate::SendError::Stopped { receiver: M::NAME }),
        }
    }
}
