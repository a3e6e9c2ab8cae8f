//! An embedded Kubernetes API server: the REST API over a durable store, callable in-process as a
//! `tower::Service` or behind a listener.
//!
//! [`ApiServer`] answers requests; the module [`ApiServerModule`] does what objects need without a
//! request: garbage collection, the end of namespaces, the expiry of events.

mod auth;
mod config;
pub mod discovery;
mod lifecycle;
pub mod openapi;
pub mod patch;
mod plain;
mod ports;
pub mod protobuf;
pub mod registry;
pub mod schema;
mod select;
mod server;
mod storage;
mod subresource;
pub mod table;
mod verbs;

use std::time::Duration;

use beehive::{BuildError, Context, Failure, Group, Handler, Message, Module, ModuleName, Wiring};
use protocol::group;

pub use auth::{Identity, SigningKey, StaticToken};
pub use config::ApiServerConfig;
pub use lifecycle::Upkeep;
pub use ports::{NoNodeLogs, NodeLogs};
pub use server::body::ResponseBody;
pub use server::error::ApiError;
pub use server::service::ClientService;
pub use server::{ApiServer, OpenError, Options, ServiceRange};
pub use storage::HistoryLimits;

const EVENTS_PERIOD: Duration = Duration::from_secs(60);
const PODS_PERIOD: Duration = Duration::from_secs(10);

/// Keeps the objects of an API server in order.
#[derive(Debug)]
pub struct ApiServerModule {
    config: ApiServerConfig,
    server: ApiServer,
    upkeep: Upkeep,
    /// Whether objects are about to be looked after.
    is_due: bool,
}

/// Something changed on which the upkeep of objects may depend.
#[derive(Debug, Clone, Message)]
struct ObjectsChanged;

/// Objects are to be looked after.
#[derive(Debug, Clone, Message)]
struct LookAfterObjects;

/// Old events are to be deleted.
#[derive(Debug, Clone, Message)]
struct ExpireEvents;

/// Pods of missing nodes are to be deleted.
#[derive(Debug, Clone, Message)]
struct CollectLostPods;

impl Module for ApiServerModule {
    const NAME: ModuleName = ModuleName::new("apiserver");
    const GROUP: Group = group::APISERVER;
    const SECTION: &'static str = "apiServer";
    type Config = ApiServerConfig;
    type Ports = ApiServer;

    fn build(config: ApiServerConfig, server: ApiServer) -> Result<Self, BuildError> {
        Ok(Self { config, server, upkeep: Upkeep::default(), is_due: false })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<ObjectsChanged>().handles::<LookAfterObjects>();
        wiring.handles::<ExpireEvents>().handles::<CollectLostPods>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        let (me, mut attention) = (cx.me(), self.server.watch_attention());
        cx.spawn(async move {
            while attention.changed().await.is_ok() && me.send(ObjectsChanged).await.is_ok() {}
        });
        self.look_soon(cx);
        cx.every(EVENTS_PERIOD, ExpireEvents);
        cx.every(PODS_PERIOD, CollectLostPods);
        let server = self.server.clone();
        cx.spawn(async move { server.settle_abandoned().await });
        Ok(())
    }
}

impl ApiServerModule {
    /// Looks after objects once for all changes of a period.
    fn look_soon(&mut self, cx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.is_due, true) {
            cx.after(self.config.upkeep_period, LookAfterObjects);
        }
    }
}

/// A store that refuses is reported; the task is done again later. Tells whether it is done.
fn report(what: &'static str, result: Result<(), ApiError>) -> bool {
    if let Err(error) = &result {
        tracing::warn!(%error, task = what, "a task of the API server failed and will be tried again");
    }
    result.is_ok()
}

impl Handler<ObjectsChanged> for ApiServerModule {
    async fn handle(&mut self, _: ObjectsChanged, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.look_soon(cx);
        Ok(())
    }
}

impl Handler<LookAfterObjects> for ApiServerModule {
    async fn handle(&mut self, _: LookAfterObjects, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.is_due = false;
        if !report("look after its objects", self.server.maintain(&mut self.upkeep).await) {
            self.look_soon(cx);
        }
        Ok(())
    }
}

impl Handler<ExpireEvents> for ApiServerModule {
    async fn handle(&mut self, _: ExpireEvents, _: &mut Context<Self>) -> Result<(), Failure> {
        report("delete old events", self.server.expire_events(self.config.event_ttl).await);
        Ok(())
    }
}

impl Handler<CollectLostPods> for ApiServerModule {
    async fn handle(&mut self, _: CollectLostPods, _: &mut Context<Self>) -> Result<(), Failure> {
        let patience = self.config.lost_pod_patience;
        report("delete lost pods", self.server.collect_pods(&mut self.upkeep, patience).await);
        Ok(())
    }
}
