//! The logs of containers, read from the node that runs them.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use protocol::edge::{LogError, ReadPodLog};
use protocol::{Namespace, NodeName, ObjectName};
use serde_json::Value;

use crate::server::call::{Call, Wanted};
use crate::server::error::ApiError;
use crate::server::reply::Reply;

/// How long a node may take to open a log.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) async fn read(call: &Call, wanted: &Wanted) -> Result<Reply, ApiError> {
    let pod = call
        .server
        .0
        .storage
        .get(&wanted.resource.storage, &wanted.key())
        .ok_or_else(|| wanted.not_found())?;
    let pod = pod.bare_value();
    let container = choose_container(wanted, &pod, call.query.filled("container"))?;
    let Some(node) = pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty()) else {
        let name = wanted.name();
        return Err(ApiError::bad_request(format!("pod {name} does not have a host assigned")));
    };
    let node = NodeName::parse(node).map_err(ApiError::internal)?;
    let request = request(call, wanted, container)?;
    let Some(opening) = call.server.0.options.logs.read(&node, request) else {
        let message = format!("this API server has no way to read logs from node {:?}", node.as_str());
        return Err(ApiError::new(501, "NotImplemented", message));
    };
    let opened = tokio::time::timeout(OPEN_TIMEOUT, opening).await;
    let opened = opened.map_err(|_| ApiError::timed_out("the node did not open the log in time"))?;
    let log = opened.map_err(|error| refused(&error))?;
    let chunks = stream::unfold(log.0, |mut chunks| async move {
        let chunk = chunks.recv().await?;
        // A log that breaks off says so at its end, as kubelet does; the status line is long gone.
        let bytes = chunk.unwrap_or_else(|error| Bytes::from(format!("{error}\n")));
        Some((bytes, chunks))
    });
    Ok(Reply::stream("text/plain", chunks.boxed()))
}

fn refused(error: &LogError) -> ApiError {
    match error {
        LogError::BadRequest(message) => ApiError::bad_request(message),
        LogError::NotFound(message) => ApiError::new(404, "NotFound", message),
        LogError::Failed(message) => ApiError::internal(message),
    }
}

fn request(call: &Call, wanted: &Wanted, container: String) -> Result<ReadPodLog, ApiError> {
    let query = &call.query;
    let invalid = |error: protocol::NameError| ApiError::bad_request(error.to_string());
    if query.filled("sinceSeconds").is_some() && query.filled("sinceTime").is_some() {
        return Err(ApiError::bad_request("at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    Ok(ReadPodLog {
        namespace: Namespace::parse(wanted.namespace()).map_err(invalid)?,
        pod: ObjectName::parse(wanted.name()).map_err(invalid)?,
        container: Some(container),
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        tail_lines: query.number("tailLines")?,
        since: query.number("sinceSeconds")?.map(Duration::from_secs),
        since_time: query.filled("sinceTime").map(str::to_owned),
        timestamps: query.flag("timestamps"),
        limit_bytes: query.number("limitBytes")?,
    })
}

fn choose_container(wanted: &Wanted, pod: &Value, asked: Option<&str>) -> Result<String, ApiError> {
    let names = |list: &str| -> Vec<&str> {
        pod["spec"][list]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|container| container["name"].as_str())
            .collect()
    };
    let (containers, inits, ephemeral) =
        (names("containers"), names("initContainers"), names("ephemeralContainers"));
    let pod = wanted.name();
    match (asked, containers.as_slice()) {
        (Some(asked), _)
            if containers.contains(&asked) || inits.contains(&asked) || ephemeral.contains(&asked) =>
        {
            Ok(asked.to_owned())
        }
        (Some(asked), _) => {
            Err(ApiError::bad_request(format!("container {asked} is not valid for pod {pod}")))
        }
        (None, [only]) => Ok((*only).to_owned()),
        (None, many) => {
            let choose = format!(
                "a container name must be specified for pod {pod}, choose one of: [{}]",
                many.join(" ")
            );
            let inits = if inits.is_empty() {
                String::new()
            } else {
                format!(" or one of the init containers: [{}]", inits.join(" "))
            };
            Err(ApiError::bad_request(format!("{choose}{inits}")))
        }
    }
}
