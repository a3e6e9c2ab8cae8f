//! Handing changes to the cloud hub, as far as it has room for them.

use beehive::{Bus, Context, Failure, Handler};
use protocol::cloud::{AwaitRoom, Room, SendRefused, SendToNode};
use protocol::{NodeName, ObjectChange, group};
use tokio::time::{Duration, sleep};

use crate::EdgeController;
use crate::down::PAUSE;
use crate::messages::{Delivered, GoOn, RoomAgain};
use crate::outbox::Parcel;

/// How long the cloud hub is given to queue one change.
const SEND: Duration = Duration::from_secs(10);
/// How long to wait for room for a node before it is tried all the same.
const ROOM: Duration = Duration::from_secs(60);

/// What came of a parcel.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// All is queued.
    Done,
    /// The hub has no room for more at present; these are left.
    NoRoom(Vec<ObjectChange>),
    /// The node's session is over.
    Refused(SendRefused),
    /// The hub did not answer; these are left.
    Failed(Vec<ObjectChange>),
}

impl EdgeController {
    /// Hands the next parcel to the cloud hub, unless one is under way.
    pub(crate) fn deliver(&mut self, cx: &mut Context<Self>) {
        let Some(parcel) = self.outbox.take(|node| self.sessions.number(node)) else { return };
        let (bus, me) = (cx.bus().clone(), cx.me());
        cx.spawn(async move {
            let Parcel { node, session, changes } = parcel;
            let delivery = hand_over(&bus, &node, changes).await;
            if me.send(Delivered { node, session, delivery }).await.is_err() {
                tracing::debug!("the edge controller stopped while it told a node");
            }
        });
    }

    pub(crate) fn take_delivered(&mut self, delivered: Delivered, cx: &mut Context<Self>) {
        let Delivered { node, session, delivery } = delivered;
        match delivery {
            Delivery::Done => self.outbox.arrived(),
            Delivery::NoRoom(left) => {
                self.outbox.arrived();
                if self.sessions.number(&node) == Some(session) {
                    self.outbox.put_back(&node, left);
                    self.outbox.hold_up(&node);
                    await_room(node.clone(), session, cx);
                }
            }
            Delivery::Refused(why) => {
                self.outbox.arrived();
                if self.sessions.end(&node, session) {
                    tracing::debug!(%node, %why, "a node is told no more until it connects");
                    self.outbox.clear(&node);
                }
            }
            Delivery::Failed(left) => {
                if self.sessions.number(&node) == Some(session) {
                    self.outbox.put_back(&node, left);
                }
                cx.after(PAUSE, GoOn(node));
                return;
            }
        }
        self.go_on_settling(&node, cx);
        self.deliver(cx);
    }

    /// Goes on after the pause that follows a parcel that failed.
    pub(crate) fn deliver_again(&mut self, GoOn(node): &GoOn, cx: &mut Context<Self>) {
        self.outbox.arrived();
        self.go_on_settling(node, cx);
        self.deliver(cx);
    }

    pub(crate) fn take_room(&mut self, RoomAgain { node, session }: RoomAgain, cx: &mut Context<Self>) {
        if self.sessions.number(&node) == Some(session) {
            self.outbox.let_go(&node);
            self.go_on_settling(&node, cx);
            self.deliver(cx);
        }
    }
}

/// Waits until the cloud hub has room for a node, or for so long that it is tried all the same.
fn await_room(node: NodeName, session: u64, cx: &mut Context<EdgeController>) {
    let (bus, me) = (cx.bus().clone(), cx.me());
    cx.spawn(async move {
        let ask = AwaitRoom { node: node.clone(), session };
        if let Err(error) = bus.to(group::CLOUDHUB).ask(ask).within(ROOM).await {
            tracing::debug!(%node, %error, "the cloud hub did not say that it has room");
            sleep(PAUSE).await;
        }
        if me.send(RoomAgain { node, session }).await.is_err() {
            tracing::debug!("the edge controller stopped while a node had no room");
        }
    });
}

async fn hand_over(bus: &Bus, node: &NodeName, changes: Vec<ObjectChange>) -> Delivery {
    let mut changes = std::collections::VecDeque::from(changes);
    while let Some(change) = changes.front().cloned() {
        let send = SendToNode { node: node.clone(), change };
        match bus.to(group::CLOUDHUB).ask(send).within(SEND).await {
            Ok(Ok(room)) => {
                changes.pop_front();
                if room == Room(0) {
                    return Delivery::NoRoom(changes.into());
                }
            }
            Ok(Err(refused)) => return Delivery::Refused(refused),
            Err(error) => {
                tracing::warn!(%node, %error, "the cloud hub took no change; trying again");
                return Delivery::Failed(changes.into());
            }
        }
    }
    Delivery::Done
}

impl Handler<Delivered> for EdgeController {
    async fn handle(&mut self, delivered: Delivered, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.take_delivered(delivered, cx);
        Ok(())
    }
}

impl Handler<RoomAgain> for EdgeController {
    async fn handle(&mut self, room: RoomAgain, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.take_room(room, cx);
        Ok(())
    }
}

impl Handler<GoOn> for EdgeController {
    async fn handle(&mut self, again: GoOn, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.deliver_again(&again, cx);
        Ok(())
    }
}
