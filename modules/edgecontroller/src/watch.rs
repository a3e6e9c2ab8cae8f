//! Watching the Kubernetes API.

use beehive::{Me, Message};
use kube::Api;
use kube::runtime::watcher::{Config, Event};
use kube_watch::{Resume, Told, Watch};
use protocol::{Object, ResourceType};

use crate::EdgeController;
use crate::kinds::Kind;
use crate::raw::RawObject;

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
    let config = Config::default().page_size(PAGE);
    match resource.as_str() {
        "node" => config.labels("node-role.kubernetes.io/edge"),
        "pod" => config.fields("spec.nodeName!="),
        _ => config,
    }
}

/// Watches a type for as long as the module lives.
pub(crate) async fn watch(
    client: kube::Client,
    resource: ResourceType,
    kind: &'static Kind,
    me: Me<EdgeController>,
    random: [u8; 16],
) {
    let api = Api::<RawObject>::all_with(client, &kind.api_resource());
    // Objects may be many: what was seen stays as it is through an outage.
    let watch = Watch::new(api, config(&resource), resource.as_str(), Resume::FromLast, random);
    let tell = async |told| match told {
        Told::Event(event) => tell(&me, &resource, kind, event).await,
        Told::Lost => true,
    };
    watch.run(tell).await;
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
