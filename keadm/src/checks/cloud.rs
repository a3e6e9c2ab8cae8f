//! Whether the cloud is there and is the one that it should be.

use std::time::SystemTime;

use edgecore::enrol::{RequestError, Survey};

use super::time::of_http;
use super::{clock, time};
use crate::finding::Finding;
use crate::world::World;

const CLOUD: &str = "cloud";
const AUTHORITY: &str = "authority";
const LINK: &str = "link";

/// Says why the cloud's server of certificates gave no answer.
pub(crate) fn unanswered(url: &str, error: &RequestError) -> Finding {
    let todo = match error {
        RequestError::Unreachable { .. } => {
            "start cloudcore there, let the firewalls pass TCP to this port, and compare --cloudcore-ipport \
             and --certport (edgeHub.httpServer) with cloudHub.https of cloudcore.yaml"
        }
        RequestError::Server(_) => "write it as https://HOST:PORT",
        RequestError::Trust { .. } => {
            "this port is not cloudcore's: it is cloudHub.https.port, 10002 by default"
        }
        RequestError::Refused { .. } => {
            "this port is not cloudcore's, or cloudcore has no authority yet: see its log"
        }
    };
    Finding::failed(CLOUD, format!("{url}: {}", node_config::Causes(error)), todo)
}

/// Says whether the cloud's certificate is for the name by which this machine reaches it.
pub(crate) fn answered(url: &str, survey: &Survey) -> Finding {
    match &survey.node {
        Err(RequestError::Trust { problem, .. }) => {
            let hosts = survey.certificate.as_ref().map(|facts| facts.hosts.join(", ")).unwrap_or_default();
            Finding::failed(
                CLOUD,
                format!("{url} answers, but its certificate is not for this name: {problem}"),
                format!(
                    "reach the cloud by a name that its certificate has ({hosts}), or add this one to \
                     cloudHub.advertiseAddress or dnsNames in cloudcore.yaml and restart cloudcore"
                ),
            )
        }
        _ => Finding::ok(CLOUD, format!("{url} answers")),
    }
}

/// Compares the cloud's authority with the one that is expected because of `why`.
pub(crate) fn authority(survey: &Survey, expected: &str, why: &str) -> Finding {
    let found = &survey.fingerprint;
    if found.eq_ignore_ascii_case(expected) {
        return Finding::ok(AUTHORITY, format!("the cloud's authority is that of {why}"));
    }
    Finding::failed(
        AUTHORITY,
        format!("the cloud's authority has the SHA-256 {found}, {why} has {expected}"),
        "this is another cluster's cloud, its authority was made anew, or somebody is in between: \
         compare the address, and print the token anew on the cloud's side",
    )
}

/// Compares the clocks, as far as the cloud tells its time.
pub(crate) fn clocks(world: &dyn World, survey: &Survey) -> Option<Finding> {
    let there = cloud_time(survey)?;
    Some(clock::compare(world.now(), there, "the cloud"))
}

/// Returns the time by the cloud's clock.
pub(crate) fn cloud_time(survey: &Survey) -> Option<SystemTime> {
    survey.date.as_deref().and_then(of_http)
}

/// Says until when the cloud's own certificate is good.
pub(crate) fn certificate(world: &dyn World, survey: &Survey) -> Option<Finding> {
    let facts = survey.certificate.as_ref()?;
    let until = time::date(facts.until);
    Some(if facts.until <= world.now() {
        Finding::failed(
            "cloud cert",
            format!("the cloud's certificate ended at {until}"),
            "restart cloudcore, which makes itself another, or replace the file that it uses; compare the clocks",
        )
    } else {
        Finding::ok("cloud cert", format!("the cloud's certificate is good until {until}"))
    })
}

/// Tries the port of the link.
pub(crate) async fn link(world: &dyn World, server: &str) -> Finding {
    match world.connect(server).await {
        Ok(()) => Finding::ok(LINK, format!("{server} takes connections")),
        Err(error) => Finding::failed(
            LINK,
            format!("{server}: {error}"),
            "let the firewalls pass TCP to this port, and compare --cloudcore-ipport (edgeHub.websocket.server) \
             with cloudHub.websocket of cloudcore.yaml",
        ),
    }
}
