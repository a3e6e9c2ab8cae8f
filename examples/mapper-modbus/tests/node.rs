//! The mapper between a node, with edgecore's own modules and socket, and a Modbus server over TCP.

#[path = "../../mapper-thermostat/tests/edge/mod.rs"]
mod edge;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use edge::{Edge, beside, config, file};
use mapper_modbus::Modbus;
use rmodbus::ModbusProto;
use rmodbus::server::ModbusFrame;
use rmodbus::server::context::ModbusContext as _;
use rmodbus::server::storage::ModbusStorage;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What comes before the bytes that a frame's length counts.
const HEAD_BYTES: usize = 6;
const UNIT: u8 = 1;

type Storage = ModbusStorage<16, 16, 256, 256>;

/// A device.
#[derive(Clone)]
struct Plc(Arc<Mutex<Storage>>);

impl Plc {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Storage::new())))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Storage) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self, request: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        let mut frame = ModbusFrame::new(UNIT, request, ModbusProto::TcpUdp, &mut answer);
        frame.parse().expect("a request");
        if frame.processing_required {
            let done = self.with(|storage| match frame.readonly {
                true => frame.process_read(storage),
                false => frame.process_write(storage),
            });
            done.expect("the frame says what is wrong");
        }
        if frame.response_required {
            frame.finalize_response().expect("an answer");
        }
        answer
    }

    /// Answers until the client leaves.
    async fn serve(self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let mut request = vec![0; HEAD_BYTES];
            stream.read_exact(&mut request).await?;
            let length = usize::from(u16::from_be_bytes([request[4], request[5]]));
            request.resize(HEAD_BYTES + length, 0);
            stream.read_exact(&mut request[HEAD_BYTES..]).await?;
            stream.write_all(&self.answer(&request)).await?;
        }
    }
}

/// Serves a device; dropping what it returns ends all its connections.
async fn serve(plc: &Plc, at: SocketAddr) -> (JoinSet<()>, SocketAddr) {
    let listener = loop {
        match TcpListener::bind(at).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    };
    let address = listener.local_addr().expect("an address");
    let plc = plc.clone();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(plc.clone().serve(stream));
        }
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
    let plc = Plc::new();
    plc.with(|storage| storage.set_input(100, 215).expect("it is there"));
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
        let set = plc.with(|storage| (storage.get_holding(10).ok(), storage.get_coil(0).ok()));
        assert_eq!(set, (Some(455), Some(true)));

        // Two registers, and a negative value.
        plc.with(|storage| {
            storage.set_holdings_from_u32(20, 65_538).expect("they are there");
            storage.set_input(100, 0xffff).expect("it is there");
        });
        edge.until("default/heat-pump-1/energy", |value| value == "65538").await;
        edge.until("default/heat-pump-1/outlet", |value| value == "-0.1").await;

        // The device is switched off for a while.
        drop(serving);
        edge.until("default/heat-pump-1", |state| state == "offline").await;
        plc.with(|storage| storage.set_input(100, 300).expect("it is there"));
        let _serving = serve(&plc, address).await;
        edge.until("default/heat-pump-1/outlet", |value| value == "30").await;
        edge.until("default/heat-pump-1", |state| state == "ok").await;
        edge.remove(&objects[1]).await;
    })
    .await;
}
