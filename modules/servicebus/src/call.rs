//! Calls of services on the node, as KubeEdge's service bus makes them.

use std::sync::Arc;
use std::time::Duration;

use protocol::rules::{Headers, HttpAnswer, HttpCall, SERVICE_BODY_BYTES_MAX, is_of_connection};

use crate::ports::{ServiceCall, ServiceClient, ServiceError};

/// The time for one call, as KubeEdge's client has it.
const WITHIN: Duration = Duration::from_secs(10);

/// Makes the call of a service.
pub(crate) fn call(call: HttpCall) -> ServiceCall {
    let HttpCall { port, path, method, headers, body } = call;
    let mut headers: Headers = headers.into_iter().filter(|(name, _)| !is_of_connection(name)).collect();
    if !headers.keys().any(|name| name.eq_ignore_ascii_case("accept")) {
        headers.insert("Accept".to_owned(), vec!["*/*".to_owned()]);
    }
    let answer_bytes_max = SERVICE_BODY_BYTES_MAX;
    ServiceCall { port, method, path, headers, body, within: WITHIN, answer_bytes_max }
}

/// Calls a service. What goes wrong is an answer, with KubeEdge's status and text where it has one.
pub(crate) async fn make(client: Arc<dyn ServiceClient>, call: ServiceCall) -> HttpAnswer {
    let port = call.port;
    let error = match client.call(call).await {
        Ok(answer) => return answer,
        Err(error) => error,
    };
    tracing::debug!(port, %error, "a service of this node did not answer a rule");
    let (status, text) = match &error {
        ServiceError::Unreachable(_) => (404, format!("error to call service: {error}")),
        ServiceError::TimedOut(_) => (504, format!("error to call service: {error}")),
        ServiceError::BrokeOff(_) => (500, format!("error to receive response, err: {error}")),
        // KubeEdge cuts it, so that nobody knows that something is missing.
        ServiceError::TooLarge(_) => (502, format!("error to receive response, err: {error}")),
        ServiceError::Unfit(_) => (400, format!("error to parse http request: {error}")),
    };
    HttpAnswer::of_agent(status, text)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_service_is_called_with_the_headers_of_the_caller_but_for_those_of_the_connection() {
        let headers = [("Host", "h"), ("content-length", "1"), ("X-Test", "y")];
        let headers: Headers = headers.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).into();
        let asked = HttpCall {
            port: 80,
            path: "/a".to_owned(),
            method: "PUT".to_owned(),
            headers,
            body: Bytes::from_static(b"b"),
        };
        let made = call(asked.clone());
        let names: Vec<&String> = made.headers.keys().collect();
        assert_eq!(names, ["Accept", "X-Test"]);
        let own = HttpCall { headers: [("accept".to_owned(), vec!["a".to_owned()])].into(), ..asked };
        assert_eq!(call(own.clone()).headers, own.headers);
    }
}
