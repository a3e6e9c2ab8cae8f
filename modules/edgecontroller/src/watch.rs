//! Watching the Kubernetes API.

use std::pin::pin;

use beehive::{Me, Message};
use futures::StreamExt;
use kube::Api;
use kube::runtime::watcher::{self, Config, Error, Event};
use protocol::{Object, ResourceType};

use crate::EdgeController;
use crate::kinds::Kind;
use crate::pace::Pace;
use crate::raw::RawObject;

/// How long the API server keeps one watch open, in seconds; a dead connection is found a little later.
const WATCH_SECONDS: u32 = 60;
/// How many objects of a list come at once: secrets and config maps may be a mebibyte each.
const PAGE: u32 = 100;

/// A watched type changed.
#[derive(Debug, Message)]
pub(crate) struct Watched {
    pub(crate) resource: ResourceType,
    pub(crate) event: WatchEvent,
}

/// How it changed.
#[derive(Debug)]
pub(crate) enum WatchEvent {
    /// A list of all objects begins.
    Begin,
    /// An object is there, in the list or new or changed.
    Seen(Object),
    /// An object is gone; this is its last state.
    Gone(Object),
    /// The list ended.
    End,
}

/// Tells which objects of a type are watched.
fn config(resource: &ResourceType) -> Config {
    let config = Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    match resource.as_str() {
        "node" => config.labels("node-role.kubernetes.io/edge"),
        "pod" => config.fields("spec.nodeName!="),
        _ => config,
    }
}

/// Watches a type for as long as the module lives. Failures are logged and tried again.
pub(crate) async fn watch(
    client: kube::Client,
    resource: ResourceType,
    kind: &'static Kind,
    me: Me<EdgeController>,
    mut pace: Pace,
) {
    let mut failures = 0_u32;
    loop {
        let api = Api::<RawObject>::all_with(client.clone(), &kind.api_resource());
        let mut events = pin!(watcher::watcher(api, config(&resource)));
        while let Some(event) = events.next().await {
            let error = match event {
                Ok(event) => {
                    if failures > 0 && !matches!(event, Event::Init) {
                        tracing::info!(%resource, failures, "the Kubernetes API is watched again");
                        failures = 0;
                        pace.reset();
                    }
                    if !tell(&me, &resource, kind, event).await {
                        return;
                    }
                    continue;
                }
                Err(error) => error,
            };
            failures += 1;
            let delay = pace.delay();
            report(&resource, &error, failures, delay);
            tokio::time::sleep(delay).await;
            if is_expired(&error) {
                break;
            }
        }
    }
}

fn report(resource: &ResourceType, error: &Error, failures: u32, delay: std::time::Duration) {
    match failures {
        _ if is_expired(error) => tracing::debug!(%resource, %error, "the watch fell behind and begins anew"),
        1 => tracing::warn!(%resource, %error, retry_in = ?delay, "cannot watch the Kubernetes API"),
        _ => {
            tracing::debug!(%resource, %error, failures, retry_in = ?delay, "still cannot watch the Kubernetes API")
        }
    }
}

/// Tells whether the version from which a watch was to go on is too old. kube's watcher sees this
/// when it comes as an event, but not when the call itself fails so.
fn is_expired(error: &Error) -> bool {
    match error {
        Error::WatchError(status) => status.code == 410,
        Error::WatchStartFailed(kube::Error::Api(status)) | Error::WatchFailed(kube::Error::Api(status)) => {
            status.code == 410
        }
        Error::NoResourceVersion => true,
        _ => false,
    }
}

/// Hands an event to the module; `false` when it is gone.
async fn tell(
    me: &Me<EdgeController>,
    resource: &ResourceType,
    kind: &Kind,
    event: Event<RawObject>,
) -> bool {
    let event = match event {
        Event::Init => WatchEvent::Begin,
        Event::InitDone => WatchEvent::End,
        Event::Apply(object) | Event::InitApply(object) => match object.into_object(kind) {
            Ok(object) => WatchEvent::Seen(object),
            Err(error) => return unreadable(resource, &error),
        },
        Event::Delete(object) => match object.into_object(kind) {
            Ok(object) => WatchEvent::Gone(object),
            Err(error) => return unreadable(resource, &error),
        },
    };
    me.send(Watched { resource: resource.clone(), event }).await.is_ok()
}

fn unreadable(resource: &ResourceType, error: &protocol::ObjectError) -> bool {
    tracing::warn!(%resource, %error, "left out an object that is not readable");
    true
}
