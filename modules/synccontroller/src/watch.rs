//! What is seen of the Kubernetes API: whether it has the kinds of record, the records, the nodes.

use std::fmt::Debug;
use std::time::Duration;

use beehive::Me;
use k8s_openapi::api::core::v1::Node;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Resource, ResourceExt};
use kube_watch::{Pace, Resume, Told, Watch};
use protocol::NodeName;
use serde::de::DeserializeOwned;

use crate::record::{Found, Scope};
use crate::{Seen, SyncController, writer};

/// The label of nodes at the edge.
const EDGE: &str = "node-role.kubernetes.io/edge";
/// How many records of a list come at once.
const PAGE: u32 = 500;
/// The shortest and the longest pause before the API server is asked again what it has.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Waits until the API server has the kinds of record. That they are missing is said once.
pub(crate) async fn definitions(client: &kube::Client, random: [u8; 16]) {
    let mut pace = Pace::new(PAUSE.0, PAUSE.1, random);
    let mut were_missing = false;
    loop {
        match writer::has_definitions(client).await {
            Ok(true) if were_missing => {
                tracing::info!("the cluster has ObjectSync records from now on");
                return;
            }
            Ok(true) => return,
            Ok(false) if !were_missing => {
                were_missing = true;
                tracing::error!(
                    "what nodes have acknowledged is not recorded: the cluster has no custom resource definitions \
                     objectsyncs and clusterobjectsyncs of reliablesyncs.kubeedge.io; apply what `cloudcore --crds` \
                     prints, or set modules.syncController.enable to false"
                );
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "cannot tell whether the cluster has ObjectSync records"),
        }
        tokio::time::sleep(pace.delay()).await;
    }
}

pub(crate) fn records(client: kube::Client, scope: Scope, random: [u8; 16]) -> Watch<DynamicObject> {
    let api = Api::all_with(client, &scope.api_resource());
    watch(api, Config::default().page_size(PAGE), scope.kind().plural, random)
}

pub(crate) fn nodes(client: kube::Client, random: [u8; 16]) -> Watch<PartialObjectMeta<Node>> {
    watch(Api::all(client), Config::default().labels(EDGE), "nodes of records", random)
}

fn watch<K>(api: Api<K>, config: Config, what: &str, random: [u8; 16]) -> Watch<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    Watch::new(api, config, what, Resume::FromLast, random)
}

/// Tells the module what is seen; `false` when it is gone.
pub(crate) async fn tell(me: &Me<SyncController>, seen: Option<Seen>) -> bool {
    match seen {
        Some(seen) => me.send(seen).await.is_ok(),
        None => true,
    }
}

pub(crate) fn record_seen(told: Told<DynamicObject>, scope: Scope) -> Option<Seen> {
    let Told::Event(event) = told else { return None };
    match event {
        Event::Init => Some(Seen::RecordsBegin(scope)),
        Event::InitDone => Some(Seen::RecordsEnd(scope)),
        Event::Apply(record) | Event::InitApply(record) => Found::read(&record).map(Seen::Record),
        Event::Delete(record) => Found::read(&record).map(Seen::RecordGone),
    }
}

pub(crate) fn node_seen(told: Told<PartialObjectMeta<Node>>) -> Option<Seen> {
    let Told::Event(event) = told else { return None };
    let name = |node: PartialObjectMeta<Node>| NodeName::parse(&node.name_any()).ok();
    match event {
        Event::Init => Some(Seen::NodesBegin),
        Event::InitDone => Some(Seen::NodesEnd),
        Event::Apply(node) | Event::InitApply(node) => name(node).map(Seen::Node),
        Event::Delete(node) => name(node).map(Seen::NodeGone),
    }
}
