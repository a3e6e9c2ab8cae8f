//! Routes messages between REST endpoints of the cloud and the local clients and services of nodes, by the
//! rules of `rules.kubeedge.io`.
//!
//! | From | To |
//! |---|---|
//! | a REST client, `POST /<node>/<namespace>/<path>` | the node's MQTT clients, or an HTTP service on it |
//! | a topic of a node's MQTT broker | a REST endpoint |
//! | an application on a node, through the service bus | a REST endpoint |
//!
//! Each node is told all that the rules want of it whenever it connects and whenever that changes. What a
//! node's broker was told to be taken waits on the node's disk until its endpoint has it. See docs/rules.md.

mod board;
mod config;
mod deliver;
pub mod memory;
mod nodes;
mod path;
pub mod ports;
mod rest;
mod rule;
mod serve;
mod table;
mod tell;
mod watch;
mod writer;

use std::collections::{BTreeMap, BTreeSet};

use beehive::{
    BuildError, Context, Defer, Failure, Group, Handler, Message, Module, ModuleName, Responder, Wiring,
};
use protocol::cloud::{NodeArrived, NodeDisconnected, ServeNode};
use protocol::rules::CommandNode;
use protocol::{ApiStatus, NodeReply, NodeRequest, group};

use crate::board::{Board, Turn};
pub use crate::config::RouterConfig;
use crate::nodes::Nodes;
pub use crate::ports::Ports;
use crate::rule::Key;
use crate::serve::{Called, CallsEnded};
use crate::table::Table;
use crate::tell::{Resume, Told};
use crate::watch::{SeenEndpoint, SeenRule};

/// The router.
#[derive(Debug)]
pub struct Router {
    config: RouterConfig,
    ports: Ports,
    table: Table,
    nodes: Nodes,
    board: Board,
    /// How many messages are on their way to each endpoint.
    delivering: BTreeMap<String, usize>,
    /// How many REST requests are on their way to nodes.
    passing: usize,
    /// How many messages no rule wanted.
    unwanted: u64,
}

/// A message went over a rule, or did not.
#[derive(Debug, Message)]
struct Counted {
    key: Key,
    outcome: Result<(), String>,
    /// The endpoint whose place is free again, or none where it was a REST request.
    endpoint: Option<String>,
}

/// The time of a rule's status has come.
#[derive(Debug, Clone, Message)]
struct Due(Key);

/// A status was written, or not.
#[derive(Debug, Message)]
struct Written {
    key: Key,
    is_written: bool,
}

impl Module for Router {
    const NAME: ModuleName = ModuleName::new("router");
    const GROUP: Group = group::ROUTER;
    /// As KubeEdge's: its listener asks nobody who he is.
    const ENABLED: bool = false;
    type Config = RouterConfig;
    type Ports = Ports;

    fn build(config: RouterConfig, ports: Ports) -> Result<Self, BuildError> {
        Ok(Self {
            config,
            ports,
            table: Table::default(),
            nodes: Nodes::default(),
            board: Board::default(),
            delivering: BTreeMap::new(),
            passing: 0,
            unwanted: 0,
        })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<SeenRule>().handles::<SeenEndpoint>();
        wiring.handles::<NodeArrived>().handles::<NodeDisconnected>().handles::<Told>().handles::<Resume>();
        wiring.handles::<Called>().handles::<CallsEnded>().defers::<ServeNode>();
        wiring.handles::<Counted>().handles::<Due>().handles::<Written>();
        wiring.asks::<CommandNode>(group::CLOUDHUB);
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        let (of_rules, of_endpoints) = (cx.uuid(), cx.uuid());
        cx.spawn(watch::rules(self.ports.kube.clone(), cx.me(), of_rules));
        cx.spawn(watch::endpoints(self.ports.kube.clone(), cx.me(), of_endpoints));
        self.listen(cx).await
    }
}

impl Handler<SeenRule> for Router {
    async fn handle(&mut self, SeenRule(seen): SeenRule, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.table.see_rule(seen);
        self.settle(cx);
        Ok(())
    }
}

impl Handler<SeenEndpoint> for Router {
    async fn handle(&mut self, seen: SeenEndpoint, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.table.see_endpoint(seen.0);
        self.settle(cx);
        Ok(())
    }
}

impl Router {
    /// Brings statuses and nodes to what the rules are by now.
    fn settle(&mut self, cx: &mut Context<Self>) {
        if !self.table.is_known() {
            return;
        }
        let keys: BTreeSet<Key> = self.table.rules().map(|(key, _)| key.clone()).collect();
        self.board.retain(&keys);
        for key in keys {
            if let Some(rule) = self.table.rule(&key) {
                self.board.see(&key, &rule.uid, &rule.status);
            }
            let problem = self.table.problem(&key);
            let turn = self.board.note(&key, problem, cx.now());
            if let (Some(problem), true) = (problem, turn != Turn::Later) {
                let (namespace, name) = &key;
                tracing::warn!(namespace, name, problem, "a rule does not work");
            }
            self.take_turn(key, turn, cx);
        }
        self.write(cx);
        self.tell_nodes(cx);
    }

    fn take_turn(&mut self, key: Key, turn: Turn, cx: &mut Context<Self>) {
        if let Turn::At(due) = turn {
            cx.after(due.saturating_duration_since(cx.now()), Due(key));
        }
    }

    fn write(&mut self, cx: &mut Context<Self>) {
        while let Some(job) = self.board.next() {
            let (kube, me, key) = (self.ports.kube.clone(), cx.me(), job.key.clone());
            cx.spawn(async move {
                let is_written = writer::write(kube, job).await;
                if me.send(Written { key, is_written }).await.is_err() {
                    tracing::debug!("the router stopped while it wrote a status");
                }
            });
        }
    }
}

impl Handler<Counted> for Router {
    async fn handle(&mut self, counted: Counted, cx: &mut Context<Self>) -> Result<(), Failure> {
        let Counted { key, outcome, endpoint } = counted;
        self.free(endpoint);
        if let Err(problem) = &outcome {
            let (namespace, name) = &key;
            tracing::debug!(namespace, name, problem, "a message did not go over its rule");
        }
        let turn = self.board.count(&key, outcome, cx.now());
        self.take_turn(key, turn, cx);
        self.write(cx);
        Ok(())
    }
}

impl Handler<Due> for Router {
    async fn handle(&mut self, Due(key): Due, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.board.is_due(key);
        self.write(cx);
        Ok(())
    }
}

impl Handler<Written> for Router {
    async fn handle(&mut self, written: Written, cx: &mut Context<Self>) -> Result<(), Failure> {
        let Written { key, is_written } = written;
        let turn = self.board.written(&key, is_written, cx.now());
        self.take_turn(key, turn, cx);
        self.write(cx);
        Ok(())
    }
}

impl Defer<ServeNode> for Router {
    async fn handle(
        &mut self,
        ServeNode { node, request, .. }: ServeNode,
        responder: Responder<NodeReply>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        match request {
            _ if !self.table.is_known() => {
                let why = "the rules could not be read yet";
                responder.reply(NodeReply::Refused(ApiStatus::new(503, "ServiceUnavailable", why)));
            }
            NodeRequest::Upload { topic, payload } => self.upload(node, &topic, payload, responder, cx),
            NodeRequest::CallUrl { url, body } => self.call_url(node, &url, &body, responder, cx),
            _ => {
                let why = "this is nothing that rules route";
                responder.reply(NodeReply::Refused(ApiStatus::new(400, "BadRequest", why)));
            }
        }
        Ok(())
    }
}
