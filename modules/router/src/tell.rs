//! Telling nodes what the rules want of them.

use std::collections::BTreeSet;
use std::time::Duration;

use beehive::{Context, Failure, Handler, Message};
use protocol::cloud::{NodeArrived, NodeDisconnected};
use protocol::rules::{CommandError, CommandNode, CommandReply, NodeCommand, NodeRules};
use protocol::{NodeName, group};

use crate::Router;
use crate::nodes::{Next, RETRY};

/// How long a node may take until what it is to route is on its disk.
const TELL_TIMEOUT: Duration = Duration::from_secs(60);

/// A node was told, or not.
#[derive(Debug, Message)]
pub(crate) struct Told {
    node: NodeName,
    session: Option<u64>,
    rules: NodeRules,
    /// Without a cause it was not answered.
    outcome: Result<CommandReply, Option<CommandError>>,
}

/// A node that could not do it may be told again.
#[derive(Debug, Clone, Message)]
pub(crate) struct Resume {
    node: NodeName,
    session: Option<u64>,
}

impl Router {
    pub(crate) fn tell_nodes(&mut self, cx: &mut Context<Self>) {
        let all: BTreeSet<NodeName> = self.table.nodes().into_iter().chain(self.nodes.names()).collect();
        for node in all {
            self.tell_node(node, cx);
        }
    }

    fn tell_node(&mut self, node: NodeName, cx: &mut Context<Self>) {
        // What is missing before the rules are known may be there.
        if !self.table.is_known() {
            return;
        }
        let rules = self.table.of_node(&node);
        if !self.nodes.tell(&node, &rules) {
            return;
        }
        let (bus, me, session) = (cx.bus().clone(), cx.me(), self.nodes.session(&node));
        cx.spawn(async move {
            let command = NodeCommand::Route(rules.clone());
            let ask = bus.to(group::CLOUDHUB).ask(CommandNode { node: node.clone(), command });
            let outcome = match ask.within(TELL_TIMEOUT).await {
                Ok(outcome) => outcome.map_err(Some),
                Err(error) => {
                    tracing::debug!(%node, %error, "a node was not told what to route");
                    Err(None)
                }
            };
            if me.send(Told { node, session, rules, outcome }).await.is_err() {
                tracing::debug!("the router stopped while it told a node what to route");
            }
        });
    }
}

impl Handler<NodeArrived> for Router {
    async fn handle(&mut self, arrived: NodeArrived, cx: &mut Context<Self>) -> Result<(), Failure> {
        let NodeArrived { node, session } = arrived;
        self.nodes.arrive(&node, session);
        self.tell_node(node, cx);
        Ok(())
    }
}

impl Handler<NodeDisconnected> for Router {
    async fn handle(&mut self, left: NodeDisconnected, _: &mut Context<Self>) -> Result<(), Failure> {
        self.nodes.leave(&left.node, left.session);
        Ok(())
    }
}

impl Handler<Told> for Router {
    async fn handle(&mut self, told: Told, cx: &mut Context<Self>) -> Result<(), Failure> {
        let Told { node, session, rules, outcome } = told;
        match &outcome {
            Ok(CommandReply::Refused(problem)) => {
                tracing::warn!(%node, problem, "a node does not route what the rules want; it is told again");
            }
            Err(Some(CommandError::Unsupported)) if rules != NodeRules::default() => {
                tracing::warn!(%node, "a node's edgecore is too old for the rules that want something of it");
            }
            _ => {}
        }
        match self.nodes.told(&node, session, rules, &outcome) {
            Next::Look => self.tell_node(node, cx),
            Next::Pause => {
                cx.after(RETRY, Resume { node, session });
            }
        }
        Ok(())
    }
}

impl Handler<Resume> for Router {
    async fn handle(&mut self, resume: Resume, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.nodes.resume(&resume.node, resume.session);
        self.tell_node(resume.node, cx);
        Ok(())
    }
}
