//! A cloud, from its configuration to its API server and the certificates that it gives.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use cloudhub::CloudHubConfig;
use node_config::{Loaded, Process, is_enabled};
use protocol::NodeName;

use crate::checks::certificate::{Holder, file};
use crate::checks::{cloud, config, disk, process, store};
use crate::finding::Finding;
use crate::services::Services;
use crate::world::World;

/// A name that no node has; only that the question is answered counts.
const NOBODY: &str = "keadm-doctor";

pub(super) async fn look(
    path: &Path,
    is_machine: bool,
    world: &dyn World,
    services: &dyn Services,
) -> Vec<Finding> {
    let catalog = match cloudcore::inert_catalog().await {
        Ok(catalog) => catalog,
        Err(error) => return vec![Finding::failed("config", error.to_string(), "report this as a bug")],
    };
    let (mut findings, loaded) = config::look(world, Process::CloudCore, &catalog, path);
    let Some(loaded) = loaded else { return findings };
    let is_running = process::is_running(world, Process::CloudCore);
    if is_machine {
        findings.push(process::look(world, services, Process::CloudCore).await);
    }
    let sections = loaded.node_sections();
    match loaded.module::<CloudHubConfig>(&sections, "cloudHub") {
        Ok(hub) if is_enabled(&sections, "cloudHub") => {
            findings.extend(certificates(&hub, world));
            findings.extend(doors(&hub, is_running, world).await);
        }
        Ok(_) => findings.push(Finding::warning(
            "cloud",
            "modules.cloudHub is disabled: no edge can connect",
            "leave modules.cloudHub.enable out",
        )),
        Err(error) => findings.push(Finding::failed("config", error.to_string(), "correct it")),
    }
    findings.extend(cluster(&loaded, is_running, world).await);
    findings.push(disk::look(world, &loaded.settings.store));
    findings
}

/// Looks at the files of certificates, where there are any: else they are in secrets.
fn certificates(hub: &CloudHubConfig, world: &dyn World) -> Vec<Finding> {
    let todo = "replace the file, or remove it with its key: cloudcore then takes the one of its secret, or makes one";
    let pairs = [
        ("authority", "the authority of the edges", &hub.tls_ca_file, &hub.tls_ca_key_file),
        ("certificate", "the cloud's certificate", &hub.tls_cert_file, &hub.tls_private_key_file),
    ];
    let mut findings = Vec::new();
    for (check, whose, certificate, key) in pairs {
        match (world.exists(certificate), world.exists(key)) {
            (false, false) => {}
            (true, true) => {
                let holder = Holder { check, whose, renews: false, todo };
                findings.push(file(certificate, &holder, world.now()));
            }
            (true, false) => findings.push(half(check, certificate, key)),
            (false, true) => findings.push(half(check, key, certificate)),
        }
    }
    findings
}

fn half(check: &'static str, there: &Path, missing: &Path) -> Finding {
    let seen = format!("{} is there and {} is not", there.display(), missing.display());
    Finding::failed(
        check,
        seen,
        "put the other file there, or remove this one: cloudcore does not start with half",
    )
}

/// Looks at the ports at which edges knock.
async fn doors(hub: &CloudHubConfig, is_running: bool, world: &dyn World) -> Vec<Finding> {
    let mut findings = Vec::new();
    let link = address(&hub.websocket.address, hub.websocket.port);
    let desk = address(&hub.https.address, hub.https.port);
    if hub.websocket.enable {
        findings.push(door("link", link, is_running, "modules.cloudHub.websocket", world).await);
    }
    if !hub.https.enable {
        return findings;
    }
    findings.push(door("enrolment", desk, is_running, "modules.cloudHub.https", world).await);
    if !is_running {
        return findings;
    }
    let url = format!("https://{}", reachable(desk));
    let Ok(nobody) = NodeName::parse(NOBODY) else { return findings };
    match world.survey(&url, &nobody).await {
        Ok(survey) => {
            findings.extend(cloud::certificate(world, &survey));
            findings.extend(names(hub, &survey));
            if let Err(error) = &survey.node {
                findings.push(Finding::failed(
                    "api",
                    format!("cloudcore cannot look for nodes: {}", node_config::Causes(error)),
                    "see cloudcore's log: its Kubernetes API is away, or its rights do not suffice",
                ));
            }
        }
        Err(error) => findings.push(cloud::unanswered(&url, &error)),
    }
    findings
}

/// Every advertised name must be in the certificate that edges are shown.
fn names(hub: &CloudHubConfig, survey: &edgecore::enrol::Survey) -> Option<Finding> {
    const CHECK: &str = "names";
    let hosts = &survey.certificate.as_ref()?.hosts;
    let wanted = hub.advertise_address.iter().chain(&hub.dns_names).filter(|name| !name.is_empty());
    let missing: Vec<&str> = wanted.filter(|name| !hosts.contains(name)).map(String::as_str).collect();
    Some(if missing.is_empty() {
        Finding::ok(CHECK, format!("edges may reach the cloud as {}", hosts.join(", ")))
    } else {
        Finding::failed(
            CHECK,
            format!("the cloud's certificate has {}, not {}", hosts.join(", "), missing.join(", ")),
            "restart cloudcore, which makes itself another; a certificate from a file must be replaced",
        )
    })
}

async fn door(
    check: &'static str,
    address: SocketAddr,
    is_running: bool,
    key: &str,
    world: &dyn World,
) -> Finding {
    if is_running {
        let at = reachable(address).to_string();
        return match world.connect(&at).await {
            Ok(()) => Finding::ok(check, format!("{address} takes connections")),
            Err(error) => Finding::failed(
                check,
                format!("cloudcore runs, and {at} does not answer: {error}"),
                "see cloudcore's log: another process has the port, or it is still starting",
            ),
        };
    }
    match world.is_free(address) {
        Ok(()) => Finding::ok(check, format!("{address} is free")),
        Err(error) => Finding::failed(
            check,
            format!("{address} cannot be listened on: {error}"),
            format!("end the process that has it (ss -lntp), or choose another: {key}"),
        ),
    }
}

fn address(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port)
}

/// Returns where this machine reaches what listens there.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}

/// Looks at the Kubernetes cluster that is served.
async fn cluster(loaded: &Loaded, is_running: bool, world: &dyn World) -> Vec<Finding> {
    const CHECK: &str = "api";
    let settings = &loaded.settings;
    if let Some(path) = &settings.kubeconfig {
        return vec![match world.kube(path).await {
            Ok(version) => {
                Finding::ok(CHECK, format!("the cluster of {} answers, {version}", path.display()))
            }
            Err(error) => Finding::failed(
                CHECK,
                format!("the cluster of {}: {error}", path.display()),
                "correct kubeAPIConfig.kubeConfig, or start the API server; cloudcore waits for it",
            ),
        }];
    }
    let api = SocketAddr::new(settings.api_server.address, settings.api_server.port);
    vec![
        door(CHECK, api, is_running, "kubeAPIServer", world).await,
        store::look(world, Process::CloudCore, &settings.store).await,
    ]
}
