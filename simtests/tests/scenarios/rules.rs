//! Rules: from REST clients to a node's MQTT clients and services, and from these to REST endpoints.

use std::time::Duration;

use eventbus::BrokerUrl;
use eventbus::memory::{MemoryBroker, message};
use eventbus::ports::{ConnectTo, Connection, Mqtt};
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use router::memory::Behaviour;
use serde_json::{Value, json};
use servicebus::memory::Behaviour as Service;
use simtests::{Direction, Failure, Sim, cluster};

const SECOND: Duration = Duration::from_secs(1);
const EDGE: &str = "edge-01";
const URL: &str = "http://app.example/hook";

fn api(kube: &Client, kind: &str, plural: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("rules.kubeedge.io", "v1", kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    Api::default_namespaced_with(kube.clone(), &resource)
}

fn create(
    sim: &mut Sim,
    kube: &Client,
    kind: &str,
    plural: &str,
    name: &str,
    spec: Value,
) -> Result<(), Failure> {
    let api = api(kube, kind, plural);
    let object = json!({ "apiVersion": "rules.kubeedge.io/v1", "kind": kind,
                         "metadata": { "name": name, "namespace": "default" }, "spec": spec });
    let object: DynamicObject = serde_json::from_value(object).expect("an object");
    let created = sim.block_on(async { api.create(&PostParams::default(), &object).await });
    created.map(drop).map_err(|error| Failure::Setup(error.to_string()))
}

/// A cloud and an edge with rules for all four pairs.
fn start(sim: &mut Sim) -> Result<Client, Failure> {
    sim.cloud("modules: {router: {enable: true, address: 127.0.0.1}}")?;
    sim.edge(EDGE, "modules: {serviceBus: {enable: true}}")?;
    let kube = sim.kube();
    sim.until("the node is ready", 60 * SECOND, async || cluster::node_is_ready(&kube, EDGE).await)?;
    for (name, spec) in [
        ("rest", json!({ "ruleEndpointType": "rest" })),
        ("bus", json!({ "ruleEndpointType": "eventbus" })),
        ("service", json!({ "ruleEndpointType": "servicebus", "properties": { "service_port": "8080" } })),
    ] {
        create(sim, &kube, "RuleEndpoint", "ruleendpoints", name, spec)?;
    }
    let to_rest = |body: &str| json!({ "resource": URL, "body": body });
    for (name, source, from, target, to) in [
        ("down", "rest", json!({ "path": "/cmd" }), "bus", json!({ "topic": "fleet/cmd" })),
        ("call", "rest", json!({ "path": "/call" }), "service", json!({ "path": "/api" })),
        ("up", "bus", json!({ "topic": "alarm", "node_name": EDGE }), "rest", to_rest("request")),
        ("hook", "service", json!({ "target_url": URL, "node_name": EDGE }), "rest", to_rest("payload")),
    ] {
        let spec =
            json!({ "source": source, "sourceResource": from, "target": target, "targetResource": to });
        create(sim, &kube, "Rule", "rules", name, spec)?;
    }
    sim.run_for(5 * SECOND)?;
    Ok(kube)
}

fn connect(sim: &mut Sim) -> Connection {
    let broker: MemoryBroker = sim.broker(EDGE).expect("the edge");
    let to = ConnectTo {
        server: BrokerUrl::parse("tcp://127.0.0.1:1883").expect("an address"),
        tls: None,
        client_id: "app".to_owned(),
        credentials: None,
        is_clean: true,
        keep_alive: 30 * SECOND,
        timeout: SECOND,
        packet_bytes_max: 1 << 20,
    };
    sim.block_on(broker.connect(to)).expect("the broker")
}

fn publish(sim: &mut Sim, app: &Connection, topic: &str, payload: &str) {
    sim.block_on(app.client.publish(message(topic, payload.to_owned()))).expect("the broker");
}

fn ask(sim: &mut Sim, uri: &str, body: &'static str) -> (u16, String) {
    let rest = sim.rest();
    let answer = sim.block_on(rest.ask("POST", uri, body)).expect("the router answers");
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

/// Returns what the endpoint was sent and has taken.
fn taken(sim: &Sim) -> Vec<String> {
    sim.rest().received().into_iter().map(|call| String::from_utf8_lossy(&call.body).into_owned()).collect()
}

async fn succeeded(kube: &Client, rule: &str) -> i64 {
    let rule = api(kube, "Rule", "rules").get_opt(rule).await.ok().flatten();
    rule.and_then(|rule| rule.data["status"]["successMessages"].as_i64()).unwrap_or_default()
}

#[test]
fn messages_go_over_all_four_pairs_of_endpoints() {
    simtests::check(11, |sim: &mut Sim| {
        let kube = start(sim)?;
        let mut app = connect(sim);
        sim.block_on(app.client.subscribe("fleet/#")).expect("the broker");
        assert_eq!(ask(sim, "/edge-01/default/cmd/stop", "now"), (200, "message delivered".to_owned()));
        let arrived = sim.block_on(app.arrivals.next()).expect("a message");
        assert_eq!((arrived.topic.as_str(), &arrived.payload[..]), ("fleet/cmd/stop", &b"now"[..]));

        let services = sim.services(EDGE).expect("the edge");
        services.behave(Service::Answers(201, "made".into()));
        assert_eq!(ask(sim, "/edge-01/default/call/lamp?on=1", "{}"), (201, "made".to_owned()));
        assert_eq!(services.called()[0].path, "/api/lamp?on=1");
        services.behave(Service::IsDown);
        assert_eq!(ask(sim, "/edge-01/default/call", "").0, 404);

        sim.rest().endpoint(URL, Behaviour::Answers(200, "heard".into()));
        publish(sim, &app, "default/alarm", "{\"t\":91}");
        sim.run_for(SECOND)?;
        assert_eq!(taken(sim), ["{\"t\":91}"]);

        let body = json!({ "method": "POST", "targetURL": URL, "payload": { "k": "v" } }).to_string();
        let heard = sim.block_on(services.app(Some(&body))).expect("the service bus answers");
        assert_eq!(serde_json::from_str::<Value>(&heard).expect("JSON")["body"], "heard");
        assert_eq!(taken(sim), ["{\"k\":\"v\"}"]);

        assert_eq!(ask(sim, "/edge-02/default/cmd", "").0, 503);
        assert_eq!(ask(sim, "/edge-01/default/none", "").0, 404);
        for rule in ["down", "call", "up", "hook"] {
            sim.until("it is counted", 10 * SECOND, async || succeeded(&kube, rule).await == 1)?;
        }
        Ok(())
    });
}

#[test]
fn what_the_broker_was_told_to_be_taken_reaches_the_endpoint_after_a_partition_a_crash_and_an_outage() {
    simtests::check(12, |sim: &mut Sim| {
        sim.allow_log("the node is silent");
        sim.allow_log("the cloud was not reached");
        let kube = start(sim)?;
        let app = connect(sim);
        sim.rest().endpoint(URL, Behaviour::Answers(200, "".into()));
        for direction in Direction::BOTH {
            sim.cut(EDGE, direction);
        }
        sim.run_for(30 * SECOND)?;
        let all: Vec<String> = (0..50).map(|number| number.to_string()).collect();
        for payload in &all {
            publish(sim, &app, "default/alarm", payload);
            sim.run_for(Duration::from_millis(100))?;
        }
        let router = format!("hub-client-rule-{EDGE}");
        let broker = sim.broker(EDGE).expect("the edge");
        let is_taken = async || broker.backlog(&router) == (0, 0);
        sim.until("the node has taken all", 10 * SECOND, is_taken)?;
        assert_eq!(ask(sim, "/edge-01/default/cmd", "").0, 503);
        sim.crash(EDGE);
        sim.restart(EDGE)?;
        sim.run_for(600 * SECOND)?;
        assert_eq!(taken(sim), [""; 0]);

        // The cloud is reached again, and the endpoint is not.
        sim.rest().endpoint(URL, Behaviour::IsDown);
        sim.heal_link(EDGE);
        sim.run_for(120 * SECOND)?;
        let tried = taken(sim);
        assert!(tried.iter().all(|payload| *payload == all[0]), "the order is kept: {tried:?}");
        sim.rest().endpoint(URL, Behaviour::Answers(200, "".into()));
        sim.until("all is counted", 300 * SECOND, async || succeeded(&kube, "up").await == 50)?;
        assert_eq!(taken(sim), all);

        // The node routes what it did before, though it was restarted.
        publish(sim, &app, "default/alarm", "last");
        sim.until("the last is counted", 10 * SECOND, async || succeeded(&kube, "up").await == 51)?;
        assert_eq!(taken(sim), ["last"]);
        Ok(())
    });
}
