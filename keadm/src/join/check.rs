//! What must hold before a join changes anything.

use std::path::Path;
use std::time::SystemTime;

use edgecore::certificate::CertificateFacts;
use edgecore::enrol::{Registration, Survey};
use node_config::Process;

use super::flags::{Driver, Join};
use super::plan::Plan;
use crate::checks::time::{apart, date, length};
use crate::checks::{cloud, dns, runtime};
use crate::finding::Finding;
use crate::world::World;

/// Looks at everything. A join goes on only if nothing failed.
pub(crate) async fn check(
    plan: &Plan,
    flags: &Join,
    world: &dyn World,
    program: Option<&Path>,
) -> Vec<Finding> {
    let mut findings = vec![rights(flags, world), installed(program)];
    findings.extend(free(plan, flags, world));
    findings.extend(check_cloud(plan, flags, world).await);
    match &plan.endpoint {
        Some(endpoint) => {
            let (finding, seen) = runtime::look(world, endpoint).await;
            findings.push(finding);
            let wanted = flags.cgroupdriver.map(Driver::as_str);
            findings.extend(seen.and_then(|seen| runtime::driver(&seen, wanted)));
        }
        None => findings.push(Finding::warning(
            "runtime",
            "modules.edged.runtime is hollow: pods are played, nothing runs",
            "nothing, if this is to try; else leave the key out",
        )),
    }
    findings
}

fn rights(flags: &Join, world: &dyn World) -> Finding {
    const CHECK: &str = "rights";
    if world.is_root() {
        Finding::ok(CHECK, "keadm runs as root")
    } else if flags.root.is_machine() {
        Finding::failed(CHECK, "keadm does not run as root", "sudo keadm join ..., or another --root to try")
    } else {
        Finding::ok(CHECK, "another --root needs no rights")
    }
}

fn installed(program: Option<&Path>) -> Finding {
    const CHECK: &str = "program";
    match program {
        Some(path) => Finding::ok(CHECK, path.display().to_string()),
        None => Finding::failed(
            CHECK,
            "edgecore is neither in /usr/local/bin nor in /usr/bin nor beside keadm",
            "install -m 755 edgecore /usr/local/bin/",
        ),
    }
}

/// Nobody else may be the node of this machine.
fn free(plan: &Plan, flags: &Join, world: &dyn World) -> Vec<Finding> {
    const CHECK: &str = "node";
    let mut findings = Vec::new();
    if flags.root.is_machine() {
        let processes = world.processes();
        for (name, todo) in [
            ("edgecore", "stop it (systemctl stop edgecore), or undo its join: keadm reset edge"),
            ("kubelet", "one agent runs a machine's pods: stop kubelet (systemctl disable --now kubelet)"),
        ] {
            if let Some(found) = processes.iter().find(|process| process.name == name) {
                findings.push(Finding::failed(CHECK, format!("{name} runs as process {}", found.id), todo));
            }
        }
    }
    let certificate = &plan.hub.tls_cert_file;
    if !flags.rejoin && world.exists(certificate) {
        findings.push(Finding::failed(
            CHECK,
            format!("this machine has joined already: there is {}", certificate.display()),
            format!(
                "to go on as it is, start {}; to join again keep the name and add --rejoin; \
                 to join as another node: keadm reset edge",
                Process::EdgeCore.name()
            ),
        ));
    }
    if let (true, Ok(facts)) = (flags.rejoin, CertificateFacts::of_file(certificate))
        && facts.name != format!("system:node:{}", plan.node)
    {
        findings.push(Finding::failed(
            CHECK,
            format!("this machine is another node: {} is of {:?}", certificate.display(), facts.name),
            "join again under that name, or undo that join first: keadm reset edge",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, format!("this machine becomes {}", plan.node)));
    }
    findings
}

async fn check_cloud(plan: &Plan, flags: &Join, world: &dyn World) -> Vec<Finding> {
    let url = &plan.hub.http_server;
    let link = &plan.hub.websocket_server();
    let host = link.rsplit_once(':').map_or(link.as_str(), |(host, _)| host);
    let resolved = dns::host(world, host).await;
    let is_resolved = resolved.state != crate::finding::State::Failed;
    let mut findings = vec![resolved];
    if !is_resolved {
        return findings;
    }
    findings.push(cloud::link(world, link).await);
    let survey = match world.survey(url, &plan.node).await {
        Ok(survey) => survey,
        Err(error) => {
            findings.push(cloud::unanswered(url, &error));
            findings.push(expiry(plan.token.ends, world.now(), "this machine's"));
            return findings;
        }
    };
    findings.push(cloud::answered(url, &survey));
    findings.push(cloud::authority(&survey, &plan.token.fingerprint, "the token"));
    findings.extend(cloud::clocks(world, &survey));
    let (now, whose) = match cloud::cloud_time(&survey) {
        Some(there) => (there, "the cloud's"),
        None => (world.now(), "this machine's"),
    };
    findings.push(expiry(plan.token.ends, now, whose));
    findings.push(registered(plan, flags, &survey));
    findings
}

fn expiry(ends: SystemTime, now: SystemTime, whose: &str) -> Finding {
    const CHECK: &str = "token";
    if ends <= now {
        let ago = length(apart(now, ends));
        Finding::failed(
            CHECK,
            format!("it ended at {}, {ago} ago by {whose} clock", date(ends)),
            "print it anew on the cloud's side: keadm gettoken",
        )
    } else {
        Finding::ok(CHECK, format!("good until {}", date(ends)))
    }
}

fn registered(plan: &Plan, flags: &Join, survey: &Survey) -> Finding {
    const CHECK: &str = "name";
    let node = &plan.node;
    match &survey.node {
        Ok(Registration::Unknown) => Finding::ok(CHECK, format!("the cluster has no node {node} yet")),
        Ok(Registration::Known) if flags.rejoin => {
            Finding::ok(CHECK, format!("the cluster has a node {node}, which this machine goes on as"))
        }
        Ok(Registration::Known) => Finding::failed(
            CHECK,
            format!("the cluster has a node {node} already"),
            format!(
                "if another machine has this name, choose another: --edgenode-name; if it was this machine, \
                 add --rejoin, or remove the node and its pods: kubectl delete node {node}"
            ),
        ),
        Err(error) => Finding::warning(
            CHECK,
            format!("the cloud did not say whether there is a node {node}: {}", node_config::Causes(error)),
            "make sure that no other machine has this name: kubectl get node",
        ),
    }
}
