//! The cluster that is measured: one process, or two.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Secret};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::time::sleep;

/// How long the start may take.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(200);

/// What a process has used, as the kernel counts it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) name: &'static str,
    pub(crate) processor: Duration,
    pub(crate) memory_max: u64,
}

/// A process that is measured; ended with the benchmark.
struct Process(&'static str, Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.1.kill().unwrap();
        self.1.wait().unwrap();
    }
}

impl Process {
    fn start(name: &'static str, program: &Path, arguments: &[&str], log: &Path) -> Self {
        let log = File::create(log).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(name, command.spawn().unwrap())
    }

    fn usage(&self) -> Usage {
        let pid = self.1.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        // The kernel tells processor time in hundredths of a second.
        Usage { name: self.0, processor: Duration::from_millis(ticks * 10), memory_max: kib << 10 }
    }
}

/// A node that is ready, and its cloud.
pub(crate) struct Cluster {
    processes: Vec<Process>,
    pub(crate) kube: Client,
    pub(crate) node: String,
    pub(crate) mqtt_port: u16,
}

impl Cluster {
    /// Starts `keadm up`.
    pub(crate) async fn together(keadm: &Path, directory: &Path, api_port: u16) -> Self {
        let (data, log) = (directory.join("data"), directory.join("log"));
        let port = api_port.to_string();
        let data_dir = data.to_str().unwrap();
        let arguments = ["up", "--runtime", "hollow", "--api-port", &port, "--data-dir", data_dir];
        let process = Process::start("keadm", keadm, &arguments, &log);
        let kube = client(&data.join("kubeconfig"), &log).await;
        wait_for_node(&kube, &log).await;
        let (node, mqtt_port) = told_broker(&log).await;
        Self { processes: vec![process], kube, node, mqtt_port }
    }

    /// Starts `cloudcore` and `edgecore` of a folder. Their ports follow that of the API server.
    pub(crate) async fn apart(programs: &Path, directory: &Path, api_port: u16) -> Self {
        let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let (hub, enrol, mqtt_port) = (api_port + 1, api_port + 2, api_port + 3);
        let cloud = format!(
            "apiVersion: cloudcore.config.kubeedge.io/v1alpha2\nkind: CloudCore\n\
             database: {{ dataSource: {database} }}\nlog: {{ level: warn }}\n\
             kubeAPIServer: {{ port: {api_port}, directory: {api} }}\n\
             modules: {{ cloudHub: {{ advertiseAddress: [127.0.0.1], \
             https: {{ address: 127.0.0.1, port: {enrol} }}, \
             websocket: {{ address: 127.0.0.1, port: {hub} }} }} }}\n",
            database = path("cloud.db"),
            api = path("api"),
        );
        fs::write(path("cloudcore.yaml"), cloud).unwrap();
        let logs = [directory.join("cloud.log"), directory.join("edge.log")];
        let arguments = ["--config", &path("cloudcore.yaml")];
        let cloud = Process::start("cloudcore", &programs.join("cloudcore"), &arguments, &logs[0]);
        let kube = client(&PathBuf::from(path("api/kubeconfig")), &logs[0]).await;
        let edge = format!(
            "apiVersion: edgecore.config.kubeedge.io/v1alpha2\nkind: EdgeCore\n\
             database: {{ dataSource: {database} }}\nlog: {{ level: warn }}\n\
             modules:\n  edgeHub: {{ httpServer: 'https://127.0.0.1:{enrol}', token: {token}, \
             tlsCaFile: {ca}, tlsCertFile: {certificate}, tlsPrivateKeyFile: {key}, \
             websocket: {{ server: '127.0.0.1:{hub}' }} }}\n\
             \x20 eventBus: {{ mqttMode: 0, mqttServerInternal: 'tcp://127.0.0.1:{mqtt_port}' }}\n\
             \x20 deviceTwin: {{ dmiSockPath: {dmi} }}\n\
             \x20 edged: {{ hostnameOverride: bench, runtime: hollow, rootDirectory: {root}, \
             tailoredKubeletConfig: {{ podLogsDir: {pods} }} }}\n",
            database = path("edge.db"),
            token = token(&kube).await,
            ca = path("ca.crt"),
            certificate = path("edge.crt"),
            key = path("edge.key"),
            dmi = directory.to_str().unwrap(),
            root = path("kubelet"),
            pods = path("pods"),
        );
        fs::write(path("edgecore.yaml"), edge).unwrap();
        let arguments = ["--config", &path("edgecore.yaml")];
        let edge = Process::start("edgecore", &programs.join("edgecore"), &arguments, &logs[1]);
        wait_for_node(&kube, &logs[1]).await;
        Self { processes: vec![edge, cloud], kube, node: "bench".to_owned(), mqtt_port }
    }

    pub(crate) fn usage(&self) -> Vec<Usage> {
        self.processes.iter().map(Process::usage).collect()
    }
}

fn read(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}

/// Tries until there is an answer.
async fn until<T>(what: &str, log: &Path, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(Instant::now() < end, "{what}: {}", read(log));
        sleep(PAUSE).await;
    }
}

async fn client(kubeconfig: &Path, log: &Path) -> Client {
    until("the API server does not answer", log, async || {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).ok()?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.ok()?;
        let kube = Client::try_from(config).ok()?;
        kube.apiserver_version().await.ok().map(|_| kube)
    })
    .await
}

async fn wait_for_node(kube: &Client, log: &Path) {
    let nodes = Api::<Node>::all(kube.clone());
    until("no node is ready", log, async || {
        let listed = nodes.list(&ListParams::default()).await.ok()?;
        let conditions = listed.items.into_iter().filter_map(|node| node.status?.conditions).flatten();
        conditions.into_iter().find(|it| it.type_ == "Ready" && it.status == "True").map(drop)
    })
    .await;
}

/// Returns the token with which a node joins.
async fn token(kube: &Client) -> String {
    let secrets = Api::<Secret>::namespaced(kube.clone(), "kubeedge");
    until("there is no token", Path::new(""), async || {
        let secret = secrets.get_opt("tokensecret").await.ok()??;
        String::from_utf8(secret.data?.remove("tokendata")?.0).ok()
    })
    .await
}

/// Returns the node and the port of its broker, as `keadm up` says them.
async fn told_broker(log: &Path) -> (String, u16) {
    until("keadm does not say where its broker is", log, async || {
        read(log).lines().find_map(|line| {
            let (node, rest) =
                line.strip_prefix("devices reach the node ")?.split_once(" by MQTT on 127.0.0.1:")?;
            let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some((node.to_owned(), port.parse().ok()?))
        })
    })
    .await
}
