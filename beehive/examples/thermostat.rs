//! A thermostat reads a room each period and switches its heater; both are modules.

use std::time::Duration;

use beehive::{
    BuildError, Catalog, Context, Failure, Group, Handler, Message, Module, ModuleConfig, ModuleName, Node,
    NodeOptions, Section, Sections, Wiring,
};
use serde::Deserialize;

const ROOM: Group = Group::new("room");

#[derive(Debug, Clone, Message)]
#[reply(f64)]
struct ReadTemperature;
#[derive(Debug, Clone, Message)]
struct HeaterSwitched(bool);
#[derive(Debug, Clone, Message)]
struct Tick;

struct Room {
    celsius: f64,
    heated: bool,
}

impl Module for Room {
    const NAME: ModuleName = ModuleName::new("room");
    const GROUP: Group = ROOM;
    type Config = ();
    type Ports = ();
    fn build((): (), (): ()) -> Result<Self, BuildError> {
        Ok(Self { celsius: 19.0, heated: false })
    }
    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<ReadTemperature>().handles::<HeaterSwitched>();
    }
}

impl Handler<ReadTemperature> for Room {
    async fn handle(&mut self, _: ReadTemperature, _: &mut Context<Self>) -> Result<f64, Failure> {
        self.celsius += if self.heated { 0.5 } else { -0.3 };
        Ok(self.celsius)
    }
}

impl Handler<HeaterSwitched> for Room {
    async fn handle(
        &mut self,
        HeaterSwitched(on): HeaterSwitched,
        _: &mut Context<Self>,
    ) -> Result<(), Failure> {
        self.heated = on;
        Ok(())
    }
}

#[derive(Deserialize)]
struct ThermostatConfig {
    target: f64,
    #[serde(with = "beehive::config::duration")]
    period: Duration,
}
impl ModuleConfig for ThermostatConfig {}

struct Thermostat {
    config: ThermostatConfig,
}

impl Module for Thermostat {
    const NAME: ModuleName = ModuleName::new("thermostat");
    const GROUP: Group = Group::new("control");
    type Config = ThermostatConfig;
    type Ports = ();
    fn build(config: ThermostatConfig, (): ()) -> Result<Self, BuildError> {
        Ok(Self { config })
    }
    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Tick>().asks::<ReadTemperature>(ROOM).publishes::<HeaterSwitched>();
    }
    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        cx.every(self.config.period, Tick);
        Ok(())
    }
}

impl Handler<Tick> for Thermostat {
    #[expect(clippy::print_stdout, reason = "an example shows what it does")]
    async fn handle(&mut self, _: Tick, cx: &mut Context<Self>) -> Result<(), Failure> {
        let read = cx.bus().to(ROOM).ask(ReadTemperature).within(Duration::from_secs(1)).await;
        let celsius = read.map_err(Failure::because)?;
        let on = celsius < self.config.target;
        println!("{celsius:.1} degrees, heater {}", if on { "on" } else { "off" });
        cx.bus().publish(HeaterSwitched(on)).await.map(drop).map_err(Failure::because)
    }
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn main() -> std::io::Result<()> {
    beehive::block_on(async {
        let body = serde_json::json!({ "target": 20.0, "period": "100ms" });
        let sections = Sections::from([("thermostat".to_owned(), Section { body, ..Section::default() })]);
        let catalog = Catalog::new().with::<Room>(()).with::<Thermostat>(());
        match Node::launch(catalog, sections, NodeOptions::default()).await {
            Err(error) => println!("{error}"),
            Ok(node) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                node.stop().await;
            }
        }
    })
}
