//! The edge's pod lifecycle over a container runtime port: what kubelet is to a node.
//!
//! Decisions are pure functions, each in a module of its own: what a pod asks for ([`pod`]), what
//! the runtime is told of it ([`spec`], [`mod@env`], [`volumes`], [`net`], [`qos`]), what to do next
//! ([`sync`]), and what the API is shown ([`status`], [`node`], [`events`]). The shell around them
//! asks the bus and the ports, and does what they decide: one worker for each pod.

#[cfg(any(test, feature = "test-util"))]
pub mod ample_machine;
pub mod backoff;
pub mod config;
pub mod conformance;
pub mod data;
pub mod env;
pub mod events;
pub mod fields;
pub mod hollow;
pub mod logs;
pub mod memory_files;
pub mod net;
pub mod node;
pub mod observed;
pub mod patch;
pub mod pod;
pub mod ports;
pub mod probe;
pub mod qos;
pub mod quantity;
pub mod registry;
mod shell;
pub mod spec;
pub mod status;
pub mod sync;
pub mod time;
pub mod volumes;

use std::rc::Rc;
use std::time::Duration;

use beehive::{
    BuildError, Context, Defer, Failure, Group, Handler, Message, Module, ModuleName, Problems, Responder,
    Wiring,
};
use protocol::edge::{
    AskCloud, GetObject, GetToken, LinkUp, ListObjects, LogError, LogStream, ObjectChanged, ReadPodLog,
};
use protocol::{NodeName, group};

pub use config::EdgedConfig;
pub use ports::EdgedPorts;

use crate::observed::Observed;
use crate::shell::doors::Doors;
use crate::shell::slot::Wanted;
use crate::shell::{Clock, NodeState, Shared, boot, housekeeping, registrar, view};

/// How often edged takes the time of day from the bus.
const CLOCK_EVERY: Duration = Duration::from_secs(1);

/// The module.
#[derive(Debug)]
pub struct Edged {
    config: EdgedConfig,
    ports: EdgedPorts,
    shared: Option<Rc<Shared>>,
}

/// Time to look at the clock.
#[derive(Debug, Clone, Message)]
struct LookAtClock;

impl beehive::ModuleConfig for EdgedConfig {
    fn validate(&self, problems: &mut Problems) {
        for (path, message) in self.problems() {
            problems.push(path, message);
        }
    }
}

impl Module for Edged {
    const NAME: ModuleName = ModuleName::new("edged");
    const GROUP: Group = group::EDGED;
    type Config = EdgedConfig;
    type Ports = EdgedPorts;

    fn build(config: EdgedConfig, ports: EdgedPorts) -> Result<Self, BuildError> {
        Ok(Self { config, ports, shared: None })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring
            .handles::<ObjectChanged>()
            .handles::<LinkUp>()
            .handles::<LookAtClock>()
            .defers::<ReadPodLog>()
            .asks::<ListObjects>(group::META)
            .asks::<GetObject>(group::META)
            .asks::<GetToken>(group::META)
            .may_ask::<AskCloud>(group::HUB);
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        let facts = self.ports.node.facts().await.map_err(Failure::because)?;
        let name = match self.config.hostname_override.as_str() {
            "" => facts.hostname.as_str(),
            name => name,
        };
        let name = NodeName::parse(name).map_err(Failure::because)?;
        let clock = Clock::new(cx.now(), cx.wall_clock());
        let node = NodeState::new(&name, &self.config);
        let doors = Doors::new(cx.bus().clone());
        let (shared, events) = Shared::new(name, self.config.clone(), self.ports.clone(), doors, clock, node);
        registrar::remember(&shared, &facts);
        tracing::info!(node = %shared.name, "edged starts");
        cx.spawn(view::run(Rc::clone(&shared)));
        cx.spawn(boot::workers(Rc::clone(&shared)));
        cx.spawn(boot::first_listing(Rc::clone(&shared)));
        cx.spawn(registrar::run(Rc::clone(&shared), facts));
        cx.spawn(housekeeping::orphans(Rc::clone(&shared)));
        cx.spawn(housekeeping::logs(Rc::clone(&shared)));
        cx.spawn(housekeeping::events(Rc::clone(&shared), events));
        cx.every(CLOCK_EVERY, LookAtClock);
        self.shared = Some(shared);
        Ok(())
    }
}

impl Handler<LookAtClock> for Edged {
    async fn handle(&mut self, _: LookAtClock, cx: &mut Context<Self>) -> Result<(), Failure> {
        if let Some(shared) = &self.shared {
            shared.clock.set(cx.now(), cx.wall_clock());
        }
        Ok(())
    }
}

impl Handler<ObjectChanged> for Edged {
    async fn handle(&mut self, event: ObjectChanged, _: &mut Context<Self>) -> Result<(), Failure> {
        if let Some(shared) = &self.shared {
            boot::apply(shared, &event.0);
        }
        Ok(())
    }
}

impl Handler<LinkUp> for Edged {
    async fn handle(&mut self, _: LinkUp, _: &mut Context<Self>) -> Result<(), Failure> {
        if let Some(shared) = &self.shared {
            shared.link.modify(|links| *links += 1);
        }
        Ok(())
    }
}

impl Defer<ReadPodLog> for Edged {
    async fn handle(
        &mut self,
        request: ReadPodLog,
        responder: Responder<Result<LogStream, LogError>>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        if let Some(shared) = self.shared.clone() {
            cx.spawn(async move { responder.reply(read_log(&shared, &request).await) });
        }
        Ok(())
    }
}

async fn read_log(shared: &Shared, request: &ReadPodLog) -> Result<LogStream, LogError> {
    let slot = {
        let pods = shared.pods.borrow();
        // While one pod of this name ends at once, another may have begun.
        let named = pods.values().filter(|slot| slot.is(&request.namespace, &request.pod));
        named.max_by_key(|slot| slot.wanted() != Wanted::Gone).cloned()
    };
    let slot = slot.ok_or_else(|| {
        LogError::NotFound(format!(
            "pod {:?} in namespace {:?} is not on this node",
            request.pod, request.namespace
        ))
    })?;
    let pod = slot.pod();
    let sandboxes = shared.view.pod(&pod.uid);
    let choice = logs::choose(&pod, Observed::new(&sandboxes), request)?;
    let query = logs::query(request, choice.grows, shared.now())?;
    let ended = slot.follow(choice.id);
    let files = &shared.ports.files;
    files.open_log(&pod.dir(), &choice.container, choice.attempt, query, ended).await
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
