//! Asking: a request, a deadline, an answer.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::bus::{Bus, Found, To};
use crate::error::AskError;
use crate::message::Message;
use crate::name::{Group, ModuleName};
use crate::route::{Letter, Port, Refused};
use crate::trace::EventKind;

/// A question without a deadline. Not a future: nothing is asked before [`within`](Self::within).
#[must_use = "nothing is asked before `within`"]
pub struct Ask<'a, Q: Message> {
    pub(crate) to: To<'a>,
    pub(crate) question: Q,
}

impl<Q: Message> Ask<'_, Q> {
    /// Asks, and waits for the answer until the deadline: for room in the server's mailbox, for its
    /// turn there, and for its handler.
    ///
    /// A request whose asker has left before the server came to it is dropped unhandled.
    ///
    /// # Errors
    ///
    /// When there is no answer; the error says why.
    pub async fn within(self, deadline: Duration) -> Result<Q::Reply, AskError> {
        let Self { to: To { bus, group }, question } = self;
        let request = Q::NAME;
        let port = match bus.server::<Q>(group) {
            Found::One(port) => port,
            Found::Nobody => return Err(AskError::NobodyServes { request, group }),
            Found::NotWired(module) => return Err(AskError::NotWired { module, request, group }),
            Found::Several(servers) => return Err(AskError::Ambiguous { request, group, servers }),
        };
        ask(bus, port, question, deadline).await
    }
}

/// A question to every server in a group, without a deadline.
#[must_use = "nothing is asked before `within`"]
pub struct AskAll<'a, Q: Message> {
    pub(crate) to: To<'a>,
    pub(crate) question: Q,
}

impl<Q: Message + Clone> AskAll<'_, Q> {
    /// Asks all at once and waits until each has answered or the deadline has passed. One result for
    /// each server, in order of name; none if nobody serves it.
    pub async fn within(self, deadline: Duration) -> Vec<(ModuleName, Result<Q::Reply, AskError>)> {
        let Self { to: To { bus, group }, question } = self;
        let Some(ports) = bus.servers::<Q>(group) else {
            return vec![not_wired::<Q>(bus, group)];
        };
        let asks: FuturesOrdered<_> = ports
            .into_iter()
            .map(|port| {
                let question = question.clone();
                async move { (bus.core.name(port.module), ask(bus, port, question, deadline).await) }
            })
            .collect();
        asks.collect().await
    }
}

fn not_wired<Q: Message>(bus: &Bus, group: Group) -> (ModuleName, Result<Q::Reply, AskError>) {
    let module = bus.core.name(bus.me);
    (module, Err(AskError::NotWired { module, request: Q::NAME, group }))
}

async fn ask<Q: Message>(
    bus: &Bus,
    port: &Port<Q>,
    question: Q,
    within: Duration,
) -> Result<Q::Reply, AskError> {
    let request = Q::NAME;
    let deadline = Instant::now() + within;
    let edge =
        bus.core.wait(bus.me, port.module, request).map_err(|chain| AskError::Cycle { request, chain })?;
    let (reply, answer) = oneshot::channel();
    let wait = edge.as_ref().map(|edge| edge.id);
    let letter = Letter { message: question, reply: Some(reply), from: bus.me, wait };
    match bus.offer(port, letter) {
        Ok(()) => {}
        Err(Refused::Closed) => return Err(AskError::Stopped { server: bus.core.name(port.module) }),
        Err(Refused::Full(letter)) => make_room(bus, port, letter, deadline, within).await?,
    }
    let answered = timeout_at(deadline, answer).await;
    if let Ok(Ok(reply)) = answered {
        bus.core.record(port.module, bus.me, request, EventKind::Replied);
        return Ok(reply);
    }
    bus.core.record(port.module, bus.me, request, EventKind::Unanswered);
    let server = bus.core.name(port.module);
    if bus.is_restarting(port.module) {
        return Err(AskError::Restarting { server, request });
    }
    match answered {
        Ok(_) if bus.is_gone(port.module) => Err(AskError::Stopped { server }),
        Ok(_) => Err(AskError::Dropped { server, request }),
        Err(_) => Err(AskError::TimedOut { server, request, within }),
    }
}

/// Waits for room in the server's mailbox and puts the question there.
async fn make_room<Q: Message>(
    bus: &Bus,
    port: &Port<Q>,
    letter: Letter<Q>,
    deadline: Instant,
    within: Duration,
) -> Result<(), AskError> {
    let (request, server) = (Q::NAME, bus.core.name(port.module));
    match timeout_at(deadline, port.put(letter)).await {
        Ok(Ok(())) => {
            bus.core.record(bus.me, port.module, request, EventKind::Asked);
            Ok(())
        }
        Ok(Err(())) => Err(AskError::Stopped { server }),
        Err(_) if bus.is_restarting(port.module) => Err(AskError::Restarting { server, request }),
        Err(_) => Err(AskError::Full { server, request, within }),
    }
}
