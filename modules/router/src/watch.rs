//! Watching rules and their endpoints.

use api::ResourceKind;
use api::rules::{RULE, RULE_ENDPOINT, RuleEndpointSpec, RuleSpec, RuleStatus};
use beehive::{Me, Message};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher::{Config, Event};
use kube::{Api, ResourceExt};
use kube_watch::{Resume, Told, Watch};
use serde::de::DeserializeOwned;

use crate::Router;
use crate::rule::Key;
use crate::table::{Rule, Seen};

/// How many objects of a list come at once.
const PAGE: u32 = 500;

/// A rule was seen, or is gone.
#[derive(Debug, Message)]
pub(crate) struct SeenRule(pub(crate) Seen<Rule>);

/// An endpoint was seen, or is gone.
#[derive(Debug, Message)]
pub(crate) struct SeenEndpoint(pub(crate) Seen<RuleEndpointSpec>);

/// The kind as the client needs it.
pub(crate) fn resource(kind: ResourceKind) -> ApiResource {
    ApiResource {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        api_version: kind.api_version(),
        kind: kind.kind.to_owned(),
        plural: kind.plural.to_owned(),
    }
}

fn watch(client: kube::Client, kind: ResourceKind, random: [u8; 16]) -> Watch<DynamicObject> {
    let api = Api::<DynamicObject>::all_with(client, &resource(kind));
    Watch::new(api, Config::default().page_size(PAGE), kind.plural, Resume::FromLast, random)
}

/// Watches all rules for as long as the module lives.
pub(crate) async fn rules(client: kube::Client, me: Me<Router>, random: [u8; 16]) {
    let tell = async |told| match told {
        Told::Event(event) => match seen(event, rule) {
            Some(seen) => me.send(SeenRule(seen)).await.is_ok(),
            None => true,
        },
        Told::Lost => true,
    };
    watch(client, RULE, random).run(tell).await;
}

/// Watches all endpoints for as long as the module lives.
pub(crate) async fn endpoints(client: kube::Client, me: Me<Router>, random: [u8; 16]) {
    let tell = async |told| match told {
        Told::Event(event) => match seen(event, |object| part::<RuleEndpointSpec>(object, "spec")) {
            Some(seen) => me.send(SeenEndpoint(seen)).await.is_ok(),
            None => true,
        },
        Told::Lost => true,
    };
    watch(client, RULE_ENDPOINT, random).run(tell).await;
}

fn seen<T>(event: Event<DynamicObject>, read: impl FnOnce(&DynamicObject) -> Option<T>) -> Option<Seen<T>> {
    match event {
        Event::Init => Some(Seen::Begin),
        Event::InitDone => Some(Seen::End),
        Event::Apply(object) | Event::InitApply(object) => {
            let key = key(&object)?;
            match read(&object) {
                Some(thing) => Some(Seen::Here(key, thing)),
                None => {
                    let (namespace, name) = &key;
                    tracing::warn!(
                        namespace,
                        name,
                        "left out a rule or an endpoint whose spec cannot be read"
                    );
                    Some(Seen::Gone(key))
                }
            }
        }
        Event::Delete(object) => Some(Seen::Gone(key(&object)?)),
    }
}

fn key(object: &DynamicObject) -> Option<Key> {
    Some((object.metadata.namespace.clone()?, object.metadata.name.clone()?))
}

fn part<T: DeserializeOwned>(object: &DynamicObject, name: &str) -> Option<T> {
    T::deserialize(object.data.get(name)?).ok()
}

fn rule(object: &DynamicObject) -> Option<Rule> {
    let created = object.creation_timestamp().map(|time| time.0.to_string());
    Some(Rule {
        uid: object.uid().unwrap_or_default(),
        created: created.unwrap_or_default(),
        spec: part::<RuleSpec>(object, "spec")?,
        status: part::<RuleStatus>(object, "status").unwrap_or_default(),
    })
}
