//! What comes to the router: requests of REST clients, and messages of nodes.

use beehive::{Context, Failure, Handler, Me, Message, Responder};
use bytes::Bytes;
use futures::future::join_all;
use protocol::rules::ENDPOINT_ANSWERED;
use protocol::{ApiStatus, NodeName, NodeReply};

use crate::deliver::{Delivery, Undelivered, form};
use crate::path::Address;
use crate::ports::{ListenError, RestCall, RestCalls};
use crate::rest::{Passage, answer};
use crate::rule::{Key, Target};
use crate::table::Working;
use crate::{Counted, Router};

/// REST requests that may be on their way to nodes.
const PASSING_MAX: usize = 256;
/// Messages that may be on their way to one endpoint, and to all.
const DELIVERING_MAX: usize = 16;
const DELIVERING_ALL_MAX: usize = 256;

/// A REST client asks.
#[derive(Debug, Message)]
pub(crate) struct Called(RestCall);

/// The listener ended.
#[derive(Debug, Message)]
pub(crate) struct CallsEnded(ListenError);

impl Router {
    pub(crate) async fn listen(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        let on = self.config.listen_on();
        let place = format!("{}:{}", on.address, on.port);
        let is_local = on.address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if on.tls.is_none() && !is_local {
            tracing::warn!(
                place,
                "whoever reaches the router's listener may send to nodes, and nothing is encrypted, as with \
                 KubeEdge's; set modules.router.address to 127.0.0.1, or tlsCertFile and tlsPrivateKeyFile"
            );
        }
        let calls = self.ports.listener.listen(on).await.map_err(Failure::because)?;
        tracing::info!(place, "the router listens for REST clients");
        cx.spawn(accept(calls, cx.me()));
        Ok(())
    }

    /// Takes a message of a node's broker to the endpoints of all rules that want it.
    pub(crate) fn upload(
        &mut self,
        node: NodeName,
        topic: &str,
        payload: Bytes,
        responder: Responder<NodeReply>,
        cx: &mut Context<Self>,
    ) {
        let rules = self.table.of_topic(&node, topic);
        if rules.is_empty() {
            self.note_unwanted(&node, topic);
            return responder.reply(NodeReply::Done);
        }
        let Some(deliveries) = self.deliveries(&node, rules, |_| payload.clone()) else {
            return responder.reply(NodeReply::Refused(too_many()));
        };
        let me = cx.me();
        cx.spawn(async move {
            let outcomes = join_all(deliveries.into_iter().map(|delivery| deliver(delivery, &me))).await;
            let again = outcomes.into_iter().filter_map(Result::err).find(|undelivered| undelivered.may_pass);
            responder.reply(match again {
                Some(Undelivered { text, .. }) => {
                    NodeReply::Refused(ApiStatus::new(503, "ServiceUnavailable", text))
                }
                // What no endpoint will ever take is counted with its rule.
                None => NodeReply::Done,
            });
        });
    }

    /// Has a URL called for an application on a node.
    pub(crate) fn call_url(
        &mut self,
        node: NodeName,
        url: &str,
        body: &Bytes,
        responder: Responder<NodeReply>,
        cx: &mut Context<Self>,
    ) {
        let Some(working) = self.table.of_url(&node, url) else {
            let why = format!("no rule lets node {node} have {url} called");
            return responder.reply(NodeReply::Refused(ApiStatus::new(404, "NotFound", why)));
        };
        let of_target = |target: &Target| match target {
            Target::Rest(_, wanted) => form(body, *wanted),
            Target::Topic(_) | Target::Service(..) => body.clone(),
        };
        let Some(mut deliveries) = self.deliveries(&node, vec![working], of_target) else {
            return responder.reply(NodeReply::Refused(too_many()));
        };
        let (Some(delivery), me) = (deliveries.pop(), cx.me()) else { return };
        cx.spawn(async move {
            responder.reply(match deliver(delivery, &me).await {
                Ok(answered) => NodeReply::Text(String::from_utf8_lossy(&answered.body).into_owned()),
                Err(Undelivered { answer: Some(answered), .. }) => {
                    let body = String::from_utf8_lossy(&answered.body).into_owned();
                    NodeReply::Refused(ApiStatus::new(answered.status, ENDPOINT_ANSWERED, body))
                }
                Err(Undelivered { text, .. }) => NodeReply::Refused(ApiStatus::new(502, "BadGateway", text)),
            });
        });
    }

    /// Takes a place at the endpoint of each rule; `None` if one has none.
    fn deliveries(
        &mut self,
        node: &NodeName,
        rules: Vec<Working>,
        body: impl Fn(&Target) -> Bytes,
    ) -> Option<Vec<(Key, Delivery)>> {
        let urls: Vec<&str> = rules.iter().filter_map(Working::endpoint).collect();
        let under_way = |url: &str| self.delivering.get(url).copied().unwrap_or_default();
        let all: usize = self.delivering.values().sum();
        let has_room = urls.iter().all(|url| under_way(url) < DELIVERING_MAX);
        if !has_room || all + urls.len() > DELIVERING_ALL_MAX {
            return None;
        }
        for url in urls {
            *self.delivering.entry(url.to_owned()).or_default() += 1;
        }
        let delivery = |Working { key, route }: Working| {
            let body = body(&route.target);
            let Target::Rest(url, _) = route.target else { return None };
            let (client, ca) = (self.ports.client.clone(), self.config.endpoint_ca());
            Some((key, Delivery { client, node: node.clone(), url, body, ca }))
        };
        Some(rules.into_iter().filter_map(delivery).collect())
    }

    /// Frees the place of what went over a rule.
    pub(crate) fn free(&mut self, endpoint: Option<String>) {
        let Some(endpoint) = endpoint else {
            self.passing = self.passing.saturating_sub(1);
            return;
        };
        if let Some(count) = self.delivering.get_mut(&endpoint) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.delivering.remove(&endpoint);
            }
        }
    }

    /// Says that no rule wants a message, the first time and each time that it was doubled.
    fn note_unwanted(&mut self, node: &NodeName, topic: &str) {
        self.unwanted += 1;
        if self.unwanted.is_power_of_two() {
            let (count, topic) = (self.unwanted, topic.chars().take(256).collect::<String>());
            tracing::warn!(count, %node, topic, "no rule wants what a node's MQTT client published: it is dropped");
        }
    }
}

async fn accept(mut calls: Box<dyn RestCalls>, me: Me<Router>) {
    loop {
        let sent = match calls.next().await {
            Ok(call) => me.send(Called(call)).await,
            Err(error) => {
                if me.send(CallsEnded(error)).await.is_err() {
                    tracing::debug!("the router stops");
                }
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Delivers, and says what came of it to whoever counts.
async fn deliver(
    (key, delivery): (Key, Delivery),
    me: &Me<Router>,
) -> Result<crate::ports::EndpointAnswer, Undelivered> {
    let endpoint = Some(delivery.url.clone());
    let outcome = delivery.deliver().await;
    let counted = outcome.as_ref().map(|_| ()).map_err(|undelivered| undelivered.text.clone());
    if me.send(Counted { key, outcome: counted, endpoint }).await.is_err() {
        tracing::debug!("the router stopped while it delivered a message");
    }
    outcome
}

fn too_many() -> ApiStatus {
    ApiStatus::new(429, "TooManyRequests", "too many messages are on their way to the endpoint")
}

impl Handler<Called> for Router {
    async fn handle(&mut self, Called(call): Called, cx: &mut Context<Self>) -> Result<(), Failure> {
        let RestCall { request, answer: way } = call;
        let refuse = |way: tokio::sync::oneshot::Sender<_>, status: u16, text: String| {
            if way.send(answer(status, text)).is_err() {
                tracing::trace!("a REST client left before it was refused");
            }
        };
        if !self.table.is_known() {
            refuse(way, 503, "the rules could not be read yet".to_owned());
            return Ok(());
        }
        if self.passing >= PASSING_MAX {
            refuse(way, 503, "too many requests are on their way to nodes".to_owned());
            return Ok(());
        }
        let address = match Address::parse(&request.uri) {
            Ok(address) => address,
            Err(problem) => {
                refuse(way, 404, problem);
                return Ok(());
            }
        };
        let found = self.table.of_request(&address);
        let passage = found.and_then(|(working, tail)| {
            let passage = Passage::new(request, &address, &tail, &working.route.target)?;
            Some((working.key.clone(), passage))
        });
        let Some((key, passage)) = passage else {
            let namespace = &address.namespace;
            refuse(way, 404, format!("no rule of the namespace {namespace} takes this path"));
            return Ok(());
        };
        self.passing += 1;
        let (bus, me, within) = (cx.bus().clone(), cx.me(), self.config.rest_timeout());
        cx.spawn(async move {
            let (answered, outcome) = passage.pass(bus, within).await;
            if way.send(answered).is_err() {
                tracing::debug!("a REST client left before it was answered");
            }
            if me.send(Counted { key, outcome, endpoint: None }).await.is_err() {
                tracing::debug!("the router stopped while it passed a request");
            }
        });
        Ok(())
    }
}

impl Handler<CallsEnded> for Router {
    async fn handle(&mut self, ended: CallsEnded, _: &mut Context<Self>) -> Result<(), Failure> {
        Err(Failure::because(ended.0))
    }
}
