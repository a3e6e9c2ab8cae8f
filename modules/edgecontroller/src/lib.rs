//! Moves Kubernetes objects to the nodes that need them and node reports to Kubernetes.
//!
//! Downstream it watches nodes, pods, config maps and secrets, works out what each edge node must
//! know, and hands changes to the cloud hub. A node that connects is told the difference between
//! what it holds and what it must know; so nothing is lost that could not be handed over.
//! Upstream it serves the requests of nodes against the Kubernetes API, as far as a node may ask.

mod api;
mod carry;
mod compare;
mod config;
mod delivery;
mod desired;
mod down;
mod grants;
mod kinds;
mod lanes;
mod messages;
mod outbox;
mod raw;
mod references;
mod serve;
mod sessions;
mod up;
mod watch;

use beehive::{BuildError, Context, Defer, Failure, Group, Handler, Module, ModuleName, Responder, Wiring};
use protocol::cloud::{
    AwaitRoom, CarryDevices, CompareNode, EndSession, NodeArrived, NodeConnected, NodeDisconnected,
    NodeSettled, SendToNode, ServeNode,
};
use protocol::{ApiStatus, NodeReply, ResourceType, group};

use crate::api::Api;
use crate::carry::{Carries, DevicesDue};
use crate::compare::{CompareDue, Found};
pub use crate::config::EdgeControllerConfig;
use crate::desired::{Desired, Effect};
use crate::lanes::{Admission, Lanes};
use crate::messages::{Again, Checked, Delivered, Fetched, GoOn, NotEnded, PodsListed, RoomAgain, Served};
use crate::outbox::Outbox;
use crate::sessions::Sessions;
use crate::up::Job;
use crate::watch::{WatchEvent, Watched};

/// The module.
pub struct EdgeController {
    config: EdgeControllerConfig,
    api: Api,
    desired: Desired,
    sessions: Sessions,
    outbox: Outbox,
    lanes: Lanes<Job>,
    /// How many objects nodes were told again that they had acknowledged and did not hold.
    healed: u64,
    /// The types whose watch was started.
    watched: Vec<ResourceType>,
}

impl Module for EdgeController {
    const NAME: ModuleName = ModuleName::new("edgecontroller");
    const GROUP: Group = group::EDGECONTROLLER;
    const SECTION: &'static str = "edgeController";
    type Config = EdgeControllerConfig;
    type Ports = kube::Client;

    fn build(config: EdgeControllerConfig, client: kube::Client) -> Result<Self, BuildError> {
        Ok(Self {
            api: Api::new(client, config.requests_at_once),
            desired: Desired::default(),
            sessions: Sessions::default(),
            outbox: Outbox::new(config.node_queue_bytes()),
            lanes: Lanes::default(),
            healed: 0,
            watched: Vec::new(),
            config,
        })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.defers::<ServeNode>();
        wiring
            .handles::<NodeArrived>()
            .handles::<NodeConnected>()
            .handles::<NodeDisconnected>()
            .handles::<Watched>();
        wiring.handles::<Fetched>().handles::<PodsListed>().handles::<Checked>().handles::<Again>();
        wiring.handles::<CompareDue>().handles::<Found>();
        wiring
            .handles::<Delivered>()
            .handles::<RoomAgain>()
            .handles::<GoOn>()
            .handles::<NotEnded>()
            .handles::<Served>();
        wiring.asks::<SendToNode>(group::CLOUDHUB).may_ask::<EndSession>(group::CLOUDHUB);
        wiring.may_ask::<AwaitRoom>(group::CLOUDHUB).may_ask::<CompareNode>(group::CLOUDHUB);
        wiring.handles::<Carries>().handles::<DevicesDue>();
        wiring.may_ask::<CarryDevices>(group::DEVICECONTROLLER);
        wiring.publishes::<NodeSettled>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.watch(ResourceType::NODE, cx);
        Self::ask_for_devices(cx);
        Ok(())
    }
}

impl Handler<Watched> for EdgeController {
    async fn handle(
        &mut self,
        Watched { resource, event }: Watched,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        let ended = matches!(event, WatchEvent::End);
        let effects = self.take(&resource, event);
        self.carry_out(effects, cx);
        if ended {
            self.watch_next(&resource, cx);
        }
        Ok(())
    }
}

impl Handler<NodeArrived> for EdgeController {
    async fn handle(&mut self, arrived: NodeArrived, _: &mut Context<Self>) -> Result<(), Failure> {
        if self.sessions.arrive(&arrived.node, arrived.session) {
            self.outbox.clear(&arrived.node);
        }
        Ok(())
    }
}

impl Handler<NodeConnected> for EdgeController {
    async fn handle(&mut self, connected: NodeConnected, cx: &mut Context<Self>) -> Result<(), Failure> {
        let NodeConnected { node, session, holds } = connected;
        let is_comparable = holds.said().is_some();
        if self.sessions.begin(node.clone(), session, holds) {
            self.outbox.clear(&node);
            self.settle(node.clone(), cx);
            if is_comparable {
                self.compare_later(node, session, cx);
            } else {
                self.compare_soon(node, session, cx);
            }
        }
        Ok(())
    }
}

impl Handler<NodeDisconnected> for EdgeController {
    async fn handle(&mut self, gone: NodeDisconnected, _: &mut Context<Self>) -> Result<(), Failure> {
        if self.sessions.end(&gone.node, gone.session) {
            self.outbox.clear(&gone.node);
        }
        Ok(())
    }
}

impl Defer<ServeNode> for EdgeController {
    async fn handle(
        &mut self,
        ServeNode { node, session, request }: ServeNode,
        responder: Responder<NodeReply>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        if self.sessions.is_missed(&node) {
            self.recover(node.clone(), cx);
        }
        let epoch = self.sessions.epoch(&node, session);
        let subject = lanes::subject(&request);
        match self.lanes.offer(&node, subject, Job { epoch, request, responder }) {
            Admission::Start(subject, job) => self.start(node, subject, job, cx),
            Admission::Waits => {}
            Admission::Refused(job) => {
                let why = "the node asks for too much at once";
                job.responder.reply(NodeReply::Refused(ApiStatus::new(429, "TooManyRequests", why)));
            }
        }
        Ok(())
    }
}

impl Handler<Served> for EdgeController {
    async fn handle(
        &mut self,
        Served { node, subject }: Served,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        if let Some(job) = self.lanes.finish(&node, &subject) {
            self.start(node, subject, job, cx);
        }
        Ok(())
    }
}

impl Handler<Fetched> for EdgeController {
    async fn handle(
        &mut self,
        Fetched { key, answer }: Fetched,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        self.take_fetched(key, answer, cx);
        Ok(())
    }
}

impl Handler<PodsListed> for EdgeController {
    async fn handle(
        &mut self,
        PodsListed { node, answer }: PodsListed,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        self.take_pods(node, answer, cx);
        Ok(())
    }
}

impl Handler<Again> for EdgeController {
    async fn handle(&mut self, Again(effect): Again, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.carry_out(vec![effect], cx);
        Ok(())
    }
}

impl Handler<Checked> for EdgeController {
    async fn handle(&mut self, checked: Checked, cx: &mut Context<Self>) -> Result<(), Failure> {
        let Checked { node, session, change } = checked;
        if self.sessions.number(&node) == Some(session) {
            self.carry_out(vec![Effect::Send { node, change }], cx);
        }
        Ok(())
    }
}

impl Handler<NotEnded> for EdgeController {
    async fn handle(&mut self, NotEnded(node): NotEnded, cx: &mut Context<Self>) -> Result<(), Failure> {
        if self.sessions.assume(&node) {
            self.settle(node, cx);
        }
        Ok(())
    }
}
