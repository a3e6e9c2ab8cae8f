//! What an author of a module implements.

use std::any::TypeId;
use std::marker::PhantomData;

use crate::config::ModuleConfig;
use crate::context::Context;
use crate::error::{BuildError, Failure};
use crate::mailbox::Mailbox;
use crate::message::Message;
use crate::name::{Group, ModuleName};
use crate::parcel::{DeferPort, HandlePort, Parcels};
use crate::reply::Responder;
use crate::route::{ModuleId, Port, RoutesBuilder};

/// A module: an actor with a name, a section of the configuration, and what it needs from outside.
///
/// The engine builds it from its section and its ports, and builds it again from the same two after
/// a failure. Its mailbox and its address outlive each such value.
pub trait Module: Sized + 'static {
    /// The module's name.
    const NAME: ModuleName;
    /// The group it belongs to.
    const GROUP: Group;
    /// The key of its section in the configuration file.
    const SECTION: &'static str = Self::NAME.as_str();
    /// Whether it runs where its section has no `enable`, or is not there.
    const ENABLED: bool = true;
    /// Its section.
    type Config: ModuleConfig;
    /// What it needs from outside: stores, sockets, clients. Cloned for each value that is built.
    type Ports: Clone + 'static;

    /// Makes the module. Inert: no IO, no tasks.
    ///
    /// # Errors
    ///
    /// When section and ports do not fit together.
    fn build(config: Self::Config, ports: Self::Ports) -> Result<Self, BuildError>;

    /// Says what the module handles, asks and publishes: its table of contents, checked at launch.
    fn wire(wiring: &mut Wiring<Self>);

    /// Begins the module's work: timers, tasks, first messages. Its mailbox waits meanwhile.
    fn started(&mut self, cx: &mut Context<Self>) -> impl Future<Output = Result<(), Failure>> {
        let _unused = cx;
        async { Ok(()) }
    }

    /// Ends the module's work at a graceful stop, after the last message and before its tasks are
    /// dropped. Bounded by the stop's deadline.
    fn stopping(&mut self, cx: &mut Context<Self>) -> impl Future<Output = ()> {
        let _unused = cx;
        async {}
    }
}

/// Handles a message. The module's next message waits until this one is done; its tasks go on.
pub trait Handler<M: Message>: Module {
    /// Handles the message and returns the reply. A failure restarts the module.
    fn handle(
        &mut self,
        message: M,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<M::Reply, Failure>>;
}

/// Handles a request whose answer takes long: the responder may be kept, or moved into a task, and
/// the mailbox goes on.
pub trait Defer<M: Message>: Module {
    /// Begins the request. A failure restarts the module.
    fn handle(
        &mut self,
        message: M,
        responder: Responder<M::Reply>,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), Failure>>;
}

/// A message that a module handles.
pub(crate) struct Handled<M: Module> {
    pub(crate) type_id: TypeId,
    pub(crate) name: &'static str,
    /// Whether its reply says nothing, as an event's does.
    pub(crate) replies_unit: bool,
    add: fn(&mut RoutesBuilder, &Mailbox<Parcels<M>>, ModuleId),
}

impl<M: Module> Clone for Handled<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Module> Copy for Handled<M> {}

/// How a request is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Manner {
    /// Someone must serve it.
    Must,
    /// Someone may serve it.
    May,
    /// All who serve it answer.
    All,
}

/// A request that a module asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) type_id: TypeId,
    pub(crate) name: &'static str,
    pub(crate) group: Group,
    pub(crate) manner: Manner,
}

/// An event that a module publishes.
#[derive(Clone, Copy)]
pub(crate) struct Published {
    pub(crate) type_id: TypeId,
    #[cfg(feature = "test-util")]
    pub(crate) record: fn(&mut RoutesBuilder, &std::sync::Arc<crate::probe::Record>, ModuleId),
}

/// Collects what a module handles, asks and publishes.
pub struct Wiring<M: Module> {
    pub(crate) handled: Vec<Handled<M>>,
    pub(crate) asked: Vec<Asked>,
    pub(crate) published: Vec<Published>,
    module: PhantomData<fn(M)>,
}

impl<M: Module> Wiring<M> {
    /// Returns what `M` declares.
    pub(crate) fn of() -> Self {
        let mut wiring =
            Self { handled: Vec::new(), asked: Vec::new(), published: Vec::new(), module: PhantomData };
        M::wire(&mut wiring);
        wiring
    }

    /// Declares that the module handles `E`.
    pub fn handles<E: Message>(&mut self) -> &mut Self
    where
        M: Handler<E>,
    {
        self.add_handled::<E>(|routes, mailbox, module| {
            let sink = Box::new(HandlePort::<M>(mailbox.clone()));
            routes.add::<E>(Port { module, group: M::GROUP, sink });
        })
    }

    /// Declares that the module handles `E` and answers later.
    pub fn defers<E: Message>(&mut self) -> &mut Self
    where
        M: Defer<E>,
    {
        self.add_handled::<E>(|routes, mailbox, module| {
            let sink = Box::new(DeferPort::<M>(mailbox.clone()));
            routes.add::<E>(Port { module, group: M::GROUP, sink });
        })
    }

    fn add_handled<E: Message>(
        &mut self,
        add: fn(&mut RoutesBuilder, &Mailbox<Parcels<M>>, ModuleId),
    ) -> &mut Self {
        let replies_unit = TypeId::of::<E::Reply>() == TypeId::of::<()>();
        self.handled.push(Handled { type_id: TypeId::of::<E>(), name: E::NAME, replies_unit, add });
        self
    }

    /// Declares that the module asks, or sends, `Q` to `group`. If no enabled module of the group
    /// handles it, the node does not start.
    pub fn asks<Q: Message>(&mut self, group: Group) -> &mut Self {
        self.add_asked::<Q>(group, Manner::Must)
    }

    /// Declares that the module asks, or sends, `Q` to `group`, and can do without.
    pub fn may_ask<Q: Message>(&mut self, group: Group) -> &mut Self {
        self.add_asked::<Q>(group, Manner::May)
    }

    /// Declares that the module asks all members of `group` that serve `Q`. Several modules of a
    /// group may serve one request only if this is how it is asked.
    pub fn asks_all<Q: Message>(&mut self, group: Group) -> &mut Self {
        self.add_asked::<Q>(group, Manner::All)
    }

    fn add_asked<Q: Message>(&mut self, group: Group, manner: Manner) -> &mut Self {
        self.asked.push(Asked { type_id: TypeId::of::<Q>(), name: Q::NAME, group, manner });
        self
    }

    /// Declares that the module publishes `E`.
    pub fn publishes<E: Message>(&mut self) -> &mut Self {
        self.published.push(Published {
            type_id: TypeId::of::<E>(),
            #[cfg(feature = "test-util")]
            record: crate::probe::record::<E>,
        });
        self
    }

    /// Adds the module's mailbox to the routes of all that it handles.
    pub(crate) fn add_routes(
        &self,
        routes: &mut RoutesBuilder,
        mailbox: &Mailbox<Parcels<M>>,
        module: ModuleId,
    ) {
        for handled in &self.handled {
            (handled.add)(routes, mailbox, module);
        }
    }
}
