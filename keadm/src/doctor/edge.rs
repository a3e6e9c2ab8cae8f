//! An edge node, from its configuration to its cloud and its pods.

use std::path::Path;

use edgecore::certificate::CertificateFacts;
use edgecore::cri::SocketEndpoint;
use edged::config::EdgedConfig;
use edgehub::EdgeHubConfig;
use node_config::{Loaded, Process, is_enabled};
use protocol::NodeName;

use crate::checks::certificate::{Holder, file};
use crate::checks::{cgroups, cloud, config, disk, dns, kernel, process, runtime, store};
use crate::finding::{Finding, State};
use crate::services::Services;
use crate::world::World;

const REJOIN: &str =
    "print a token on the cloud's side (keadm gettoken), then keadm join --rejoin with this node's name";

pub(super) async fn look(
    path: &Path,
    is_machine: bool,
    world: &dyn World,
    services: &dyn Services,
) -> Vec<Finding> {
    let catalog = edgecore::inert_catalog();
    let (mut findings, loaded) = config::look(world, Process::EdgeCore, &catalog, path);
    if is_machine {
        findings.push(process::look(world, services, Process::EdgeCore).await);
        findings.extend(process::rival(world));
    }
    if let Some(loaded) = loaded {
        match sections(&loaded) {
            Ok((hub, edged)) => findings.extend(node(&loaded, hub.as_ref(), &edged, world).await),
            Err(problem) => findings.push(Finding::failed("config", problem, "correct it")),
        }
    }
    findings.push(kernel::look(world));
    findings
}

fn sections(loaded: &Loaded) -> Result<(Option<EdgeHubConfig>, EdgedConfig), String> {
    let sections = loaded.node_sections();
    let edged = loaded.module::<EdgedConfig>(&sections, "edged").map_err(|error| error.to_string())?;
    let hub = is_enabled(&sections, "edgeHub")
        .then(|| loaded.module::<EdgeHubConfig>(&sections, "edgeHub"))
        .transpose()
        .map_err(|error| error.to_string())?;
    Ok((hub, edged))
}

async fn node(
    loaded: &Loaded,
    hub: Option<&EdgeHubConfig>,
    edged: &EdgedConfig,
    world: &dyn World,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    match hub {
        Some(hub) => findings.extend(link(hub, edged, world).await),
        None => findings.push(Finding::warning(
            "cloud",
            "modules.edgeHub is disabled: the node has no cloud",
            "nothing, if that is meant; else leave modules.edgeHub.enable out",
        )),
    }
    let runtime = match edged.runtime.as_str() {
        "hollow" => {
            findings.push(Finding::ok("runtime", "hollow: pods are played"));
            None
        }
        _ => match SocketEndpoint::parse(&edged.tailored_kubelet_config.container_runtime_endpoint) {
            Ok(endpoint) => {
                let (finding, seen) = runtime::look(world, &endpoint).await;
                findings.push(finding);
                seen
            }
            Err(error) => {
                findings.push(Finding::failed(
                    "runtime",
                    error.to_string(),
                    "write unix:///path/to/the.sock",
                ));
                None
            }
        },
    };
    findings.push(cgroups::look(world, runtime.as_ref()));
    let kubelet = &edged.tailored_kubelet_config;
    findings.push(dns::inherited(world, &kubelet.resolv_conf, &kubelet.cluster_dns));
    findings.push(store::look(world, Process::EdgeCore, &loaded.settings.store).await);
    findings.push(disk::look(world, &loaded.settings.store));
    findings
}

/// Looks at the node's certificate and at its cloud.
async fn link(hub: &EdgeHubConfig, edged: &EdgedConfig, world: &dyn World) -> Vec<Finding> {
    let mut findings = certificates(hub, edged, world);
    let name = match edged.hostname_override.as_str() {
        "" => world.host_name(),
        name => Ok(name.to_owned()),
    };
    let server = &hub.websocket_server();
    let host = server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host);
    let resolved = dns::host(world, host).await;
    let is_resolved = resolved.state != State::Failed;
    findings.push(resolved);
    if !is_resolved {
        return findings;
    }
    findings.push(cloud::link(world, server).await);
    let url = &hub.http_server;
    let Some(node) = name.ok().and_then(|name| NodeName::parse(&name).ok()) else {
        findings.push(Finding::failed(
            "node",
            "this machine's host name is no node name",
            "set modules.edged.hostnameOverride",
        ));
        return findings;
    };
    match world.survey(url, &node).await {
        Ok(survey) => {
            findings.push(cloud::answered(url, &survey));
            if let Ok(kept) = CertificateFacts::of_file(&hub.tls_ca_file) {
                let why = hub.tls_ca_file.display().to_string();
                findings.push(cloud::authority(&survey, &kept.fingerprint, &why));
            }
            findings.extend(cloud::clocks(world, &survey));
            findings.extend(cloud::certificate(world, &survey));
        }
        Err(error) => findings.push(cloud::unanswered(url, &error)),
    }
    findings
}

fn certificates(hub: &EdgeHubConfig, edged: &EdgedConfig, world: &dyn World) -> Vec<Finding> {
    let now = world.now();
    let own = Holder {
        check: "certificate",
        whose: "the node's certificate",
        renews: hub.rotate_certificates,
        todo: REJOIN,
    };
    let authority =
        Holder { check: "authority", whose: "the cloud's authority", renews: false, todo: REJOIN };
    let mut findings = vec![file(&hub.tls_cert_file, &own, now), file(&hub.tls_ca_file, &authority, now)];
    if let Ok(facts) = CertificateFacts::of_file(&hub.tls_cert_file)
        && !edged.hostname_override.is_empty()
        && facts.name != format!("system:node:{}", edged.hostname_override)
    {
        findings.push(Finding::failed(
            "certificate",
            format!("it is of {:?}, and this node is {}", facts.name, edged.hostname_override),
            format!("set modules.edged.hostnameOverride to the certificate's node, or {REJOIN}"),
        ));
    }
    findings.extend(key(&hub.tls_private_key_file, world));
    findings
}

fn key(path: &Path, world: &dyn World) -> Option<Finding> {
    const CHECK: &str = "key";
    let at = path.display();
    if !world.exists(path) {
        return Some(Finding::failed(CHECK, format!("{at} is not there"), REJOIN));
    }
    let mode = world.mode(path)?;
    if mode & 0o077 != 0 {
        let seen = format!("{at} can be read by others (mode {:o})", mode & 0o777);
        return Some(Finding::warning(CHECK, seen, format!("chmod 600 {at}")));
    }
    None
}
