//! What other modules ask for nodes: to queue changes, to say when there is room, to end sessions.

use beehive::{Context, Defer, Failure, Handler, Responder};
use protocol::cloud::{AwaitRoom, EndSession, Room, SendRefused, SendToNode};

use crate::CloudHub;

impl Handler<SendToNode> for CloudHub {
    async fn handle(
        &mut self,
        SendToNode { node, change }: SendToNode,
        _: &mut Context<Self>,
    ) -> Result<Result<Room, SendRefused>, Failure> {
        Ok(self.sessions.send(&node, change))
    }
}

impl Defer<AwaitRoom> for CloudHub {
    async fn handle(
        &mut self,
        AwaitRoom { node, session }: AwaitRoom,
        responder: Responder<()>,
        _: &mut Context<Self>,
    ) -> Result<(), Failure> {
        self.sessions.await_room(&node, session, responder);
        Ok(())
    }
}

impl Handler<EndSession> for CloudHub {
    async fn handle(&mut self, ended: EndSession, _: &mut Context<Self>) -> Result<(), Failure> {
        let EndSession { node } = ended;
        if self.sessions.end(&node) {
            tracing::info!(%node, "the node's session ends, so that it says what it holds");
        }
        Ok(())
    }
}
