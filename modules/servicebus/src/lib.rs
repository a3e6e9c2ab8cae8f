//! The node's HTTP services and applications.
//!
//! Rules of the cloud call services on the node's loopback address; applications on the node have URLs called
//! by the cloud, those that rules allow. The listener for applications is there while some URL is allowed. See
//! docs/rules.md.

mod app;
mod call;
mod config;
mod listen;
pub mod memory;
pub mod ports;

use std::collections::BTreeSet;

use beehive::{
    BuildError, Context, Defer, Failure, Group, Handler, Me, Message, Module, ModuleName, Responder, TaskKey,
    Wiring,
};
use protocol::edge::{AskCloud, MetaError};
use protocol::group;
use protocol::rules::{CallService, ChangeUrls, HttpAnswer, SetChange};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use store::Texts;

pub use crate::config::ServiceBusConfig;
use crate::ports::AppCall;
pub use crate::ports::Ports;

/// The tree of the URLs that rules allow, and how many these may be.
const TREE: &str = "servicebus.urls";
const URLS_MAX: usize = 4096;
/// Calls of services that are under way, and requests of applications.
const CALLING_MAX: usize = 64;
const ASKING_MAX: usize = 32;

/// The service bus.
#[derive(Debug)]
pub struct ServiceBus {
    config: ServiceBusConfig,
    ports: Ports,
    kept: Texts,
    urls: BTreeSet<String>,
    listening: Option<TaskKey>,
    calling: usize,
    asking: usize,
}

/// An application asks.
#[derive(Debug, Message)]
struct Asked(AppCall);

/// A call of a service is over, or a request of an application is.
#[derive(Debug, Clone, Message)]
enum Over {
    Call,
    Request,
}

impl Module for ServiceBus {
    const NAME: ModuleName = ModuleName::new("servicebus");
    const GROUP: Group = group::BUS;
    const SECTION: &'static str = "serviceBus";
    /// As KubeEdge's.
    const ENABLED: bool = false;
    type Config = ServiceBusConfig;
    type Ports = Ports;

    fn build(config: ServiceBusConfig, ports: Ports) -> Result<Self, BuildError> {
        let kept = Texts::new(ports.store.clone(), TREE);
        Ok(Self { config, ports, kept, urls: BTreeSet::new(), listening: None, calling: 0, asking: 0 })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.defers::<CallService>().handles::<ChangeUrls>().handles::<Asked>().handles::<Over>();
        wiring.may_ask::<AskCloud>(group::HUB);
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.urls = self.kept.load().map_err(Failure::because)?;
        if !self.config.is_local() {
            tracing::warn!(
                server = self.config.server,
                "whoever reaches this address may have the cloud call the URLs that rules allow; \
                 modules.serviceBus.server should be 127.0.0.1"
            );
        }
        self.listen(cx);
        Ok(())
    }
}

impl ServiceBus {
    /// Listens while there is a URL that an application may have called.
    fn listen(&mut self, cx: &mut Context<Self>) {
        match (self.urls.is_empty(), self.listening) {
            (false, None) => {
                let rng = SmallRng::seed_from_u64(cx.rng().random());
                let (listener, on) = (self.ports.listener.clone(), self.config.listen_on());
                self.listening = Some(cx.spawn(listen::listen(listener, on, cx.me(), rng)));
            }
            (true, Some(task)) => {
                tracing::info!(
                    "no rule lets an application have a URL called: the service bus stops listening"
                );
                cx.abort(task);
                self.listening = None;
            }
            _ => {}
        }
    }
}

impl Handler<ChangeUrls> for ServiceBus {
    async fn handle(
        &mut self,
        ChangeUrls(change): ChangeUrls,
        cx: &mut Context<Self>,
    ) -> Result<Result<(), MetaError>, Failure> {
        let wanted = match change {
            SetChange::Remove(url) => {
                let is_other = |held: &&String| app::cleaned(held) != app::cleaned(&url);
                self.urls.iter().filter(is_other).cloned().collect()
            }
            change => change.apply(&self.urls),
        };
        if wanted.len() > URLS_MAX {
            return Ok(Err(MetaError(format!("the rules want more than {URLS_MAX} URLs of this node"))));
        }
        if let Err(failed) = self.kept.replace(&wanted).await {
            return Ok(Err(MetaError(failed.to_string())));
        }
        self.urls = wanted;
        self.listen(cx);
        Ok(Ok(()))
    }
}

impl Defer<CallService> for ServiceBus {
    async fn handle(
        &mut self,
        CallService(asked): CallService,
        responder: Responder<HttpAnswer>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        if !self.config.may_call(asked.port) {
            let text = format!("port {} is not in modules.serviceBus.servicePorts of the node", asked.port);
            responder.reply(HttpAnswer::of_agent(403, text));
            return Ok(());
        }
        if self.calling >= CALLING_MAX {
            responder
                .reply(HttpAnswer::of_agent(503, "too many calls of services are under way on the node"));
            return Ok(());
        }
        self.calling += 1;
        let (client, me) = (self.ports.services.clone(), cx.me());
        cx.spawn(async move {
            responder.reply(call::make(client, call::call(asked)).await);
            tell_over(&me, Over::Call).await;
        });
        Ok(())
    }
}

impl Handler<Asked> for ServiceBus {
    async fn handle(
        &mut self,
        Asked(AppCall { body, answer }): Asked,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        let read = app::read(body, |url| self.urls.contains(url));
        let request = match read {
            Ok(request) if self.asking < ASKING_MAX => request,
            Ok(_) => {
                send(answer, &app::Answer::busy());
                return Ok(());
            }
            Err(refusal) => {
                send(answer, &refusal);
                return Ok(());
            }
        };
        self.asking += 1;
        let (bus, me, timeout) = (cx.bus().clone(), cx.me(), self.config.timeout());
        cx.spawn(async move {
            let asked = bus.to(group::HUB).ask(AskCloud(request)).within(timeout).await;
            send(answer, &app::answer(asked));
            tell_over(&me, Over::Request).await;
        });
        Ok(())
    }
}

impl Handler<Over> for ServiceBus {
    async fn handle(&mut self, over: Over, _: &mut Context<Self>) -> Result<(), Failure> {
        match over {
            Over::Call => self.calling = self.calling.saturating_sub(1),
            Over::Request => self.asking = self.asking.saturating_sub(1),
        }
        Ok(())
    }
}

fn send(way: tokio::sync::oneshot::Sender<bytes::Bytes>, answer: &app::Answer) {
    if way.send(answer.to_json()).is_err() {
        tracing::debug!("an application left before it was answered");
    }
}

async fn tell_over(me: &Me<ServiceBus>, over: Over) {
    if me.send(over).await.is_err() {
        tracing::debug!("the service bus stopped meanwhile");
    }
}

#[cfg(test)]
mod tests;
