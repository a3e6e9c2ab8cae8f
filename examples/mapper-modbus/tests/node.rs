//! The mapper between a node, with edgecore's own modules and socket, and a Modbus server over TCP.

#[path = "../../mapper-thermostat/tests/edge/mod.rs"]
mod edge;

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use edge::{Edge, beside, config, file};
use mapper_modbus::Modbus;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};
use tokio_modbus::{ExceptionCode, Request, Response};

/// A device: its registers, and one coil.
#[derive(Clone, Default)]
struct Plc(Arc<Mutex<Memory>>);

#[derive(Default)]
struct Memory {
    holding: BTreeMap<u16, u16>,
    input: BTreeMap<u16, u16>,
    coil: bool,
}

impl Plc {
    fn with<T>(&self, act: impl FnOnce(&mut Memory) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn words(from: &BTreeMap<u16, u16>, at: u16, count: u16) -> Result<Vec<u16>, ExceptionCode> {
    let word = |number| from.get(&(at + number)).copied().ok_or(ExceptionCode::IllegalDataAddress);
    (0..count).map(word).collect()
}

impl Service for Plc {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Request<'static>) -> Self::Future {
        ready(self.with(|memory| match request {
            Request::ReadInputRegisters(at, count) => {
                words(&memory.input, at, count).map(Response::ReadInputRegisters)
            }
            Request::ReadHoldingRegisters(at, count) => {
                words(&memory.holding, at, count).map(Response::ReadHoldingRegisters)
            }
            Request::WriteMultipleRegisters(at, values) => {
                let count = u16::try_from(values.len()).map_err(|_| ExceptionCode::IllegalDataValue)?;
                memory.holding.extend((at..).zip(values.iter().copied()));
                Ok(Response::WriteMultipleRegisters(at, count))
            }
            Request::ReadCoils(_, _) => Ok(Response::ReadCoils(vec![memory.coil])),
            Request::WriteSingleCoil(at, value) => {
                memory.coil = value;
                Ok(Response::WriteSingleCoil(at, value))
            }
            _ => Err(ExceptionCode::IllegalFunction),
        }))
    }
}

/// Serves a device; dropping what it returns ends all its connections.
async fn serve(plc: &Plc, at: SocketAddr) -> (JoinSet<()>, SocketAddr) {
    let listener = TcpListener::bind(at).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let plc = plc.clone();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let server = Server::new(listener);
        let connected = |stream, socket| {
            let plc = plc.clone();
            async move { accept_tcp_connection(stream, socket, |_| Ok(Some(plc.clone()))) }
        };
        drop(server.serve(&connected, |_| {}).await);
    });
    (serving, address)
}

fn objects(address: SocketAddr) -> Vec<Value> {
    let manifest = file("manifests/heat-pump.yaml").replace("Cycle: 1000", "Cycle: 50");
    let documents = manifest.split("\n---\n").map(|text| serde_saphyr::from_str(text).expect("YAML"));
    let mut objects: Vec<Value> = documents.collect();
    let protocol = &mut objects[1]["spec"]["protocol"]["configData"];
    protocol["ip"] = json!(address.ip().to_string());
    protocol["port"] = json!(address.port());
    objects
}

#[tokio::test(flavor = "local")]
async fn registers_are_read_and_written_and_a_server_that_was_away_is_found_again() {
    let plc = Plc::default();
    plc.with(|memory| {
        memory.input.insert(100, 215);
        memory.holding.extend([(10, 0), (20, 0), (21, 0)]);
    });
    let (serving, address) = serve(&plc, "127.0.0.1:0".parse().expect("an address")).await;
    let edge = Edge::start().await;
    let objects = objects(address);
    for object in &objects {
        edge.put(object).await;
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let mapper = mapper_sdk::run(config(&edge, "modbus"), Modbus, mapper_sdk::Host::of_process(), async {
        drop(stopped.await);
    });
    beside(mapper, stop, async {
        edge.until("default/heat-pump-1", |state| state == "ok").await;
        edge.until("default/heat-pump-1/outlet", |value| value == "21.5").await;
        edge.until("default/heat-pump-1/setpoint", |value| value == "45.5").await;
        edge.until("default/heat-pump-1/enabled", |value| value == "true").await;
        edge.until("default/heat-pump-1/energy", |value| value == "0").await;
        assert_eq!(plc.with(|memory| (memory.holding.get(&10).copied(), memory.coil)), (Some(455), true));

        // Two registers, and a value of this moment.
        plc.with(|memory| {
            memory.holding.extend([(20, 1), (21, 2)]);
            memory.input.insert(100, 0xffff);
        });
        edge.until("default/heat-pump-1/energy", |value| value == "65538").await;
        edge.until("default/heat-pump-1/outlet", |value| value == "-0.1").await;

        // The device is switched off for a while.
        drop(serving);
        edge.until("default/heat-pump-1", |state| state == "offline").await;
        plc.with(|memory| memory.input.insert(100, 300));
        let _serving = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    drop(listener);
                    break serve(&plc, address).await;
                }
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        };
        edge.until("default/heat-pump-1/outlet", |value| value == "30").await;
        edge.until("default/heat-pump-1", |state| state == "ok").await;
    })
    .await;
}
