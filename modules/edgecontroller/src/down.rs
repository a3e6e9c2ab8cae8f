//! Telling nodes what they must know.

use beehive::Context;
use protocol::cloud::{Holdings, NodeSettled};
use protocol::{
    ApiStatus, ChangeKind, Held, NodeName, Object, ObjectChange, ObjectKey, ResourceType, ResourceVersion,
};
use tokio::time::{Duration, Instant};

use crate::api::Caller;
use crate::desired::settle::{Comparison, Settling};
use crate::desired::{BODIES, Effect};
use crate::kinds::Kind;
use crate::messages::{Again, Checked, Fetched, PodsListed};
use crate::watch::{self, WatchEvent};
use crate::{EdgeController, raw};

/// How much of a difference waits at a time.
pub(crate) const PART: usize = 256;
/// How long to wait before something that failed is tried again.
pub(crate) const PAUSE: Duration = Duration::from_secs(2);

impl EdgeController {
    /// Starts watching a type, unless that was done.
    pub(crate) fn watch(&mut self, resource: ResourceType, cx: &mut Context<Self>) {
        if self.watched.contains(&resource) {
            return;
        }
        let kind = Kind::of(&resource).expect("watched types are known");
        self.watched.push(resource.clone());
        let random = cx.uuid();
        cx.spawn(watch::watch(self.api.client(), resource, kind, cx.me(), random));
    }

    /// Takes an event of a watch.
    pub(crate) fn take(&mut self, resource: &ResourceType, event: WatchEvent) -> Vec<Effect> {
        let key = match &event {
            WatchEvent::Seen(object) | WatchEvent::Gone(object) => object.key(resource.clone()),
            WatchEvent::Begin | WatchEvent::End => return self.take_list(resource, &event),
        };
        let key = match key {
            Ok(key) => key,
            Err(error) => {
                tracing::warn!(%resource, %error, "left out an object whose name is not valid");
                return Vec::new();
            }
        };
        let desired = &mut self.desired;
        match (resource.as_str(), event) {
            ("node", event) => match (NodeName::parse(key.name.as_str()), event) {
                (Ok(node), WatchEvent::Seen(object)) => desired.see_node(node, object),
                (Ok(node), _) => {
                    desired.forget_node(&node);
                    Vec::new()
                }
                (Err(_), _) => Vec::new(),
            },
            ("pod", WatchEvent::Seen(object)) => desired.see_pod(key, object),
            ("pod", WatchEvent::Gone(object)) => desired.delete_pod(&key, object),
            ("device", WatchEvent::Seen(object)) => desired.see_device(key, object),
            ("device", WatchEvent::Gone(object)) => desired.delete_device(&key, object),
            (_, WatchEvent::Seen(object)) => desired.see_body(key, object),
            (_, WatchEvent::Gone(object)) => desired.delete_body(&key, object),
            (_, WatchEvent::Begin | WatchEvent::End) => Vec::new(),
        }
    }

    fn take_list(&mut self, resource: &ResourceType, event: &WatchEvent) -> Vec<Effect> {
        let begins = matches!(event, WatchEvent::Begin);
        match resource.as_str() {
            "node" if begins => self.desired.begin_nodes(),
            "node" => self.desired.end_nodes(),
            "pod" if begins => self.desired.begin_pods(),
            "pod" => return self.desired.end_pods(),
            "device" if begins => self.desired.begin_devices(),
            "device" => return self.desired.end_devices(),
            _ if begins => self.desired.begin_bodies(resource),
            resource_type => {
                let mut effects = self.desired.end_bodies(resource);
                if resource_type == ResourceType::DEVICE_MODEL.as_str() {
                    effects.extend(self.desired.know_devices());
                }
                return effects;
            }
        }
        Vec::new()
    }

    /// Starts what can be read in one list when the list before it is known: the pods of the nodes,
    /// and then what these pods need.
    pub(crate) fn watch_next(&mut self, ended: &ResourceType, cx: &mut Context<Self>) {
        match ended.as_str() {
            "node" => self.watch(ResourceType::POD, cx),
            "device" => self.watch(ResourceType::DEVICE_MODEL, cx),
            "pod" => {
                for resource in BODIES {
                    self.watch(resource, cx);
                }
            }
            _ => {
                let (nodes, pods, needed) = self.desired.counts();
                tracing::debug!(resource = %ended, nodes, pods, needed, "received the whole list");
            }
        }
    }

    pub(crate) fn carry_out(&mut self, effects: Vec<Effect>, cx: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Send { node, change } => self.send(node, change, cx),
                Effect::Fetch(key) => self.fetch(key, cx),
                Effect::ListPods(node) => self.list_pods(node, cx),
                Effect::Settle(node) => self.settle(node, cx),
                Effect::Check { node, held } => self.check(node, held, cx),
            }
        }
        self.deliver(cx);
    }

    /// Lets a connected node know of a change. One for which too much waits loses its session: what it
    /// misses is settled when it connects.
    fn send(&mut self, node: NodeName, change: ObjectChange, cx: &mut Context<Self>) {
        if !self.sessions.takes_changes(&node) {
            return;
        }
        self.sessions.note_change(&node, &change);
        if self.outbox.push(&node, change).is_ok() {
            return;
        }
        tracing::warn!(%node, "too much waits for the node, and its session ends");
        self.outbox.clear(&node);
        if let Some(session) = self.sessions.number(&node) {
            self.sessions.end(&node, session);
        }
        self.end_session(node, cx);
    }

    /// Tells a connected node the difference, once for each session, when all of it is known.
    pub(crate) fn settle(&mut self, node: NodeName, cx: &mut Context<Self>) {
        if !self.desired.can_settle(&node) {
            return;
        }
        if let Some(holds) = self.sessions.take_unsettled(&node) {
            self.tell_settled(&node, &holds, cx);
            let (said, held) = (holds.said().is_some(), holds.list().len());
            tracing::debug!(%node, said, held, "settling a node");
            self.sessions.begin_settling(&node, Settling::new(holds));
        }
        self.go_on_settling(&node, cx);
    }

    /// Tells a node the next part of the difference, once nothing of the last one waits here.
    pub(crate) fn go_on_settling(&mut self, node: &NodeName, cx: &mut Context<Self>) {
        while !self.outbox.has(node) && self.desired.can_settle(node) {
            let Some(settling) = self.sessions.settling(node) else { return };
            let effects = self.desired.settle(node, settling, PART);
            if settling.is_over() {
                self.sessions.end_settling(node);
            }
            self.tell_difference(node, effects, cx);
        }
    }

    /// Lets a node know of all in which it differs. These are the objects as they are known here, so that
    /// they cost nothing more while they wait, however many they are.
    pub(crate) fn tell_difference(&mut self, node: &NodeName, effects: Vec<Effect>, cx: &mut Context<Self>) {
        let mut others = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send { node: to, change } if to == *node => {
                    self.sessions.count_change(node);
                    self.outbox.push_known(node, change);
                }
                other => others.push(other),
            }
        }
        self.carry_out(others, cx);
    }

    /// Tells whoever wants to know what the node held before it is sent anything.
    fn tell_settled(&self, node: &NodeName, holds: &Holdings, cx: &mut Context<Self>) {
        let Some(session) = self.sessions.number(node) else { return };
        let Comparison { kept, wanted } = self.desired.compare(node, holds);
        let types = self.desired.watched();
        let settled = NodeSettled { node: node.clone(), session, types, kept, wanted };
        let bus = cx.bus().clone();
        cx.spawn(async move {
            if let Err(error) = bus.publish(settled).await {
                tracing::debug!(%error, "what a node holds was not announced");
            }
        });
    }

    fn caller(&self, cx: &mut Context<Self>) -> Caller {
        let deadline = Instant::now() + self.config.request_timeout;
        self.api.caller(deadline, cx.uuid())
    }

    fn fetch(&mut self, key: ObjectKey, cx: &mut Context<Self>) {
        if !self.desired.is_unknown(&key) {
            return;
        }
        let (mut caller, me) = (self.caller(cx), cx.me());
        cx.spawn(async move {
            let answer = caller.get(&key).await;
            if me.send(Fetched { key, answer }).await.is_err() {
                tracing::debug!("the edge controller stopped while it read an object");
            }
        });
    }

    pub(crate) fn take_fetched(
        &mut self,
        key: ObjectKey,
        answer: Result<Object, ApiStatus>,
        cx: &mut Context<Self>,
    ) {
        let object = match answer {
            Ok(object) => Some(object),
            Err(status) if status.is_not_found() => None,
            Err(status) => {
                tracing::warn!(%key, %status, "cannot read what a pod needs; trying again");
                cx.after(PAUSE, Again(Effect::Fetch(key)));
                return;
            }
        };
        let effects = self.desired.fetched(key, object);
        self.carry_out(effects, cx);
    }

    fn list_pods(&mut self, node: NodeName, cx: &mut Context<Self>) {
        if self.desired.is_complete(&node) {
            return;
        }
        let (mut caller, me) = (self.caller(cx), cx.me());
        cx.spawn(async move {
            let answer = caller.pods_of(node.as_str()).await;
            if me.send(PodsListed { node, answer }).await.is_err() {
                tracing::debug!("the edge controller stopped while it read the pods of a node");
            }
        });
    }

    pub(crate) fn take_pods(
        &mut self,
        node: NodeName,
        answer: Result<Vec<Object>, ApiStatus>,
        cx: &mut Context<Self>,
    ) {
        match answer {
            Ok(pods) => {
                let keyed = |pod: Object| pod.key(ResourceType::POD).ok().map(|key| (key, pod));
                let effects = self.desired.pods_listed(node, pods.into_iter().filter_map(keyed).collect());
                self.carry_out(effects, cx);
            }
            Err(status) => {
                tracing::warn!(%node, %status, "cannot read the pods of a node; trying again");
                cx.after(PAUSE, Again(Effect::ListPods(node)));
            }
        }
    }

    /// Compares an object that a node holds, of a type that is not watched, with its newest state.
    fn check(&mut self, node: NodeName, held: Held, cx: &mut Context<Self>) {
        let Some(session) = self.sessions.number(&node) else { return };
        if Kind::of(&held.key.resource).is_none() {
            tracing::debug!(%node, key = %held.key, "a node holds an object of a type that is not served here");
            return;
        }
        let (mut caller, me) = (self.caller(cx), cx.me());
        cx.spawn(async move {
            let change = match caller.get(&held.key).await {
                Ok(object) if is_held(&held, &object) => return,
                Ok(object) => ObjectChange { kind: ChangeKind::Update, key: held.key, object },
                Err(status) if status.is_not_found() => match raw::tombstone(&held.key, held.uid.as_ref()) {
                    Ok(object) => ObjectChange { kind: ChangeKind::Delete, key: held.key, object },
                    Err(_) => return,
                },
                Err(status) => {
                    tracing::debug!(%node, key = %held.key, %status, "cannot read what a node holds");
                    return;
                }
            };
            if me.send(Checked { node, session, change }).await.is_err() {
                tracing::debug!("the edge controller stopped while it compared an object");
            }
        });
    }
}

fn is_held(held: &Held, newest: &Object) -> bool {
    let number_held = held.resource_version.as_ref().and_then(ResourceVersion::number);
    let number = newest.resource_version().and_then(|version| version.number());
    held.uid.is_some() && held.uid == newest.uid() && number_held.is_some() && number_held >= number
}
