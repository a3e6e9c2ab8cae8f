//! What tutorials print loads with the real catalogs, and the documentation lists every key as it is.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use beehive::Catalog;
use node_config::{Acts, KnownKey, Loaded, Process, known_keys, load};

async fn catalog(process: Process) -> Catalog {
    match process {
        Process::EdgeCore => edgecore::inert_catalog(),
        Process::CloudCore => cloudcore::inert_catalog().await.expect("it opens in memory"),
    }
}

fn accepted(process: Process, catalog: &Catalog, text: &str) -> Loaded {
    load(process, catalog, Some(("tutorial.yaml", text)), &BTreeMap::new())
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What the guides of KubeEdge, EdgeMesh and Sedna tell users to write.
const OF_EDGE: [&str; 6] = [
    "modules: {edgeStream: {enable: true, handshakeTimeout: 30, readDeadline: 15, server: '192.0.2.1:10004', \
     tlsTunnelCAFile: /etc/kubeedge/ca/rootCA.crt, tlsTunnelCertFile: /etc/kubeedge/certs/server.crt, \
     tlsTunnelPrivateKeyFile: /etc/kubeedge/certs/server.key, writeDeadline: 15}}",
    "modules: {metaManager: {metaServer: {enable: true, server: '127.0.0.1:10550'}}}",
    "modules: {edged: {clusterDNS: 169.254.96.16, clusterDomain: cluster.local}}",
    "modules: {edged: {tailoredKubeletConfig: {clusterDNS: [169.254.96.16], clusterDomain: cluster.local, \
     cgroupDriver: systemd, containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock'}}}",
    "modules: {eventBus: {enable: true, mqttMode: 2, mqttQOS: 0, mqttServerExternal: 'tcp://127.0.0.1:1883', \
     mqttServerInternal: 'tcp://127.0.0.1:1884'}, deviceTwin: {enable: true}, serviceBus: {enable: true}}",
    "featureGates: {requireAuthorization: true}\nmodules: {edgeHub: {quic: {enable: false}, \
     websocket: {enable: true}}, taskManager: {enable: true}, dbTest: {enable: false}}",
];
const OF_CLOUD: [&str; 6] = [
    "modules: {cloudHub: {advertiseAddress: [192.0.2.1], nodeLimit: 1000, dnsNames: ['']}}",
    "modules: {dynamicController: {enable: true}}",
    "modules: {cloudStream: {enable: true, streamPort: 10003, tunnelPort: 10004, \
     tlsStreamCAFile: /etc/kubeedge/ca/streamCA.crt, tlsStreamCertFile: /etc/kubeedge/certs/stream.crt, \
     tlsStreamPrivateKeyFile: /etc/kubeedge/certs/stream.key}, iptablesManager: {enable: true, mode: internal}}",
    "modules: {router: {enable: true, address: 0.0.0.0, port: 9443, restTimeout: 60}}",
    "modules: {cloudHub: {authorization: {enable: true, debug: false, modes: [{node: {enable: true}}]}, \
     https: {enable: true, address: 0.0.0.0, port: 10002}, \
     unixsocket: {enable: true, address: 'unix:///var/lib/kubeedge/kubeedge.sock'}, \
     quic: {enable: false, maxIncomingStreams: 10000, port: 10001, address: 0.0.0.0}}}",
    "featureGates: {requireAuthorization: true}\ncommonConfig: {monitorServer: {bindAddress: '127.0.0.1:9091'}, \
     tunnelPort: 10351}\nkubeAPIConfig: {qps: 100, burst: 200, contentType: application/vnd.kubernetes.protobuf}\n\
     modules: {taskManager: {enable: true}, deviceController: {buffer: {deviceEvent: 1}}}",
];

fn leaves(path: &str, value: &serde_json::Value, known: &[KnownKey], found: &mut Vec<String>) {
    let is_key = known.iter().any(|key| key.path.eq_ignore_ascii_case(path));
    match value.as_object() {
        Some(entries) if !is_key => {
            for (name, below) in entries {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(&path, below, known, found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

#[tokio::test]
async fn what_tutorials_print_loads_and_each_key_acts_or_is_reported() {
    for (process, texts) in [(Process::EdgeCore, OF_EDGE), (Process::CloudCore, OF_CLOUD)] {
        let catalog = catalog(process).await;
        let known = known_keys(process, &catalog);
        for text in texts {
            let loaded = accepted(process, &catalog, text);
            let reported: Vec<&str> = loaded.notices.paths().collect();
            let document = node_config::Document::read(process, &catalog, "t", text);
            let document = document.unwrap_or_else(|error| panic!("{error}"));
            let mut given = Vec::new();
            for section in ["modules", "featureGates", "commonConfig", "kubeAPIConfig"] {
                if let Some(value) = document.get(section) {
                    leaves(section, value, &known, &mut given);
                }
            }
            assert!(!given.is_empty(), "{text}");
            for path in given {
                let acts = loaded.get(&path).is_some();
                assert!(
                    acts != reported.contains(&path.as_str()),
                    "{path} acts: {acts}; reported: {reported:?}"
                );
            }
        }
    }
}

const BEGIN: &str = "<!-- generated: cargo test -p keadm --test configuration -->\n";

fn is_of_module(key: &&KnownKey) -> bool {
    key.path.starts_with("modules.")
}

fn table(process: Process, catalog: &Catalog) -> String {
    let keys = known_keys(process, catalog);
    let mut text = format!("## {}\n", process.name());
    let count = |wanted: fn(&Acts) -> bool| keys.iter().filter(|key| wanted(&key.acts)).count();
    writeln!(
        text,
        "\n{} keys act, {} of KubeEdge's are accepted and reported, {} more are of earlier versions only.\n",
        count(|acts| *acts == Acts::Here),
        count(|acts| *acts == Acts::Ignored),
        count(|acts| matches!(acts, Acts::Outdated(_)))
    )
    .expect("a text takes everything");
    text.push_str("| Key | Takes | Here |\n|---|---|---|\n");
    let modules = keys.iter().filter(is_of_module);
    for key in keys.iter().filter(|key| !is_of_module(key)).chain(modules) {
        // The same for each module, and said above the table.
        let segments: Vec<&str> = key.path.split('.').collect();
        if let ["modules", _, "mailbox"] | ["modules", _, "restart", _] = segments[..] {
            continue;
        }
        let acts = match key.acts {
            Acts::Here => "acts".to_owned(),
            Acts::Ignored => "not in effect, reported".to_owned(),
            Acts::Outdated(last) => format!("KubeEdge up to {last}; not in effect, reported"),
        };
        writeln!(text, "| `{}` | {} | {acts} |", key.path, key.takes).expect("a text takes everything");
    }
    text
}

/// Keys come and go with modules. When this fails, look at the difference and copy the file that it names.
#[tokio::test]
async fn the_documentation_lists_every_key_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let written = std::fs::read_to_string(&path).expect("it is there");
    let (before, _) = written.split_once(BEGIN).expect("it has a generated part");
    let mut expected = format!("{before}{BEGIN}");
    for process in [Process::EdgeCore, Process::CloudCore] {
        expected.push('\n');
        expected.push_str(&table(process, &catalog(process).await));
    }
    if written != expected {
        let next = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("configuration.md");
        std::fs::write(&next, expected).expect("the target directory is writable");
        panic!(
            "docs/configuration.md is not as the catalogs are: cp {} docs/configuration.md",
            next.display()
        );
    }
}
