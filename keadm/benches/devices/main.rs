//! Thousands of devices on one node, and their twin updates offered at a fixed rate.
//!
//! Runs `keadm up` as a process of its own: cloud, API server, broker and one node, with the node's store
//! on disk; with `--apart` instead `cloudcore` and `edgecore`, each in a process of its own. Devices are
//! played by clients of the node's broker. Printed are the rate that was kept up, the time from publishing
//! an update to reading its result, which is sent when the value is on disk, the processor time and memory
//! of each process, and how often the API server was written to.
//!
//! `cargo bench -p keadm --bench devices -- --help`

#![expect(clippy::unwrap_used, reason = "a failure here is the benchmark's end")]
#![expect(clippy::print_stdout, reason = "the figures are its output")]
#![expect(clippy::disallowed_methods, reason = "it measures real time, and is no module")]

mod cluster;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::cluster::{Cluster, Usage};

/// How many connections the devices share.
const PUBLISHERS: usize = 4;
/// How often updates are published.
const TICK: Duration = Duration::from_millis(10);
/// How long the end may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures what devices cost a node.
#[derive(Debug, Parser)]
struct Args {
    /// How many devices there are.
    #[arg(long, default_value_t = 5000)]
    devices: usize,

    /// How many updates are offered in a second.
    #[arg(long, default_value_t = 10_000)]
    rate: usize,

    /// For how many seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,

    /// The port of the API server.
    #[arg(long, default_value_t = 17443)]
    api_port: u16,

    /// The program to measure, if it is another than the one built with the benchmark.
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_keadm"))]
    keadm: PathBuf,

    /// Measures `cloudcore` and `edgecore` of this folder, each in a process of its own.
    #[arg(long, value_name = "FOLDER")]
    apart: Option<PathBuf>,

    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args = Args::parse();
    let directory = tempfile::tempdir().unwrap();
    let cluster = match &args.apart {
        Some(folder) => Cluster::apart(folder, directory.path(), args.api_port).await,
        None => Cluster::together(&args.keadm, directory.path(), args.api_port).await,
    };
    let (kube, node, port) = (cluster.kube.clone(), cluster.node.clone(), cluster.mqtt_port);
    make_devices(&kube, &node, args.devices).await;
    wait_for_devices(&node, port, args.devices).await;
    println!("{} devices are on the node {node}", args.devices);
    let writes = count_writes(&kube).await;
    let before = cluster.usage();
    let writes_before = writes.load(Ordering::Relaxed);
    let run = offer(&args, port).await;
    let after = cluster.usage();
    let writes_during = writes.load(Ordering::Relaxed) - writes_before;
    let shown = all_shown(&kube, &run.last).await;
    print(&args, &run, (&before, &after), writes_during, shown);
}

fn api(kube: &Client, kind: &str, plural: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("devices.kubeedge.io", "v1beta1", kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    Api::default_namespaced_with(kube.clone(), &resource)
}

fn device_name(number: usize) -> String {
    format!("device-{number}")
}

async fn make_devices(kube: &Client, node: &str, count: usize) {
    let create = async |kind: &str, plural: &str, name: String, spec: Value| {
        let object = json!({ "apiVersion": "devices.kubeedge.io/v1beta1", "kind": kind,
            "metadata": { "name": name }, "spec": spec });
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        api(kube, kind, plural).create(&PostParams::default(), &object).await.unwrap();
    };
    let property = json!({ "name": "level", "type": "INT", "accessMode": "ReadOnly" });
    create("DeviceModel", "devicemodels", "sensor".to_owned(), json!({ "properties": [property] })).await;
    let devices = futures::stream::iter(0..count).map(|number| {
        let spec = json!({ "nodeName": node, "deviceModelRef": { "name": "sensor" },
            "properties": [{ "name": "level" }] });
        create("Device", "devices", device_name(number), spec)
    });
    devices.buffer_unordered(16).collect::<Vec<()>>().await;
}

fn client(id: &str, port: u16) -> (AsyncClient, rumqttc::EventLoop) {
    let mut options = MqttOptions::new(id, "127.0.0.1", port);
    options.set_max_packet_size(16 << 20, 16 << 20);
    AsyncClient::new(options, 4096)
}

/// Waits until the node knows its devices: a report of one that it does not know is refused.
async fn wait_for_devices(node: &str, port: u16, count: usize) {
    let (client, mut events) = client("benchmark-members", port);
    let topic = format!("$hw/events/node/{node}/membership/get");
    client.subscribe(format!("{topic}/result"), QoS::AtLeastOnce).await.unwrap();
    let ask = async {
        loop {
            client.publish(&topic, QoS::AtLeastOnce, false, r#"{"event_id":"m"}"#).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
    };
    let listen = async {
        loop {
            let Event::Incoming(Packet::Publish(publish)) = events.poll().await.unwrap() else { continue };
            let answer: Value = serde_json::from_slice(&publish.payload).unwrap();
            if answer["devices"].as_array().map_or(0, Vec::len) == count {
                return;
            }
        }
    };
    let known = async {
        tokio::select! {
            () = listen => {}
            () = ask => {}
        }
    };
    timeout(PATIENCE, known).await.expect("the node knows its devices");
}

/// Counts each write of a status from here on.
async fn count_writes(kube: &Client) -> Arc<AtomicU64> {
    let api = api(kube, "DeviceStatus", "devicestatuses");
    let listed = api.list(&ListParams::default()).await.unwrap();
    let mut version = listed.metadata.resource_version.unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let stream = api.watch(&WatchParams::default(), &version).await.unwrap();
            let mut stream = std::pin::pin!(stream);
            while let Ok(Some(event)) = stream.try_next().await {
                let (WatchEvent::Added(it) | WatchEvent::Modified(it)) = event else { continue };
                version = it.metadata.resource_version.unwrap();
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    count
}

/// What was measured.
struct Run {
    offered: usize,
    answered: usize,
    took: Duration,
    latencies: Vec<Duration>,
    /// The last value of each device.
    last: BTreeMap<String, String>,
}

async fn offer(args: &Args, port: u16) -> Run {
    let total = args.rate * usize::try_from(args.seconds).unwrap();
    let began = Instant::now();
    let answered = Arc::new(AtomicUsize::new(0));
    let sent: Arc<Vec<AtomicU64>> = Arc::new((0..total).map(|_| AtomicU64::new(0)).collect());
    let listener = tokio::spawn(listen(port, Arc::clone(&sent), Arc::clone(&answered), began, total));
    let publishers: Vec<AsyncClient> = (0..PUBLISHERS)
        .map(|number| {
            let (client, mut events) = client(&format!("benchmark-devices-{number}"), port);
            tokio::spawn(async move { while events.poll().await.is_ok() {} });
            client
        })
        .collect();
    sleep(Duration::from_secs(1)).await;
    let mut last = BTreeMap::new();
    let start = Instant::now();
    let mut offered = 0;
    while offered < total {
        let due = usize::try_from(start.elapsed().as_millis()).unwrap() * args.rate / 1000;
        while offered < due.min(total) {
            let (device, value) = (device_name(offered % args.devices), (offered / args.devices).to_string());
            let payload = format!(
                r#"{{"event_id":"{offered}","timestamp":0,"twin":{{"level":{{"actual":{{"value":"{value}"}},"metadata":{{"type":"int"}}}}}}}}"#
            );
            sent[offered].store(u64::try_from(began.elapsed().as_micros()).unwrap(), Ordering::Relaxed);
            let topic = format!("$hw/events/device/default/{device}/twin/update");
            // A device always uses the same connection, so that its values stay in order.
            let publisher = &publishers[offered % args.devices % PUBLISHERS];
            publisher.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
            last.insert(device, value);
            offered += 1;
        }
        sleep(TICK).await;
    }
    let latencies = timeout(PATIENCE, listener).await.expect("every update is answered").unwrap();
    let answered = answered.load(Ordering::Relaxed);
    Run { offered, answered, took: start.elapsed(), latencies, last }
}

/// Reads the results of all updates.
async fn listen(
    port: u16,
    sent: Arc<Vec<AtomicU64>>,
    answered: Arc<AtomicUsize>,
    began: Instant,
    total: usize,
) -> Vec<Duration> {
    let (client, mut events) = client("benchmark-results", port);
    client.subscribe("$hw/events/device/+/+/twin/update/result", QoS::AtLeastOnce).await.unwrap();
    let mut latencies = Vec::with_capacity(total);
    while latencies.len() < total {
        let event = match timeout(Duration::from_secs(10), events.poll()).await {
            Ok(event) => event.unwrap(),
            // What is not answered by now was dropped.
            Err(_) => break,
        };
        let Event::Incoming(Packet::Publish(publish)) = event else { continue };
        let answer: Value = serde_json::from_slice(&publish.payload).unwrap();
        let Some(number) = answer["event_id"].as_str().and_then(|it| it.parse::<usize>().ok()) else {
            continue;
        };
        assert!(answer["code"].is_null(), "an update was refused: {answer}");
        let now = u64::try_from(began.elapsed().as_micros()).unwrap();
        latencies.push(Duration::from_micros(now - sent[number].load(Ordering::Relaxed)));
        answered.fetch_add(1, Ordering::Relaxed);
    }
    latencies
}

/// Returns how long it took until the API showed of each device what it reported last.
async fn all_shown(kube: &Client, last: &BTreeMap<String, String>) -> Option<Duration> {
    let began = Instant::now();
    let api = api(kube, "DeviceStatus", "devicestatuses");
    while began.elapsed() < PATIENCE {
        let listed = api.list(&ListParams::default()).await.unwrap();
        let shown = listed.items.iter().filter(|status| {
            let name = status.metadata.name.as_deref().unwrap_or_default();
            let value = status.data["status"]["twins"][0]["reported"]["value"].as_str();
            value.is_some() && value == last.get(name).map(String::as_str)
        });
        if shown.count() == last.len() {
            return Some(began.elapsed());
        }
        sleep(Duration::from_secs(1)).await;
    }
    None
}

fn print(
    args: &Args,
    run: &Run,
    (before, after): (&[Usage], &[Usage]),
    writes: u64,
    shown: Option<Duration>,
) {
    let mut latencies = run.latencies.clone();
    latencies.sort_unstable();
    let at = |percent: usize| {
        let place = latencies.len() * percent / 100;
        latencies.get(place.min(latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    let answered = run.answered as f64;
    println!("updates offered       {} in {} s, {} a second", run.offered, args.seconds, args.rate);
    println!("updates answered      {}, {:.0} a second", run.answered, answered / run.took.as_secs_f64());
    println!("local latency         median {:?}, p99 {:?}, longest {:?}", at(50), at(99), at(100));
    for (before, after) in before.iter().zip(after) {
        let processor = (after.processor - before.processor).as_secs_f64() * 1e6 / answered;
        let memory = after.memory_max >> 20;
        println!("{:<22}{processor:.1} us of processor time an update, {memory} MiB at most", after.name);
    }
    let per_second = writes as f64 / run.took.as_secs_f64();
    println!(
        "writes of the API     {writes}, {per_second:.0} a second, {:.4} an update",
        writes as f64 / answered
    );
    match shown {
        Some(after) => println!("all last values shown {after:.1?} after the end"),
        None => println!("all last values shown never: the benchmark failed"),
    }
    assert!(shown.is_some() && run.answered == run.offered, "updates were lost");
}
