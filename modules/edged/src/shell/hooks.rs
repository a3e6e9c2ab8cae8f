//! What runs inside containers or knocks at them: lifecycle hooks, and the attempts of probes.

use std::net::IpAddr;
use std::time::Duration;

use crate::pod::{ContainerView, Handler, HttpGet, IntOrString};
use crate::ports::{ContainerId, HttpProbe, ProbeScheme, RuntimeError};
use crate::shell::Shared;

/// What an attempt gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It succeeded.
    Success,
    /// It failed, for this reason.
    Failure(String),
    /// It could not be made: nothing may be concluded.
    Unknown(String),
}

/// Where a container is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) id: &'a ContainerId,
    pub(crate) view: &'a ContainerView,
    pub(crate) ip: Option<IpAddr>,
}

/// Does what a hook or a probe says, once.
pub(crate) async fn attempt(
    shared: &Shared,
    handler: &Handler,
    target: Target<'_>,
    timeout: Duration,
) -> Outcome {
    let prober = &shared.ports.prober;
    if let Some(exec) = &handler.exec {
        return command(shared, target.id, &exec.command, timeout).await;
    }
    if let Some(get) = &handler.http_get {
        let Some(probe) = http(get, target) else {
            return Outcome::Failure(format!("no port {:?} or no address to ask", get.port));
        };
        return match prober.http(&probe, timeout).await {
            Ok(code) if (200..400).contains(&code) => Outcome::Success,
            Ok(code) => Outcome::Failure(format!("HTTP probe failed with statuscode: {code}")),
            Err(why) => Outcome::Failure(why),
        };
    }
    if let Some(tcp) = &handler.tcp_socket {
        let Some((host, port)) = address(&tcp.host, &tcp.port, target) else {
            return Outcome::Failure(format!("no port {:?} or no address to ask", tcp.port));
        };
        return prober.tcp(&host, port, timeout).await.map_or_else(Outcome::Failure, |()| Outcome::Success);
    }
    if let Some(sleep) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(sleep.seconds).min(timeout)).await;
        return Outcome::Success;
    }
    Outcome::Unknown("this node knows no such handler".to_owned())
}

async fn command(shared: &Shared, id: &ContainerId, command: &[String], timeout: Duration) -> Outcome {
    match shared.ports.runtime.exec(id, command, timeout).await {
        Ok(output) if output.code == 0 => Outcome::Success,
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            Outcome::Failure(if text.is_empty() {
                format!("command ended with exit code {}", output.code)
            } else {
                text.chars().take(1024).collect()
            })
        }
        Err(RuntimeError::TimedOut(_)) => {
            Outcome::Failure(format!("command timed out after {}s", timeout.as_secs()))
        }
        Err(error) => Outcome::Unknown(error.to_string()),
    }
}

fn address(host: &str, port: &IntOrString, target: Target<'_>) -> Option<(String, u16)> {
    let port = target.view.port(port)?;
    let host = if host.is_empty() { target.ip?.to_string() } else { host.to_owned() };
    Some((host, port))
}

fn http(get: &HttpGet, target: Target<'_>) -> Option<HttpProbe> {
    let (host, port) = address(&get.host, &get.port, target)?;
    let path = match get.path.as_str() {
        "" => "/".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    Some(HttpProbe {
        scheme: if get.scheme.eq_ignore_ascii_case("https") { ProbeScheme::Https } else { ProbeScheme::Http },
        host,
        port,
        path,
        headers: get.http_headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect(),
    })
}
