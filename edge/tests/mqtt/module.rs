//! The event bus itself, between a mapper and device twins that only echo.

use std::sync::Arc;
use std::time::Duration;

use beehive::{
    BuildError, Catalog, Context, Failure, Group, Handler, Module, ModuleName, Node, NodeOptions, Section,
    Sections, Wiring,
};
use edgecore::mqtt::{EmbeddedBroker, MqttClient};
use eventbus::memory::message;
use eventbus::ports::{ConnectTo, Mqtt};
use eventbus::{EventBus, Ports};
use protocol::device::{CallDevice, DeviceCall, LocalTopic, PublishLocal};
use protocol::edge::MetaError;
use protocol::group;
use serde_json::json;
use store::MemoryStore;
use tokio::time::timeout;

use crate::mosquitto::{Mosquitto, PATIENCE, with_mosquitto};

/// Answers each update with its payload.
struct Echo;

impl Module for Echo {
    const NAME: ModuleName = ModuleName::new("echo");
    const GROUP: Group = group::TWIN;
    type Config = ();
    type Ports = ();

    fn build((): (), (): ()) -> Result<Self, BuildError> {
        Ok(Self)
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<CallDevice>();
        wiring.asks::<PublishLocal>(group::BUS);
    }
}

impl Handler<CallDevice> for Echo {
    async fn handle(
        &mut self,
        call: CallDevice,
        cx: &mut Context<Self>,
    ) -> Result<Result<(), MetaError>, Failure> {
        if let DeviceCall::UpdateTwins(device) = call.call {
            let topic = LocalTopic::TwinResult(Some(device));
            let answer = PublishLocal { topic, payload: call.payload };
            cx.bus().to(group::BUS).send(answer).await.map_err(Failure::because)?;
        }
        Ok(Ok(()))
    }
}

async fn launch(broker: &Mosquitto) -> Node {
    let to = broker.to();
    let user = to.credentials.expect("the broker asks for a password");
    let body = json!({
        "mqttServerExternal": to.server.to_string(),
        "mqttUsername": user.username,
        "mqttPassword": user.password.reveal(),
    });
    launch_with(body, Arc::new(EmbeddedBroker::new())).await
}

/// Starts an event bus with this section.
pub(crate) async fn launch_with(body: serde_json::Value, broker: Arc<EmbeddedBroker>) -> Node {
    let sections = Sections::from([("eventBus".to_owned(), Section { body, ..Section::default() })]);
    let ports = Ports { mqtt: Arc::new(MqttClient), broker, store: Arc::new(MemoryStore::new()) };
    let catalog = Catalog::new().with::<Echo>(()).with::<EventBus>(ports);
    Node::launch(catalog, sections, NodeOptions::default()).await.expect("it is wired")
}

#[tokio::test(flavor = "local")]
async fn a_mapper_is_answered_before_and_after_the_broker_was_away() {
    with_mosquitto!("a_mapper_is_answered", |broker| {
        let node = launch(broker).await;
        for round in ["first", "after a restart of the broker"] {
            let to = ConnectTo { client_id: "mapper".to_owned(), ..broker.to() };
            let mut mapper = MqttClient.connect(to).await.expect("the broker is there");
            let device = "$hw/events/device/default/temp-1/twin/update";
            mapper.client.subscribe(&format!("{device}/result")).await.expect("it may subscribe");
            let begin = tokio::time::Instant::now();
            // Whether edgecore has subscribed is seen by its answer.
            let answered = loop {
                mapper.client.publish(message(device, round)).await.expect("it may publish");
                match timeout(Duration::from_millis(200), mapper.arrivals.next()).await {
                    Ok(arrived) => break arrived.expect("the broker is there"),
                    Err(_) => assert!(begin.elapsed() < PATIENCE, "{round}: no answer"),
                }
            };
            assert_eq!(
                (answered.topic, &answered.payload[..]),
                (format!("{device}/result"), round.as_bytes())
            );
            broker.stop();
            broker.start().await;
        }
        assert_eq!(node.stop().await.overran, []);
    });
}
