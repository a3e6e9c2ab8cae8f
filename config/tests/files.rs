//! Whole configurations: KubeEdge's real files, the shipped ones, and broken ones.

use std::collections::BTreeMap;

use beehive::{BuildError, Catalog, Group, Module, ModuleConfig, ModuleName, Problems, Wiring};
use node_config::{ConfigError, Loaded, LogLevel, Process, load};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

/// A module that is there for its section.
macro_rules! module {
    ($module:ident, $section:literal, $config:ty) => {
        struct $module;

        impl Module for $module {
            const NAME: ModuleName = ModuleName::new($section);
            const GROUP: Group = Group::new("tests");
            const SECTION: &'static str = $section;
            type Config = $config;
            type Ports = ();

            fn build(_: $config, (): ()) -> Result<Self, BuildError> {
                Err(BuildError::new("it is only looked at"))
            }

            fn wire(_: &mut Wiring<Self>) {}
        }
    };
}

module!(EdgeHub, "edgeHub", HubConfig);
module!(Edged, "edged", EdgedConfig);
module!(Thermostat, "thermostat", ThermostatConfig);
module!(CloudHub, "cloudHub", CloudConfig);
module!(EdgeController, "edgeController", ());

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HubConfig {
    heartbeat: Option<u32>,
    tls_ca_file: Value,
    websocket: WebSocketConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WebSocketConfig {
    enable: Value,
    server: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EdgedConfig {
    hostname_override: Value,
    node_labels: Value,
    tailored_kubelet_config: KubeletConfig,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct KubeletConfig {
    max_pods: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ThermostatConfig {
    sensor: Value,
    target: Option<f64>,
    curve: CurveConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CurveConfig {
    points: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CloudConfig {
    node_limit: Value,
    websocket: PortConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PortConfig {
    port: Value,
}

impl ModuleConfig for EdgedConfig {}
impl ModuleConfig for CloudConfig {}

impl ModuleConfig for HubConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.heartbeat == Some(0) {
            problems.push("heartbeat", "must be at least one second");
        }
    }
}

impl ModuleConfig for ThermostatConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.target.is_some_and(|target| target > 30.0) {
            problems.push("target", "is hotter than anyone likes");
        }
    }
}

fn catalog(process: Process) -> Catalog {
    match process {
        Process::EdgeCore => Catalog::new().with::<EdgeHub>(()).with::<Edged>(()).with::<Thermostat>(()),
        Process::CloudCore => Catalog::new().with::<CloudHub>(()).with::<EdgeController>(()),
    }
}

fn read(process: Process, text: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(process, &catalog(process), Some(("test.yaml", text)), &variables)
}

fn accepted(process: Process, text: &str, variables: &[(&str, &str)]) -> Loaded {
    read(process, text, variables).unwrap_or_else(|error| panic!("{error}"))
}

fn problems(process: Process, text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let error = read(process, text, variables).expect_err("it is broken");
    error.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn kubeedges_real_files_are_accepted_as_they_are() {
    let cloud = accepted(Process::CloudCore, include_str!("upstream/cloudcore.yaml"), &[]);
    assert_eq!(cloud.get("modules.cloudHub.nodeLimit"), Some(&1000.into()));
    assert_eq!(cloud.settings.kubeconfig.as_deref(), Some("/srv/lab1/kubeconfig".as_ref()));

    for text in [
        include_str!("upstream/edgecore.before-bootstrap.yaml"),
        include_str!("upstream/edgecore.after.yaml"),
    ] {
        let edge = accepted(Process::EdgeCore, text, &[]);
        assert_eq!(edge.get("modules.edged.hostnameOverride"), Some(&"edge-1".into()));
        assert_eq!(edge.get("modules.edged.tailoredKubeletConfig.maxPods"), Some(&110.into()));
        assert_eq!(edge.settings.store.to_str(), Some("/var/lib/kubeedge/edgecore.db.d"));
        let sections: Vec<&str> = edge.sections().map(|(name, _)| name).collect();
        assert_eq!(sections, ["edgeHub", "edged"]);
        let told = edge.notices.to_string();
        assert!(told.starts_with("not in effect here: database {aliasName, driverName}, "), "{told}");
        for part in ["modules.eventBus {", "modules.dbTest {enable}", "quic.enable"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("heartbeat"), "{told}");
    }
}

#[test]
fn keys_of_old_tutorials_are_told_with_their_version() {
    let text = "modules:
  edgeMesh: {enable: true, lbStrategy: RoundRobin}
  edged: {dockerAddress: 'unix:///var/run/docker.sock', hostnameOverride: a}
";
    let told = accepted(Process::EdgeCore, text, &[]).notices.to_string();
    assert_eq!(
        told,
        "known to KubeEdge only up to 1.11: modules.edged {dockerAddress}; \
         known to KubeEdge only up to 1.7: modules.edgeMesh {enable, lbStrategy}"
    );
}

#[test]
fn all_problems_are_told_at_once_with_their_lines() {
    let text = "kind: CloudCore
modules:
  edgeHub:
    hartbeat: 15
    heartbeat: soon
    websocket: [1]
  edgeHubb: {}
  thermostat: {tagret: 20}
  edged:
    remoteQueryTimeout: 5
log: {level: loud}
";
    assert_eq!(
        problems(Process::EdgeCore, text, &[("BEEHIVE_MODULES_EDGED_NODELABELS", "[1]")]),
        [
            "test.yaml:1: kind: must be EdgeCore for edgecore",
            "test.yaml:4: modules.edgeHub.hartbeat: no such key; did you mean modules.edgeHub.heartbeat?",
            "test.yaml:5: modules.edgeHub.heartbeat: expected an integer, found a text",
            "test.yaml:6: modules.edgeHub.websocket: expected a map, found a list",
            "test.yaml:7: modules.edgeHubb: no such module; did you mean modules.edgeHub?",
            "test.yaml:8: modules.thermostat.tagret: no such key; did you mean modules.thermostat.target?",
            "test.yaml:10: modules.edged.remoteQueryTimeout: no such key; \
             did you mean modules.metaManager.remoteQueryTimeout?",
            "test.yaml:11: log.level: must be error, warn, info, debug or trace",
            "environment variable BEEHIVE_MODULES_EDGED_NODELABELS: modules.edged.nodeLabels: \
             expected a map, found a list",
        ]
    );
}

#[test]
fn what_a_module_finds_wrong_in_its_section_is_told_beside_unknown_keys() {
    let text = "modules:
  thermostat:
    mailbox: 0
    restart: {when: never, bakoff: 1s..2s}
    target: hot
    curve: {point: 1}
  edgeHub:
    hartbeat: 15
    heartbeat: 0
  edged:
    hostnameOveride: a
  eventBus: {mqttMode: -1}
log: {format: xml}
";
    assert_eq!(
        problems(Process::EdgeCore, text, &[("BEEHIVE_MODULES_THERMOSTAT_TARGET", "99")]),
        [
            "test.yaml:3: modules.thermostat.mailbox: a mailbox has room for at least one message",
            "test.yaml:4: modules.thermostat.restart.bakoff: no such key; \
             did you mean modules.thermostat.restart.backoff?",
            "test.yaml:6: modules.thermostat.curve.point: no such key; \
             did you mean modules.thermostat.curve.points?",
            "test.yaml:8: modules.edgeHub.hartbeat: no such key; did you mean modules.edgeHub.heartbeat?",
            "test.yaml:9: modules.edgeHub.heartbeat: must be at least one second",
            "test.yaml:11: modules.edged.hostnameOveride: no such key; \
             did you mean modules.edged.hostnameOverride?",
            "test.yaml:13: log.format: must be text or json",
            "environment variable BEEHIVE_MODULES_THERMOSTAT_TARGET: modules.thermostat.target: \
             is hotter than anyone likes",
        ]
    );
    let disabled = "modules: {thermostat: {enable: false, target: 99}}";
    accepted(Process::EdgeCore, disabled, &[]);
}

#[test]
fn keys_match_without_regard_to_case_as_in_kubeedge() {
    let loaded = accepted(Process::EdgeCore, "Modules: {EDGEHUB: {HeartBeat: 3}}", &[]);
    assert_eq!(loaded.get("modules.edgeHub.heartbeat"), Some(&3.into()));
    let twice =
        problems(Process::EdgeCore, "modules:\n  edgeHub:\n    heartbeat: 3\n    heartBeat: 4\n", &[]);
    assert_eq!(twice, ["test.yaml:4: modules.edgeHub.heartbeat: is given twice, first on line 3"]);
}

#[test]
fn null_is_the_default_and_an_empty_file_is_all_defaults() {
    for text in ["", "# nothing\n", "modules:\n", "modules: {edgeHub: {heartbeat: null, quic: }}"] {
        let loaded = accepted(Process::EdgeCore, text, &[]);
        assert!(loaded.get("modules.edgeHub.heartbeat").is_none(), "{text}");
        assert!(loaded.notices.is_empty(), "{text}");
        assert_eq!(loaded.settings.log_level, LogLevel::Info);
    }
}

#[test]
fn where_a_text_is_wanted_a_number_is_one_as_in_kubeedge() {
    let text = "modules: {edged: {hostnameOverride: 7, nodeLabels: {zone: 1, spot: yes, name: a}}}";
    let loaded = accepted(Process::EdgeCore, text, &[]);
    assert_eq!(loaded.get("modules.edged.hostnameOverride"), Some(&"7".into()));
    let labels = serde_json::json!({"zone": "1", "spot": "true", "name": "a"});
    assert_eq!(loaded.get("modules.edged.nodeLabels"), Some(&labels));
}

#[test]
fn the_environment_lies_over_the_file() {
    let text = "modules: {edgeHub: {heartbeat: 3}, edged: {nodeLabels: {a: b}}}";
    let variables = [
        ("BEEHIVE_MODULES_EDGEHUB_HEARTBEAT", "30"),
        ("BEEHIVE__modules__edged__hostnameOverride", "007"),
        ("BEEHIVE_MODULES_EDGED_NODELABELS", "{c: d}"),
        ("BEEHIVE_MODULES_THERMOSTAT_ENABLE", "false"),
        ("BEEHIVE_LOG_LEVEL", "debug"),
    ];
    let loaded = accepted(Process::EdgeCore, text, &variables);
    assert_eq!(loaded.get("modules.edgeHub.heartbeat"), Some(&30.into()));
    assert_eq!(loaded.get("modules.edged.hostnameOverride"), Some(&"007".into()));
    assert_eq!(loaded.get("modules.edged.nodeLabels"), Some(&serde_json::json!({"a": "b", "c": "d"})));
    assert_eq!(loaded.get("modules.thermostat.enable"), Some(&false.into()));
    assert_eq!(loaded.settings.log_level, LogLevel::Debug);
    let problem = loaded.problem("modules.edgeHub.heartbeat", "is odd").to_string();
    assert!(problem.starts_with("environment variable BEEHIVE_MODULES_EDGEHUB_HEARTBEAT: "), "{problem}");
}

#[test]
fn a_module_decides_what_stands_below_its_own_keys() {
    let text = "modules: {thermostat: {sensor: {any: [1, {x: z}]}, curve: {points: {a: 1}}}}";
    let loaded = accepted(Process::EdgeCore, text, &[]);
    assert_eq!(loaded.get("modules.thermostat.sensor"), Some(&serde_json::json!({"any": [1, {"x": "z"}]})));
    let wrong = problems(Process::EdgeCore, "modules: {thermostat: {curve: {point: 1}}}", &[]);
    assert!(wrong[0].ends_with("did you mean modules.thermostat.curve.points?"), "{wrong:?}");
}

#[test]
fn the_shipped_files_are_for_their_process_and_all_of_a_full_one_is_known() {
    for process in [Process::CloudCore, Process::EdgeCore] {
        for text in [process.default_config(), process.minimal_config()] {
            let error = load(process, &Catalog::new(), Some(("shipped", text)), &BTreeMap::new()).err();
            let unknown: Vec<String> = error
                .iter()
                .flat_map(ConfigError::problems)
                .map(ToString::to_string)
                .filter(|problem| !problem.contains("no such"))
                .collect();
            assert_eq!(unknown, Vec::<String>::new(), "only Beehive's own keys need the catalog");
        }
    }
}

#[test]
fn no_secret_is_printed() {
    let text = "modules: {edgeHub: {token: [hunter2, hunter2]}}\nlog: {level: hunter2}\nhunter: hunter2\n";
    let error = read(Process::EdgeCore, text, &[("BEEHIVE_MODULES_EDGED_MINIMUMGCAGE_X", "hunter2")]);
    let error = error.expect_err("it is broken");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    let loaded = accepted(Process::EdgeCore, "modules: {edged: {hostnameOverride: hunter2}}", &[]);
    assert!(!format!("{loaded:?}").contains("hunter2"), "{loaded:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_it_panic(text in "(modules|edgeHub|heartbeat|\\{|\\}|\\[|\\]|:|,|-|&a|\\*a|<<|'|\"|\\||>|#|!|\n| |\t|é|0x1|1e9){0,40}") {
        let outcome = read(Process::EdgeCore, &text, &[("BEEHIVE_MODULES_EDGED_NODELABELS", &text)]);
        prop_assert!(outcome.is_ok() || !outcome.expect_err("not ok").problems().is_empty());
    }
}
