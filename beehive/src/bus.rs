//! The bus, as its users see it.

use std::any::TypeId;
use std::sync::Arc;

use tokio::task::coop::consume_budget;

use crate::ask::{Ask, AskAll};
use crate::core::Core;
use crate::error::{Chain, Delivered, PublishError, SendError};
use crate::message::Message;
use crate::metrics::ModuleState;
use crate::module::Manner;
use crate::name::{Group, ModuleName};
use crate::route::{Letter, ModuleId, Port, Refused};
use crate::trace::EventKind;

/// The bus: publishes events to everyone, and reaches the members of a group.
///
/// A module's bus may do what the module's `wire` declares; a node's may do all. It is cheap to
/// clone and may be used on any thread.
#[derive(Clone)]
pub struct Bus {
    pub(crate) core: Arc<Core>,
    pub(crate) me: ModuleId,
}

/// Where a group's one server of a message is, or why it cannot be said.
pub(crate) enum Found<'a, E: Message> {
    One(&'a Port<E>),
    Nobody,
    NotWired(ModuleName),
    Several(Vec<ModuleName>),
}

impl Bus {
    pub(crate) const fn new(core: Arc<Core>, me: ModuleId) -> Self {
        Self { core, me }
    }

    /// Tells whether something is to go wrong on purpose at this point; see
    /// [`Context::buggify`](crate::Context::buggify).
    #[must_use]
    pub fn buggify(&self, point: &'static str) -> bool {
        self.core.buggify.as_ref().is_some_and(|buggify| buggify.strikes(&self.core.node, point))
    }

    /// Addresses the members of a group.
    pub const fn to(&self, group: Group) -> To<'_> {
        To { bus: self, group }
    }

    /// Publishes an event to all that handle it, in order of module name, and waits for room in each
    /// one's mailbox in turn. Stopped modules are passed over.
    ///
    /// # Errors
    ///
    /// When the event is not declared, or waiting for room would wait in a circle.
    pub async fn publish<E: Message + Clone>(&self, event: E) -> Result<Delivered, PublishError> {
        self.publish_where(event, |_| true).await
    }

    /// Publishes an event to all that handle it and have room; never waits.
    ///
    /// # Errors
    ///
    /// When the event is not declared.
    pub fn try_publish<E: Message + Clone>(&self, event: E) -> Result<Delivered, PublishError> {
        self.try_publish_where(event, |_| true)
    }

    async fn publish_where<E: Message + Clone>(
        &self,
        event: E,
        wanted: impl Fn(&Port<E>) -> bool,
    ) -> Result<Delivered, PublishError> {
        self.check_publishes::<E>()?;
        consume_budget().await;
        let mut delivered = Delivered::default();
        let mut ports = self.core.routes.of::<E>().iter().filter(|port| wanted(port));
        let mut next = ports.next();
        let mut event = Some(event);
        while let Some(port) = next {
            next = ports.next();
            // The last receiver gets the event itself, the others copies.
            let copy = if next.is_some() { event.clone() } else { event.take() };
            let Some(copy) = copy else { break };
            let taken = match self.offer(port, self.letter(copy)) {
                Ok(()) => Ok(true),
                Err(Refused::Closed) => Ok(false),
                Err(Refused::Full(letter)) => self.put(port, letter).await,
            };
            let taken = taken.map_err(|chain| PublishError::Cycle { event: E::NAME, chain })?;
            delivered.receivers += usize::from(taken);
        }
        Ok(delivered)
    }

    fn try_publish_where<E: Message + Clone>(
        &self,
        event: E,
        wanted: impl Fn(&Port<E>) -> bool,
    ) -> Result<Delivered, PublishError> {
        self.check_publishes::<E>()?;
        let mut delivered = Delivered::default();
        for port in self.core.routes.of::<E>().iter().filter(|port| wanted(port)) {
            match self.offer(port, self.letter(event.clone())) {
                Ok(()) => delivered.receivers += 1,
                Err(Refused::Full(_)) => delivered.full.push(self.core.name(port.module)),
                Err(Refused::Closed) => {}
            }
        }
        Ok(delivered)
    }

    /// Puts a letter in a mailbox as soon as it has room. Returns whether the receiver is there.
    async fn put<E: Message>(&self, port: &Port<E>, letter: Letter<E>) -> Result<bool, Chain> {
        let _edge = self.core.wait(self.me, port.module, E::NAME)?;
        let put = port.put(letter).await.is_ok();
        if put {
            self.core.record(self.me, port.module, E::NAME, EventKind::Sent);
        }
        Ok(put)
    }

    /// Puts a letter in a mailbox at once, or gives it back.
    #[inline]
    pub(crate) fn offer<E: Message>(&self, port: &Port<E>, letter: Letter<E>) -> Result<(), Refused<E>> {
        let asked = letter.reply.is_some();
        let offered = port.sink.offer(letter);
        if self.core.trace.is_some() {
            match &offered {
                Ok(()) if asked => self.core.record(self.me, port.module, E::NAME, EventKind::Asked),
                Ok(()) => self.core.record(self.me, port.module, E::NAME, EventKind::Sent),
                Err(Refused::Full(_)) => self.core.record(self.me, port.module, E::NAME, EventKind::Full),
                Err(Refused::Closed) => {}
            }
        }
        offered
    }

    const fn letter<E: Message>(&self, message: E) -> Letter<E> {
        Letter { message, reply: None, from: self.me, wait: None }
    }

    fn check_publishes<E: Message>(&self) -> Result<(), PublishError> {
        let Some(permits) = self.core.permits.get(self.me.index()) else { return Ok(()) };
        match permits.publishes.binary_search(&TypeId::of::<E>()) {
            Ok(_) => Ok(()),
            Err(_) => Err(PublishError::NotWired { module: self.core.name(self.me), event: E::NAME }),
        }
    }

    #[inline]
    fn may_ask<Q: Message>(&self, group: Group, all: bool) -> bool {
        let Some(permits) = self.core.permits.get(self.me.index()) else { return true };
        let wanted = (TypeId::of::<Q>(), group);
        let from = permits.asks.partition_point(|(id, group, _)| (*id, *group) < wanted);
        let manners = permits.asks.iter().skip(from).take_while(|(id, group, _)| (*id, *group) == wanted);
        manners.into_iter().any(|(_, _, manner)| (*manner == Manner::All) == all)
    }

    /// Finds the one server of `Q` in a group.
    #[inline]
    pub(crate) fn server<Q: Message>(&self, group: Group) -> Found<'_, Q> {
        if !self.may_ask::<Q>(group, false) {
            return Found::NotWired(self.core.name(self.me));
        }
        let all = self.core.routes.of::<Q>();
        // Nearly all requests have one server in all.
        if let [one] = all
            && one.group.is(group)
        {
            return Found::One(one);
        }
        let mut servers = all.iter().filter(|port| port.group.is(group));
        match (servers.next(), servers.next()) {
            (None, _) => Found::Nobody,
            (Some(one), None) => Found::One(one),
            (Some(first), Some(second)) => {
                let all = [first, second].into_iter().chain(servers);
                Found::Several(all.map(|port| self.core.name(port.module)).collect())
            }
        }
    }

    /// Finds all servers of `Q` in a group, in order of name; `None` if the asker did not declare it.
    pub(crate) fn servers<Q: Message>(&self, group: Group) -> Option<Vec<&Port<Q>>> {
        let wired = self.may_ask::<Q>(group, true);
        wired.then(|| self.core.routes.of::<Q>().iter().filter(|port| port.group.is(group)).collect())
    }

    /// Returns whether a module failed and is not back.
    pub(crate) fn is_restarting(&self, module: ModuleId) -> bool {
        self.core.cell(module).state() == ModuleState::Restarting
    }

    /// Returns whether a module has stopped or was given up.
    pub(crate) fn is_gone(&self, module: ModuleId) -> bool {
        matches!(self.core.cell(module).state(), ModuleState::Stopped | ModuleState::Failed)
    }
}

/// The members of a group.
#[derive(Clone, Copy)]
#[must_use = "nothing is sent yet"]
pub struct To<'a> {
    pub(crate) bus: &'a Bus,
    pub(crate) group: Group,
}

impl<'a> To<'a> {
    /// Publishes an event to the members that handle it; see [`Bus::publish`].
    ///
    /// # Errors
    ///
    /// When the event is not declared, or waiting for room would wait in a circle.
    pub async fn publish<E: Message + Clone>(self, event: E) -> Result<Delivered, PublishError> {
        let group = self.group;
        self.bus.publish_where(event, move |port| port.group.is(group)).await
    }

    /// Publishes an event to the members that handle it and have room; never waits.
    ///
    /// # Errors
    ///
    /// When the event is not declared.
    pub fn try_publish<E: Message + Clone>(self, event: E) -> Result<Delivered, PublishError> {
        self.bus.try_publish_where(event, |port| port.group.is(self.group))
    }

    /// Asks the one member that serves `Q`. Nothing is sent before a deadline is given.
    pub const fn ask<Q: Message>(self, question: Q) -> Ask<'a, Q> {
        Ask { to: self, question }
    }

    /// Asks every member that serves `Q`. Nothing is sent before a deadline is given.
    pub const fn ask_all<Q: Message + Clone>(self, question: Q) -> AskAll<'a, Q> {
        AskAll { to: self, question }
    }

    /// Sends a message to the one member that handles it, waiting for room in its mailbox. Its reply
    /// is dropped.
    ///
    /// # Errors
    ///
    /// When there is no such member, it has stopped, or waiting would wait in a circle.
    pub async fn send<E: Message>(self, message: E) -> Result<(), SendError> {
        let port = self.receiver::<E>()?;
        // A sender that never waits leaves the thread to its receivers now and then.
        consume_budget().await;
        let sent = match self.bus.offer(port, self.bus.letter(message)) {
            Ok(()) => return Ok(()),
            Err(Refused::Closed) => Ok(false),
            Err(Refused::Full(letter)) => self.bus.put(port, letter).await,
        };
        match sent {
            Ok(true) => Ok(()),
            Ok(false) => Err(SendError::Stopped { receiver: self.bus.core.name(port.module) }),
            Err(chain) => Err(SendError::Cycle { message: E::NAME, chain }),
        }
    }

    /// Sends a message to the one member that handles it, if its mailbox has room. Its reply is
    /// dropped.
    ///
    /// # Errors
    ///
    /// When there is no such member, it has stopped, or its mailbox is full.
    pub fn try_send<E: Message>(self, message: E) -> Result<(), SendError> {
        let port = self.receiver::<E>()?;
        let receiver = self.bus.core.name(port.module);
        match self.bus.offer(port, self.bus.letter(message)) {
            Ok(()) => Ok(()),
            Err(Refused::Full(_)) => Err(SendError::Full { receiver, message: E::NAME }),
            Err(Refused::Closed) => Err(SendError::Stopped { receiver }),
        }
    }

    #[inline]
    fn receiver<E: Message>(self) -> Result<&'a Port<E>, SendError> {
        let (message, group) = (E::NAME, self.group);
        match self.bus.server::<E>(group) {
            Found::One(port) => Ok(port),
            Found::Nobody => Err(SendError::NobodyServes { message, group }),
            Found::NotWired(module) => Err(SendError::NotWired { module, message, group }),
            Found::Several(receivers) => Err(SendError::Ambiguous { message, group, receivers }),
        }
    }
}
