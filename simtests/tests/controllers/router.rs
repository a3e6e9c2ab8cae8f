//! The router between an API server, a probe that plays the cloud hub, and REST clients and endpoints in
//! memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::router::memory::{Behaviour, MemoryRest};
use ::router::ports::RestAnswer;
use ::router::{Ports, Router, RouterConfig};
use beehive::{Probe, Responder};
use protocol::cloud::{NodeArrived, NodeDisconnected, ServeNode};
use protocol::rules::{
    CommandError, CommandNode, CommandReply, HttpAnswer, HttpCall, NodeCommand, NodeRules,
};
use protocol::{ApiStatus, NodeName, NodeReply, NodeRequest, group};
use serde_json::{Value, json};

use crate::cluster::{Cluster, until};

const SECOND: Duration = Duration::from_secs(1);
const RULES: &str = "/apis/rules.kubeedge.io/v1/namespaces/default/rules";
const ENDPOINTS: &str = "/apis/rules.kubeedge.io/v1/namespaces/default/ruleendpoints";
const URL: &str = "http://app.example/hook";

type Answerer = Responder<Result<CommandReply, CommandError>>;
/// What the nodes do with a command; those that do not answer keep it here.
type Nodes = Rc<RefCell<BTreeMap<String, Doing>>>;

#[derive(Clone)]
enum Doing {
    Reply(CommandReply),
    Fail(CommandError),
    Nothing,
}

struct World {
    cluster: Cluster,
    rest: MemoryRest,
    nodes: Nodes,
    _kept: Rc<RefCell<Vec<Answerer>>>,
    probe: Probe<Router>,
}

impl World {
    async fn new() -> Self {
        let (cluster, rest) = (Cluster::new().await, MemoryRest::new());
        for (name, spec) in [
            ("rest", json!({ "ruleEndpointType": "rest" })),
            ("bus", json!({ "ruleEndpointType": "eventbus" })),
            (
                "service",
                json!({ "ruleEndpointType": "servicebus", "properties": { "service_port": "8080" } }),
            ),
        ] {
            cluster.create(ENDPOINTS, json!({ "metadata": { "name": name }, "spec": spec })).await;
        }
        let nodes = Nodes::default();
        let kept: Rc<RefCell<Vec<Answerer>>> = Rc::default();
        let (asked, keep) = (nodes.clone(), kept.clone());
        let ports = Ports {
            kube: cluster.client(),
            listener: Arc::new(rest.clone()),
            client: Arc::new(rest.clone()),
        };
        let probe = Probe::<Router>::new(RouterConfig::default(), ports)
            .serve_later::<CommandNode>(group::CLOUDHUB, move |ask, responder| {
                match asked.borrow().get(ask.node.as_str()).cloned() {
                    None => responder.reply(Err(CommandError::NotConnected)),
                    Some(Doing::Reply(_)) if matches!(ask.command, NodeCommand::Route(_)) => {
                        responder.reply(Ok(CommandReply::Done));
                    }
                    Some(Doing::Reply(reply)) => responder.reply(Ok(reply)),
                    Some(Doing::Fail(error)) => responder.reply(Err(error)),
                    Some(Doing::Nothing) => keep.borrow_mut().push(responder),
                }
            })
            .start()
            .await;
        tokio::time::sleep(SECOND).await;
        Self { cluster, rest, nodes, _kept: kept, probe }
    }

    async fn rule(&self, name: &str, source: &str, from: Value, target: &str, to: Value) {
        let spec =
            json!({ "source": source, "sourceResource": from, "target": target, "targetResource": to });
        self.cluster.create(RULES, json!({ "metadata": { "name": name }, "spec": spec })).await;
        tokio::time::sleep(SECOND / 2).await;
    }

    fn node(&self, doing: Doing) {
        self.nodes.borrow_mut().insert("n".to_owned(), doing);
    }

    async fn ask(&self, uri: &str, body: &'static str) -> (u16, String) {
        let RestAnswer { status, body, .. } = self.rest.ask("POST", uri, body).await.expect("an answer");
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    fn commands(&self) -> Vec<NodeCommand> {
        self.probe.asked::<CommandNode>().into_iter().map(|asked| asked.command).collect()
    }

    async fn serve(&self, request: NodeRequest) -> NodeReply {
        let node = NodeName::parse("n").expect("a name");
        self.probe.ask(ServeNode { node, session: 1, request }).await.expect("an answer")
    }

    async fn status(&self, rule: &str) -> Value {
        self.cluster.get(&format!("{RULES}/{rule}")).await["status"].clone()
    }

    async fn shows(&self, rule: &str, status: Value) {
        until(&format!("{rule} shows {status}"), async || self.status(rule).await == status).await;
    }
}

fn done() -> Doing {
    Doing::Reply(CommandReply::Done)
}

fn upload(topic: &str, payload: &'static str) -> NodeRequest {
    NodeRequest::Upload { topic: topic.to_owned(), payload: payload.into() }
}

fn refused(reply: NodeReply) -> ApiStatus {
    match reply {
        NodeReply::Refused(status) => status,
        other => panic!("a refusal: {other:?}"),
    }
}

fn arrived(session: u64) -> NodeArrived {
    NodeArrived { node: NodeName::parse("n").expect("a name"), session }
}

fn topics(commands: &[NodeCommand]) -> Vec<Vec<&str>> {
    let mut all = Vec::new();
    for command in commands {
        if let NodeCommand::Route(NodeRules { topics, .. }) = command {
            all.push(topics.iter().map(String::as_str).collect());
        }
    }
    all
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_rest_client_publishes_to_the_mqtt_clients_of_a_node() {
    let world = World::new().await;
    world.rule("r", "rest", json!({ "path": "/a" }), "bus", json!({ "topic": "fleet" })).await;
    world.node(done());
    drop(world.commands());
    assert_eq!(world.ask("/n/default/a/cmd/stop?x=1", "{}").await, (200, "message delivered".to_owned()));
    let expect = NodeCommand::Publish { topic: "fleet/cmd/stop".to_owned(), payload: "{}".into() };
    assert_eq!(world.commands(), [expect]);
    world.shows("r", json!({ "successMessages": 1, "failMessages": 0, "errors": [] })).await;
    world.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_rest_client_calls_a_service_of_a_node_and_hears_its_answer() {
    let world = World::new().await;
    world.rule("r", "rest", json!({ "path": "a" }), "service", json!({ "path": "/target" })).await;
    let headers = [("X-Own", "1"), ("Connection", "close")];
    let headers = headers.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).into();
    let answer = HttpAnswer { status: 418, headers, body: "short and stout".into() };
    world.node(Doing::Reply(CommandReply::Answer(answer)));
    drop(world.commands());
    let answered = world.rest.ask("PUT", "/n/default/a/b?x=1", "body").await.expect("an answer");
    assert_eq!((answered.status, &answered.body[..]), (418, &b"short and stout"[..]));
    assert_eq!(answered.headers.into_keys().collect::<Vec<_>>(), ["X-Own"]);
    let expect = NodeCommand::Call(HttpCall {
        port: 8080,
        path: "/target/b?x=1".to_owned(),
        method: "PUT".to_owned(),
        headers: [("x-test".to_owned(), vec!["y".to_owned()])].into(),
        body: "body".into(),
    });
    assert_eq!(world.commands(), [expect]);
    world.shows("r", json!({ "successMessages": 1, "failMessages": 0, "errors": [] })).await;
    world.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_request_that_cannot_be_passed_is_answered_with_its_cause() {
    let world = World::new().await;
    world.rule("r", "rest", json!({ "path": "a" }), "bus", json!({ "topic": "t" })).await;
    for (doing, status, text) in [
        (None, 503, "node n: the node is not connected"),
        (Some(Doing::Fail(CommandError::Overloaded)), 503, "node n: too many calls wait for the node"),
        (
            Some(Doing::Fail(CommandError::Unsupported)),
            501,
            "node n: the node's edgecore is too old for rules",
        ),
        (Some(Doing::Reply(CommandReply::Refused("no broker".to_owned()))), 502, "node n: no broker"),
        (Some(Doing::Nothing), 504, "node n did not answer within 60 s; it may have acted"),
    ] {
        if let Some(doing) = doing {
            world.node(doing);
        }
        assert_eq!(world.ask("/n/default/a", "").await, (status, text.to_owned()));
    }
    world
        .shows(
            "r",
            json!({ "successMessages": 0, "failMessages": 5,
                "errors": ["node n did not answer within 60 s; it may have acted"] }),
        )
        .await;
    for uri in ["/n/default/b", "/n/other/a", "/n/default", "/N O/default/a", "/", "/n/default/a/../b"] {
        assert_eq!(world.ask(uri, "").await.0, 404, "{uri}");
    }
    world.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_a_node_s_mqtt_client_publishes_is_posted_to_the_endpoint() {
    let world = World::new().await;
    let from = json!({ "topic": "alarm", "node_name": "n" });
    world.rule("r", "bus", from, "rest", json!({ "resource": URL })).await;
    world.rest.endpoint(URL, Behaviour::Answers(204, "".into()));
    assert_eq!(world.serve(upload("default/alarm", "{\"t\":91}")).await, NodeReply::Done);
    let received = world.rest.received();
    let [call] = &received[..] else { panic!("one call") };
    assert_eq!((call.url.as_str(), &call.body[..]), (URL, &b"{\"t\":91}"[..]));
    assert_eq!(
        (&call.headers["NodeName"][0], &call.headers["Content-Type"][0]),
        (&"n".to_owned(), &"application/json".to_owned())
    );
    world.shows("r", json!({ "successMessages": 1, "failMessages": 0, "errors": [] })).await;
    // What no rule wants is dropped, and is not to be sent again.
    assert_eq!(world.serve(upload("default/other", "1")).await, NodeReply::Done);
    assert_eq!(world.rest.received(), []);
    world.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_message_is_to_be_sent_again_while_its_endpoint_cannot_take_it_and_not_when_it_never_will() {
    let world = World::new().await;
    let from = json!({ "topic": "alarm", "node_name": "n" });
    world.rule("r", "bus", from, "rest", json!({ "resource": URL })).await;
    for (behaviour, tries, text) in [
        (Behaviour::IsDown, 3, "it was not reached: connection refused"),
        (Behaviour::IsSlow, 2, "it did not answer within "),
        (Behaviour::Answers(503, "".into()), 3, "it answered with status 503"),
    ] {
        world.rest.endpoint(URL, behaviour);
        let status = refused(world.serve(upload("default/alarm", "1")).await);
        assert!(status.message.starts_with(&format!("endpoint {URL}: {text}")), "{status:?}");
        assert_eq!(status.code, 503);
        assert_eq!(world.rest.received().len(), tries);
    }
    for (behaviour, text) in [
        (Behaviour::Answers(400, "".into()), "it answered with status 400"),
        (Behaviour::SaysTooMuch, "its answer has more than 5000000 bytes"),
    ] {
        world.rest.endpoint(URL, behaviour);
        assert_eq!(world.serve(upload("default/alarm", "1")).await, NodeReply::Done);
        assert_eq!(world.rest.received().len(), 1);
        until("the failure is shown", async || {
            world.status("r").await["errors"] == json!([format!("endpoint {URL}: {text}")])
        })
        .await;
    }
    assert_eq!(world.status("r").await["failMessages"], 5);
    world.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn too_many_messages_for_one_endpoint_are_to_be_sent_again_and_others_go() {
    let world = World::new().await;
    for (name, topic, url) in [("slow", "slow", URL), ("fast", "fast", "http://other.example/")] {
        let from = json!({ "topic": topic, "node_name": "n" });
        world.rule(name, "bus", from, "rest", json!({ "resource": url })).await;
    }
    world.rest.endpoint(URL, Behaviour::IsSlow);
    world.rest.endpoint("http://other.example/", Behaviour::Answers(200, "".into()));
    let all = (0..20).map(|_| world.serve(upload("default/slow", "1")));
    let codes: Vec<u16> =
        futures::future::join_all(all).await.into_iter().map(|reply| refused(reply).code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 429).count(), 4, "{codes:?}");
    assert_eq!(world.serve(upload("default/fast", "1")).await, NodeReply::Done);
    world.rest.endpoint(URL, Behaviour::Answers(200, "".into()));
    assert_eq!(world.serve(upload("default/slow", "1")).await, NodeReply::Done);
    world.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_application_of_a_node_has_a_url_called_and_hears_the_answer() {
    let world = World::new().await;
    let from = json!({ "target_url": "http://cloud/x", "node_name": "n" });
    world.rule("r", "service", from, "rest", json!({ "resource": URL })).await;
    let body = r#"{"method":"POST","targetURL":"http://cloud/x","payload":1}"#;
    let call = |url: &str| NodeRequest::CallUrl { url: url.to_owned(), body: body.into() };
    world.rest.endpoint(URL, Behaviour::Answers(200, "{\"sink\":\"ok\"}".into()));
    assert_eq!(world.serve(call("http://cloud/x")).await, NodeReply::Text("{\"sink\":\"ok\"}".to_owned()));
    let sent = world.rest.received().remove(0).body;
    assert_eq!(&sent[..8], b"eyJtZXRo", "KubeEdge's router sends the base64 text of the request");
    world.rest.endpoint(URL, Behaviour::Answers(404, "gone".into()));
    let status = refused(world.serve(call("http://cloud/x")).await);
    assert_eq!(
        (status.code, status.reason.as_str(), status.message.as_str()),
        (404, "EndpointAnswered", "gone")
    );
    world.rest.endpoint(URL, Behaviour::IsDown);
    assert_eq!(refused(world.serve(call("http://cloud/x")).await).code, 502);
    assert_eq!(refused(world.serve(call("http://cloud/y")).await).code, 404);
    world
        .shows(
            "r",
            json!({ "successMessages": 1, "failMessages": 2,
                "errors": [format!("endpoint {URL}: it was not reached: connection refused")] }),
        )
        .await;
    world.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_is_told_what_the_rules_want_when_it_comes_and_when_they_change() {
    let world = World::new().await;
    let from = |topic: &str| json!({ "topic": topic, "node_name": "n" });
    let to = || json!({ "resource": URL });
    world.rule("a", "bus", from("a"), "rest", to()).await;
    assert_eq!(topics(&world.commands()), [["default/a"]], "its session may be older than the router");
    world.node(done());
    world.probe.send(arrived(1)).await;
    assert_eq!(topics(&world.commands()), [["default/a"]]);
    world.rule("b", "bus", from("b"), "rest", to()).await;
    assert_eq!(topics(&world.commands()), [["default/a", "default/b"]]);
    world.cluster.delete(&format!("{RULES}/a")).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(topics(&world.commands()), [["default/b"]]);
    let node = NodeName::parse("n").expect("a name");
    world.probe.send(NodeDisconnected { node, session: 1 }).await;
    world.probe.send(arrived(2)).await;
    assert_eq!(topics(&world.commands()), [["default/b"]], "it may have lost its disk");
    world.cluster.delete(&format!("{RULES}/b")).await;
    tokio::time::sleep(SECOND).await;
    let none: Vec<&str> = Vec::new();
    assert_eq!(topics(&world.commands()), [none]);
    world.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_cannot_keep_what_it_is_told_is_told_again() {
    let world = World::new().await;
    world.node(Doing::Fail(CommandError::Lost));
    let from = json!({ "topic": "a", "node_name": "n" });
    world.rule("a", "bus", from, "rest", json!({ "resource": URL })).await;
    world.probe.send(arrived(1)).await;
    drop(world.commands());
    world.probe.advance(35 * SECOND).await;
    let again = topics(&world.commands()).len();
    assert!((2..=4).contains(&again), "{again} times");
    world.node(done());
    world.probe.advance(11 * SECOND).await;
    drop(world.commands());
    world.probe.advance(100 * SECOND).await;
    assert_eq!(topics(&world.commands()).len(), 0);
    world.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_rule_that_does_not_work_says_why_until_it_does() {
    let world = World::new().await;
    world.rule("r", "rest", json!({ "path": "a" }), "later", json!({ "topic": "t" })).await;
    let problem = "target ruleEndpoint default/later has not been created";
    world.shows("r", json!({ "successMessages": 0, "failMessages": 0, "errors": [problem] })).await;
    assert_eq!(world.ask("/n/default/a", "").await.0, 404);
    let later = json!({ "metadata": { "name": "later" }, "spec": { "ruleEndpointType": "eventbus" } });
    world.cluster.create(ENDPOINTS, later).await;
    world.shows("r", json!({ "successMessages": 0, "failMessages": 0, "errors": [] })).await;
    world.node(done());
    assert_eq!(world.ask("/n/default/a", "").await.0, 200);
    world.rule("second", "rest", json!({ "path": "/a/" }), "bus", json!({ "topic": "t" })).await;
    let problem = "source properties exist in Rule default/r";
    world.shows("second", json!({ "successMessages": 0, "failMessages": 0, "errors": [problem] })).await;
    world.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn however_many_messages_go_over_a_rule_its_status_is_written_once_a_second() {
    let world = World::new().await;
    world.rule("r", "rest", json!({ "path": "a" }), "bus", json!({ "topic": "t" })).await;
    world.node(done());
    let before = world.cluster.writes();
    for _ in 0..100 {
        assert_eq!(world.ask("/n/default/a", "").await.0, 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.shows("r", json!({ "successMessages": 100, "failMessages": 0, "errors": [] })).await;
    let writes = world.cluster.writes() - before;
    assert!((5..=8).contains(&writes), "{writes} writes in five seconds");
    world.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn counts_that_could_not_be_written_are_written_later() {
    let world = World::new().await;
    world.rule("r", "rest", json!({ "path": "a" }), "bus", json!({ "topic": "t" })).await;
    world.node(done());
    world.cluster.cut(true);
    for _ in 0..3 {
        assert_eq!(world.ask("/n/default/a", "").await.0, 200, "the rules are known");
    }
    world.probe.advance(20 * SECOND).await;
    world.cluster.cut(false);
    world.shows("r", json!({ "successMessages": 3, "failMessages": 0, "errors": [] })).await;
    world.probe.stop().await;
}
