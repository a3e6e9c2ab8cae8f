//! What runs the handlers of one value of a module.
//!
//! Each message that a module handles has a runner: one future, made once, that takes letter after
//! letter from its desk and runs the handler of each. So no message costs a future of its own on the
//! heap.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll};

use crate::context::Context;
use crate::error::Failure;
use crate::message::Message;
use crate::module::{Defer, Handler, Module};
use crate::parcel::{Label, LaneId};
use crate::reply::Responder;
use crate::route::Letter;

/// Runners with futures larger than this are made anew for each message, lest handlers that rarely
/// run hold memory. Next to what a handler of that size does, making it costs little.
const KEPT_BYTES_MAX: usize = 1024;

/// A value of a module with its context, shared by its runners. One of them runs at a time.
pub(crate) struct Stage<M: Module> {
    pub(crate) actor: RefCell<Actor<M>>,
    /// How the handler that ran last ended, until the engine takes it.
    done: Cell<Option<Result<(), Failure>>>,
}

/// A value of a module and its context.
pub(crate) struct Actor<M: Module> {
    pub(crate) module: M,
    pub(crate) cx: Context<M>,
}

impl<M: Module> Stage<M> {
    pub(crate) const fn new(module: M, cx: Context<M>) -> Self {
        Self { actor: RefCell::new(Actor { module, cx }), done: Cell::new(None) }
    }
}

/// Where a runner finds its next letter.
pub(crate) trait Desk: Any {
    /// Throws the letter away.
    fn clear(&self);
}

impl<E: Message> Desk for Cell<Option<Letter<E>>> {
    fn clear(&self) {
        self.take();
    }
}

/// Runs the handlers of one message.
pub(crate) struct Runner {
    desk: Rc<dyn Desk>,
    future: Pin<Box<dyn Future<Output = Infallible>>>,
}

/// Makes a runner for one message of `M`.
pub(crate) type Make<M> = fn(Rc<Stage<M>>) -> Runner;

/// A message of `M`, and which of its handlers takes it.
pub(crate) trait Taken<M: Module>: 'static {
    type Message: Message;
    fn runner(stage: Rc<Stage<M>>) -> Runner;
}

/// A message that is handled.
pub(crate) struct Handled<E>(PhantomData<E>);
/// A message that is deferred.
pub(crate) struct Deferred<E>(PhantomData<E>);

impl<M: Handler<E>, E: Message> Taken<M> for Handled<E> {
    type Message = E;

    fn runner(stage: Rc<Stage<M>>) -> Runner {
        handles::<M, E>(stage)
    }
}

impl<M: Defer<E>, E: Message> Taken<M> for Deferred<E> {
    type Message = E;

    fn runner(stage: Rc<Stage<M>>) -> Runner {
        defers::<M, E>(stage)
    }
}

#[expect(clippy::await_holding_refcell_ref, reason = "nobody else runs while a handler does")]
fn handles<M: Handler<E>, E: Message>(stage: Rc<Stage<M>>) -> Runner {
    let desk = Rc::new(Cell::new(None));
    let letters = desk.clone();
    let future = Box::pin(async move {
        loop {
            let Letter { message, reply, .. } = next::<E>(&letters).await;
            let mut actor = stage.actor.borrow_mut();
            let Actor { module, cx } = &mut *actor;
            let done = module.handle(message, cx).await.map(|answer| Responder::new(reply).reply(answer));
            stage.done.set(Some(done));
        }
    });
    Runner { desk, future }
}

#[expect(clippy::await_holding_refcell_ref, reason = "nobody else runs while a handler does")]
fn defers<M: Defer<E>, E: Message>(stage: Rc<Stage<M>>) -> Runner {
    let desk = Rc::new(Cell::new(None));
    let letters = desk.clone();
    let future = Box::pin(async move {
        loop {
            let Letter { message, reply, wait, .. } = next::<E>(&letters).await;
            let mut actor = stage.actor.borrow_mut();
            let Actor { module, cx } = &mut *actor;
            let done = module.handle(message, Responder::new(reply), cx).await;
            // From here on the asker waits for the responder, no longer for this mailbox.
            if let Some(wait) = wait {
                cx.core().waits.remove(wait);
            }
            stage.done.set(Some(done));
        }
    });
    Runner { desk, future }
}

/// Waits for the next letter. Nobody is woken for it: the engine puts it there and polls.
async fn next<E: Message>(desk: &Cell<Option<Letter<E>>>) -> Letter<E> {
    poll_fn(|_| desk.take().map_or(Poll::Pending, Poll::Ready)).await
}

/// The runners of one value of a module, by their lanes.
pub(crate) struct Runners<M: Module> {
    // Before the stage: a handler's future is dropped before what it borrows from.
    runners: Vec<Option<Runner>>,
    pub(crate) stage: Rc<Stage<M>>,
}

impl<M: Module> Runners<M> {
    pub(crate) const fn new(stage: Rc<Stage<M>>) -> Self {
        Self { runners: Vec::new(), stage }
    }

    /// Returns the desk of a lane's runner.
    #[inline]
    pub(crate) fn desk(&mut self, lane: LaneId, make: Make<M>) -> &dyn Any {
        if lane.0 >= self.runners.len() {
            self.runners.resize_with(lane.0 + 1, || None);
        }
        let stage = &self.stage;
        let runner = self.runners.get_mut(lane.0).expect("it has just been made long enough");
        runner.get_or_insert_with(|| make(stage.clone())).desk.as_ref()
    }

    /// Lays a letter on the desk of its runner.
    pub(crate) fn load<T: Taken<M>>(&mut self, lane: LaneId, letter: Letter<T::Message>) -> Label {
        let label = letter.label(lane);
        put(self.desk(lane, T::runner), letter);
        label
    }

    /// Throws away what lies on the desk of a lane's runner.
    pub(crate) fn clear(&self, lane: LaneId) {
        if let Some(Some(runner)) = self.runners.get(lane.0) {
            runner.desk.clear();
        }
    }

    /// Runs the handler of the letter that lies on the desk.
    #[inline]
    pub(crate) fn poll(&mut self, lane: LaneId, cx: &mut task::Context<'_>) -> Poll<Result<(), Failure>> {
        let runner = self.runners.get_mut(lane.0).expect("a letter lies on its desk");
        let Some(Runner { future, .. }) = runner else { return Poll::Pending };
        // It is never ready: it tells the stage how the handler ended, and waits for the next letter.
        let Poll::Pending = future.as_mut().poll(cx);
        match self.stage.done.take() {
            Some(done) => {
                if size_of_val(&**future) > KEPT_BYTES_MAX {
                    *runner = None;
                }
                Poll::Ready(done)
            }
            None => Poll::Pending,
        }
    }
}

/// Lays a letter on a desk.
#[inline]
pub(crate) fn put<E: Message>(desk: &dyn Any, letter: Letter<E>) {
    let desk = desk.downcast_ref::<Cell<Option<Letter<E>>>>();
    desk.expect("a lane and its runner are made for the same message").set(Some(letter));
}
