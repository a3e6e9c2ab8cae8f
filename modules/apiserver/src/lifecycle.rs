//! What happens to objects without a request: the start of a cluster, garbage collection, the end
//! of namespaces and definitions, the expiry of events.

pub(crate) mod bootstrap;
mod collect;
mod definitions;
mod events;
mod kinds;
mod namespaces;
mod pods;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use beehive::latest;
use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use serde_json::Value;

use crate::auth::Identity;
use crate::registry::{self, Registry, Resource};
use crate::server::ApiServer;
use crate::server::call::Call;
use crate::server::error::ApiError;
use crate::server::meta;
use crate::server::query::Query;
use crate::storage::object::{Key, Stored};
use crate::storage::{Range, Space, Transaction};
use crate::verbs::delete::{DeleteOptions, remove};
use crate::verbs::{render, update};

/// How many objects one write deletes or changes.
const BATCH_OBJECTS: usize = 256;
/// How many rounds one upkeep makes before it lets others run.
const ROUNDS_MAX: usize = 16;

/// What the upkeep of a server remembers from one round to the next.
#[derive(Debug, Default)]
pub struct Upkeep {
    /// The objects were looked through at this version of what needs attention.
    seen: Option<u64>,
    /// Since when pods are bound to nodes that do not exist.
    missing_nodes: BTreeMap<String, Timestamp>,
}

impl ApiServer {
    /// Does what objects need without a request: collects what nobody owns any longer, empties
    /// namespaces and definitions that are being deleted.
    ///
    /// # Errors
    ///
    /// When the store fails; what is left is done by the next call.
    pub async fn maintain(&self, upkeep: &mut Upkeep) -> Result<(), ApiError> {
        for _ in 0..ROUNDS_MAX {
            let attention = self.0.storage.attention();
            if upkeep.seen == Some(attention) {
                break;
            }
            let call = Call::internal(self);
            namespaces::empty(&call).await?;
            definitions::empty(&call).await?;
            collect::collect(&call).await?;
            upkeep.seen = Some(attention);
        }
        Ok(())
    }

    /// Watches for what [`maintain`](Self::maintain) would have something to do about.
    pub(crate) fn watch_attention(&self) -> latest::Receiver<u64> {
        self.0.storage.watch_attention()
    }

    /// Deletes events that are older than `ttl`.
    ///
    /// # Errors
    ///
    /// When the store fails; what is left is done by the next call.
    pub async fn expire_events(&self, ttl: Duration) -> Result<(), ApiError> {
        events::expire(&Call::internal(self), ttl).await
    }

    /// Deletes pods whose node is gone for longer than `patience`.
    ///
    /// # Errors
    ///
    /// When the store fails; what is left is done by the next call.
    pub async fn collect_pods(&self, upkeep: &mut Upkeep, patience: Duration) -> Result<(), ApiError> {
        pods::collect(&Call::internal(self), &mut upkeep.missing_nodes, patience).await
    }
}

impl Call {
    /// A call of the server to itself.
    pub(crate) fn internal(server: &ApiServer) -> Self {
        Self {
            server: server.clone(),
            identity: Identity::new("system:apiserver", ["system:masters"]),
            method: Method::POST,
            query: Query::default(),
            accept: String::new(),
            content_type: String::new(),
            user_agent: "beehive-apiserver/".to_owned(),
            body: Bytes::new(),
            registry: server.registry(),
            now: server.now(),
        }
    }
}

/// Returns a resource that serves the objects of a space.
fn resource_of<'a>(registry: &'a Registry, space: &str) -> Option<&'a Arc<Resource>> {
    registry.resources().find(|resource| *resource.storage == *space && !resource.virtual_only())
}

/// Reads all durable objects of a space that `wanted` accepts.
fn objects(
    call: &Call,
    space: &str,
    namespace: Option<&str>,
    wanted: impl Fn(&Stored) -> bool,
) -> Vec<(Key, Arc<Stored>)> {
    let range = Range { namespace: namespace.map(Into::into), ..Range::default() };
    let snapshot = call.server.0.storage.list(space, &range, None, |_, object| wanted(object));
    snapshot.map(|snapshot| snapshot.objects).unwrap_or_default()
}

/// Deletes objects, some at a time; those that changed identity or went away are left alone.
async fn delete_all(
    call: &Call,
    resource: &Resource,
    found: &[(Key, Arc<Stored>)],
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    for batch in found.chunks(BATCH_OBJECTS) {
        let decide = |transaction: &mut Transaction<'_>| {
            for (key, seen) in batch {
                let lives =
                    transaction.get(&resource.storage, key).is_some_and(|object| object.uid == seen.uid);
                if lives {
                    remove(call, resource, transaction, key, options)?;
                }
            }
            Ok(())
        };
        call.server.0.storage.write(decide).await?;
    }
    Ok(())
}

/// Changes an object if it is still the one that was seen, and removes it if nothing holds it then.
fn change(
    resource: &Resource,
    transaction: &mut Transaction<'_>,
    key: &Key,
    uid: &str,
    edit: impl FnOnce(&mut Value),
) -> Result<(), ApiError> {
    let space: &Space = &resource.storage;
    let Some(object) = transaction.get(space, key).filter(|object| object.uid == uid) else { return Ok(()) };
    let before = render::value(resource, &object);
    let mut after = before.clone();
    edit(&mut after);
    let unheld = update::is_unheld(&after);
    if unheld {
        return transaction.remove(space, key.clone(), registry::to_storage(resource, after)).map(drop);
    }
    if after == before {
        return Ok(());
    }
    transaction.put(space, key.clone(), registry::to_storage(resource, after)).map(drop)
}

/// Takes one finalizer off an object.
fn release(
    resource: &Resource,
    transaction: &mut Transaction<'_>,
    key: &Key,
    uid: &str,
    finalizer: &str,
) -> Result<(), ApiError> {
    change(resource, transaction, key, uid, |object| {
        let mut names = meta::finalizers(object);
        names.retain(|name| name != finalizer);
        meta::set_finalizers(object, &names);
    })
}
