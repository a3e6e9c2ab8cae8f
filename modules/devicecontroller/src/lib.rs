//! Brings what devices report to the Kubernetes API, and has nodes told of their devices.
//!
//! The edge controller carries the `Device` and `DeviceModel` objects, as it does all that nodes must know;
//! this module says that it shall. A node's reports of its devices are written to their `DeviceStatus`
//! objects, as KubeEdge 1.23 does; a report is answered when it is written, so that a node says again what
//! was not. However often a device reports, its status is written once in an interval, and all devices
//! together at a bounded rate.

mod board;
mod config;
mod index;
mod pace;
mod request;
mod status;
mod watch;
mod writer;

use beehive::{
    BuildError, Context, Defer, Failure, Group, Handler, Message, Module, ModuleName, Responder, Wiring,
};
use protocol::cloud::{CarryDevices, ServeNode};
use protocol::{ApiStatus, DeviceId, NodeReply, group};

use crate::board::{Board, Job, Turn};
pub use crate::config::DeviceControllerConfig;
use crate::index::Index;
use crate::pace::Pace;
use crate::status::Status;
use crate::watch::Seen;

/// The module.
pub struct DeviceController {
    client: kube::Client,
    index: Index,
    board: Board<Responder<NodeReply>>,
    /// Whether it is told when the rate allows more.
    is_waiting: bool,
}

/// The time of a device's report has come.
#[derive(Debug, Clone, Message)]
struct Due(DeviceId);

/// The rate allows more.
#[derive(Debug, Clone, Message)]
struct More;

/// A status was written, or not.
#[derive(Debug, Message)]
struct Written {
    device: DeviceId,
    outcome: Result<Status, ApiStatus>,
    waiting: Vec<Responder<NodeReply>>,
}

impl Module for DeviceController {
    const NAME: ModuleName = ModuleName::new("devicecontroller");
    const GROUP: Group = group::DEVICECONTROLLER;
    const SECTION: &'static str = "deviceController";
    type Config = DeviceControllerConfig;
    type Ports = kube::Client;

    fn build(config: DeviceControllerConfig, client: kube::Client) -> Result<Self, BuildError> {
        let at_once = usize::try_from(config.writes_at_once).unwrap_or(usize::MAX);
        let board = Board::new(config.status_interval, Pace::new(config.writes_per_second), at_once);
        Ok(Self { client, index: Index::default(), board, is_waiting: false })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.defers::<ServeNode>();
        wiring.handles::<CarryDevices>().handles::<Seen>().handles::<Due>();
        wiring.handles::<More>().handles::<Written>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        let random = cx.uuid();
        cx.spawn(watch::watch(self.client.clone(), cx.me(), random));
        Ok(())
    }
}

impl Handler<CarryDevices> for DeviceController {
    async fn handle(&mut self, _: CarryDevices, _: &mut Context<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

impl Handler<Seen> for DeviceController {
    async fn handle(&mut self, seen: Seen, _: &mut Context<Self>) -> Result<(), Failure> {
        match seen {
            Seen::Begin => self.index.begin(),
            Seen::Device(id, device) => {
                // One that was made anew has another status, or none.
                if self.index.get(&id).is_some_and(|held| held.uid != device.uid) {
                    self.forget(&id);
                }
                self.index.see(id, device);
            }
            Seen::Gone(id) => {
                self.index.forget(&id);
                self.forget(&id);
            }
            Seen::End => {
                for id in self.index.end() {
                    self.forget(&id);
                }
            }
        }
        Ok(())
    }
}

impl Defer<ServeNode> for DeviceController {
    async fn handle(
        &mut self,
        ServeNode { node, request, .. }: ServeNode,
        responder: Responder<NodeReply>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        let (device, reported) = match request::read(&self.index, &node, &request) {
            Ok(read) => read,
            Err(status) => {
                responder.reply(NodeReply::Refused(status));
                return Ok(());
            }
        };
        match self.board.report(&device, reported, responder, cx.now()) {
            Ok(turn) => self.take_turn(device, turn, cx),
            Err(responder) => {
                let why = "too many wait for reports of the device to be written";
                responder.reply(NodeReply::Refused(ApiStatus::new(429, "TooManyRequests", why)));
            }
        }
        Ok(())
    }
}

impl Handler<Due> for DeviceController {
    async fn handle(&mut self, Due(device): Due, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.board.is_due(device);
        self.write(cx);
        Ok(())
    }
}

impl Handler<More> for DeviceController {
    async fn handle(&mut self, _: More, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.is_waiting = false;
        self.write(cx);
        Ok(())
    }
}

impl Handler<Written> for DeviceController {
    async fn handle(&mut self, written: Written, cx: &mut Context<Self>) -> Result<(), Failure> {
        let Written { device, outcome, waiting } = written;
        let (shown, reply) = match outcome {
            Ok(shown) => (Some(shown), NodeReply::Done),
            Err(status) => {
                tracing::warn!(%device, %status, "what a device reported was not written; its node says it again");
                (None, NodeReply::Refused(status))
            }
        };
        for responder in waiting {
            responder.reply(reply.clone());
        }
        let shown = shown.filter(|_| self.index.get(&device).is_some());
        let turn = self.board.written(&device, shown, cx.now());
        self.take_turn(device, turn, cx);
        self.write(cx);
        Ok(())
    }
}

impl DeviceController {
    fn take_turn(&mut self, device: DeviceId, turn: Turn, cx: &mut Context<Self>) {
        match turn {
            Turn::Queued => self.write(cx),
            Turn::At(due) => {
                cx.after(due.saturating_duration_since(cx.now()), Due(device));
            }
            Turn::Later => {}
        }
    }

    fn write(&mut self, cx: &mut Context<Self>) {
        while let Some(Job { device, shown, reported, waiting }) = self.board.next(cx.now()) {
            let (client, me, facts) = (self.client.clone(), cx.me(), self.index.get(&device).cloned());
            cx.spawn(async move {
                let outcome = match facts {
                    Some(facts) => writer::write(client, &device, &facts, shown, &reported).await,
                    None => Err(ApiStatus::new(404, "NotFound", "the device is gone")),
                };
                if me.send(Written { device, outcome, waiting }).await.is_err() {
                    tracing::debug!("the device controller stopped while it wrote a status");
                }
            });
        }
        if let Some(at) = self.board.wake(cx.now()).filter(|_| !self.is_waiting) {
            self.is_waiting = true;
            cx.after(at.saturating_duration_since(cx.now()), More);
        }
    }

    fn forget(&mut self, device: &DeviceId) {
        let gone = request::not_found(device);
        for responder in self.board.forget(device) {
            responder.reply(NodeReply::Refused(gone.clone()));
        }
    }
}
