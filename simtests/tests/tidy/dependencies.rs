//! The direction of dependencies, read from the manifests through `cargo metadata`.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::source::{none, root};

/// What a package of the workspace is, which decides what it may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The bus and its macros.
    Bus,
    /// Vocabulary, ports, and what several modules do in one way.
    Shared,
    /// A module.
    Module,
    /// The only crates that drive a heavy library for both processes.
    Driver,
    Config,
    /// A process: cloud or edge.
    Process,
    /// What knows both processes.
    Top,
    /// What programs beside the edge are made with.
    Sdk,
    /// A runnable sample of the public API.
    Example,
}

const SHARED: [&str; 6] = ["protocol", "api", "wire", "store", "kube-watch", "dmi-proto"];
/// The drivers, each with the heavy libraries that it drives; `rcgen` is for the tests of the link.
const DRIVERS: [(&str, &[&str]); 4] = [
    ("store-sled", &["sled"]),
    ("link-ws", &["tokio-tungstenite", "rustls", "rcgen"]),
    ("link-quic", &["quinn", "rustls"]),
    ("dmi-grpc", &["tonic", "hyper-util"]),
];
/// What mappers drive.
const OF_SDK: [&str; 4] = ["tonic", "hyper", "hyper-util", "rumqttc"];
/// The two ends of the link, the only modules that see bytes.
const HUBS: [&str; 2] = ["edgehub", "cloudhub"];
/// The modules that act on the Kubernetes API.
const CONTROLLERS: [&str; 5] =
    ["devicecontroller", "edgecontroller", "router", "scheduler", "synccontroller"];
/// Libraries that only processes and drivers may link, in builds that ship.
const HEAVY: [&str; 12] = [
    "tokio-tungstenite",
    "tungstenite",
    "quinn",
    "sled",
    "rumqttc",
    "tonic",
    "axum",
    "hyper",
    "hyper-util",
    "rustls",
    "tokio-rustls",
    "rcgen",
];

struct Package {
    name: String,
    folder: String,
    /// Name and kind (`normal`, `dev`, `build`) of each dependency.
    dependencies: Vec<(String, String)>,
    /// The features that it turns on in builds that ship, of its dependencies as `dependency/feature`.
    turned_on: Vec<String>,
    features: Vec<String>,
}

impl Package {
    /// Reads what `cargo metadata` says of a package; `prefix` is the path of the workspace.
    fn read(package: &Value, prefix: &str) -> Self {
        let manifest = text(&package["manifest_path"]);
        let folder = manifest.trim_start_matches(prefix).trim_end_matches("/Cargo.toml").to_owned();
        let listed = items(&package["dependencies"]);
        let kind = |dependency: &Value| dependency["kind"].as_str().unwrap_or("normal").to_owned();
        let of_shipping =
            listed.iter().filter(|dependency| kind(dependency) != "dev").flat_map(|dependency| {
                let features = items(&dependency["features"]).iter();
                features.map(|feature| format!("{}/{}", text(&dependency["name"]), text(feature)))
            });
        let features = package["features"].as_object().expect("features");
        let of_features = features.iter().filter(|(name, _)| *name != "test-util");
        let of_features = of_features.flat_map(|(_, turns_on)| items(turns_on).iter().map(text));
        Self {
            name: text(&package["name"]),
            folder,
            dependencies: listed.iter().map(|it| (text(&it["name"]), kind(it))).collect(),
            turned_on: of_shipping.chain(of_features).collect(),
            features: features.keys().cloned().collect(),
        }
    }

    fn role(&self) -> Role {
        match self.folder.as_str() {
            "beehive" | "beehive/macros" => Role::Bus,
            "config" => Role::Config,
            "cloud" | "edge" => Role::Process,
            "keadm" | "simtests" => Role::Top,
            "mapper-sdk" => Role::Sdk,
            folder if folder.starts_with("examples/") => Role::Example,
            _ if SHARED.contains(&self.name.as_str()) => Role::Shared,
            _ if self.drives().is_some() => Role::Driver,
            folder if folder.starts_with("modules/") => Role::Module,
            folder => panic!("{folder} has no role: give it one here and in ARCHITECTURE.md"),
        }
    }

    /// Returns the heavy libraries that this driver drives, if it is one.
    fn drives(&self) -> Option<&'static [&'static str]> {
        DRIVERS.iter().find(|(name, _)| *name == self.name).map(|(_, drives)| *drives)
    }

    fn ships(&self) -> impl Iterator<Item = &str> {
        self.dependencies.iter().filter(|(_, kind)| kind != "dev").map(|(name, _)| name.as_str())
    }
}

fn packages() -> BTreeMap<String, Package> {
    let root = root();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(&root)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let prefix = format!("{}/", root.display());
    let listed = items(&metadata["packages"]);
    assert!(listed.len() > 10, "the workspace has more packages than {}", listed.len());
    let packages = listed.iter().map(|package| Package::read(package, &prefix));
    packages.map(|package| (package.name.clone(), package)).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn may_depend(from: &Package, on: &Package) -> bool {
    use Role::{Bus, Config, Driver, Example, Module, Process, Sdk, Shared, Top};
    match (from.role(), on.role()) {
        (Bus, Bus) => on.name == "beehive-macros",
        (Module, Shared) if on.name == "wire" => HUBS.contains(&from.name.as_str()),
        (Module, Shared) if on.name == "kube-watch" => CONTROLLERS.contains(&from.name.as_str()),
        (Module, Shared) if on.name == "dmi-proto" => from.name == "dmi",
        (Shared, Shared) => on.name == "protocol",
        (Shared | Module | Config, Bus) | (Module, Shared) | (Driver, Shared) => true,
        (Process, Bus | Shared | Module | Driver | Config) => true,
        (Top, on) => !matches!(on, Top | Sdk | Example),
        (Sdk, Shared | Driver) => on.name.starts_with("dmi-"),
        (Example, Bus | Process | Config | Sdk) => true,
        (Example, Shared) => on.name == "protocol",
        _ => false,
    }
}

#[test]
fn dependencies_point_one_way() {
    let packages = packages();
    let mut offences = Vec::new();
    for package in packages.values() {
        for on in package.ships().filter_map(|name| packages.get(name)) {
            if !may_depend(package, on) {
                offences.push(format!("{} must not depend on {}", package.name, on.name));
            }
        }
    }
    none("dependency direction (ARCHITECTURE.md)", &offences);
}

#[test]
fn modules_do_not_depend_on_modules_even_in_tests() {
    let packages = packages();
    let mut offences = Vec::new();
    for package in packages.values().filter(|package| package.role() == Role::Module) {
        for (name, kind) in &package.dependencies {
            if packages.get(name).is_some_and(|on| on.role() == Role::Module) {
                offences.push(format!("{} depends on the module {name} ({kind})", package.name));
            }
        }
    }
    none("modules share protocol, not each other", &offences);
}

#[test]
fn heavy_drivers_stay_in_the_adapters() {
    let packages = packages();
    let mut offences = Vec::new();
    for package in packages.values() {
        let allowed = match package.role() {
            Role::Process => &HEAVY[..],
            Role::Sdk => &OF_SDK[..],
            _ => package.drives().unwrap_or_default(),
        };
        for name in package.ships().filter(|name| HEAVY.contains(name) && !allowed.contains(name)) {
            offences.push(format!("{} links {name}", package.name));
        }
        let may_kube = matches!(package.role(), Role::Process | Role::Top)
            || package.name == "kube-watch"
            || CONTROLLERS.contains(&package.name.as_str());
        if !may_kube && package.ships().any(|name| name == "kube") {
            offences.push(format!("{} links kube, which only controllers may", package.name));
        }
    }
    none("heavy drivers belong to cloud/, edge/ and the drivers", &offences);
}

#[test]
fn only_the_bus_depends_on_actix() {
    let packages = packages();
    let users: Vec<&str> = packages
        .values()
        .filter(|package| package.dependencies.iter().any(|(name, _)| name.starts_with("actix")))
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(users, ["beehive"]);
}

#[test]
fn no_product_crate_has_a_simulation_feature() {
    let offences: Vec<String> = packages()
        .values()
        .flat_map(|package| package.features.iter().map(|feature| format!("{}/{feature}", package.name)))
        .filter(|feature| !feature.ends_with("/default") && !feature.ends_with("/test-util"))
        .filter(|feature| feature.contains("sim"))
        .collect();
    none("the simulator runs exactly the production modules", &offences);
}

#[test]
fn no_build_that_ships_has_what_is_for_tests() {
    let offences: Vec<String> = packages()
        .values()
        .flat_map(|package| package.turned_on.iter().map(|feature| (&package.name, feature)))
        .filter(|(_, feature)| feature.ends_with("test-util"))
        // The simulator is a tool for tests, and its clock is tokio's for tests.
        .filter(|(package, feature)| (package.as_str(), feature.as_str()) != ("simtests", "tokio/test-util"))
        .map(|(package, feature)| format!("{package} turns on {feature}"))
        .collect();
    none("test-util is for dev-dependencies", &offences);
}
