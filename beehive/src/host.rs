//! Where a module lives: one actix actor each, and the only file that knows of actix.
//!
//! The actor owns the engine's future, and through it the module: when the actor ends, all of it is
//! dropped. What actix offers beyond that is not used, since it neither survives a panic in a handler
//! nor bounds what is sent to it. It runs on the caller's local task set, without a system of its own.

use std::rc::Rc;

use actix::{Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Recipient, WrapFuture as _};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;

use crate::engine::{Engine, StopSignal};
use crate::module::Module;

/// What a node tells an actor.
struct Order(Verb);

#[derive(Debug, Clone, Copy)]
enum Verb {
    /// End gracefully.
    Stop,
    /// End at once.
    Kill,
}

impl actix::Message for Order {
    type Result = ();
}

struct Host {
    engine: Option<LocalBoxFuture<'static, ()>>,
    stop: Rc<StopSignal>,
}

impl Actor for Host {
    type Context = actix::Context<Self>;

    fn started(&mut self, cx: &mut Self::Context) {
        if let Some(engine) = self.engine.take() {
            cx.spawn(engine.into_actor(self).map(|(), _, cx| cx.stop()));
        }
    }
}

impl actix::Handler<Order> for Host {
    type Result = ();

    fn handle(&mut self, order: Order, cx: &mut Self::Context) {
        match order.0 {
            Verb::Stop => self.stop.raise(),
            Verb::Kill => cx.terminate(),
        }
    }
}

/// A node's hold on a module's actor.
pub(crate) struct Handle(Recipient<Order>);

impl Handle {
    /// Starts an engine on the caller's local task set.
    pub(crate) fn start<M: Module>(engine: Engine<M>) -> Self {
        let stop = engine.stop.clone();
        let engine = Some(engine.run().boxed_local());
        Self(Host { engine, stop }.start().recipient())
    }

    /// Asks the module to end gracefully.
    pub(crate) fn stop(&self) {
        self.order(Verb::Stop);
    }

    /// Drops the module with all that it owns.
    pub(crate) fn kill(&self) {
        self.order(Verb::Kill);
    }

    fn order(&self, verb: Verb) {
        // A full queue holds the same order already; a closed one means that the actor has ended.
        drop(self.0.try_send(Order(verb)));
    }
}
