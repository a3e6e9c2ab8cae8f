//! Messages of nodes, on their way to REST endpoints.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use protocol::NodeName;
use protocol::rules::{Headers, SERVICE_BODY_BYTES_MAX};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout_at};

use crate::ports::{EndpointAnswer, EndpointCall, EndpointError, RestClient};
use crate::rule::Form;

/// The time for one message to one endpoint, with all attempts. The cloud hub waits a little longer.
pub(crate) const WITHIN: Duration = Duration::from_secs(20);
/// The time for one attempt, how many there are, and the pause between.
const ATTEMPT: Duration = Duration::from_secs(10);
const ATTEMPTS_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// Says why an endpoint does not have a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Undelivered {
    /// Why, in words.
    pub(crate) text: String,
    /// Whether trying again later may help.
    pub(crate) may_pass: bool,
    /// What the endpoint answered, if it did.
    pub(crate) answer: Option<EndpointAnswer>,
}

/// A message for one endpoint.
pub(crate) struct Delivery {
    pub(crate) client: Arc<dyn RestClient>,
    pub(crate) node: NodeName,
    pub(crate) url: String,
    pub(crate) body: Bytes,
    pub(crate) ca: Option<PathBuf>,
}

impl Delivery {
    /// Posts until the endpoint takes it, the attempts are used up, or it says that it never will.
    pub(crate) async fn deliver(self) -> Result<EndpointAnswer, Undelivered> {
        let deadline = Instant::now() + WITHIN;
        let mut attempt = 1;
        loop {
            let undelivered = match self.attempt(deadline).await {
                Ok(answer) => return Ok(answer),
                Err(undelivered) => undelivered,
            };
            let has_time = Instant::now() + PAUSE < deadline;
            if !undelivered.may_pass || attempt == ATTEMPTS_MAX || !has_time {
                return Err(undelivered);
            }
            tracing::debug!(
                url = self.url,
                attempt,
                problem = undelivered.text,
                "an endpoint is tried again"
            );
            sleep(PAUSE).await;
            attempt += 1;
        }
    }

    async fn attempt(&self, deadline: Instant) -> Result<EndpointAnswer, Undelivered> {
        let within = ATTEMPT.min(deadline.saturating_duration_since(Instant::now()));
        let call = EndpointCall {
            url: self.url.clone(),
            headers: self.headers(),
            body: self.body.clone(),
            within,
            answer_bytes_max: SERVICE_BODY_BYTES_MAX,
            ca: self.ca.clone(),
        };
        let (text, may_pass, answer) = match timeout_at(deadline, self.client.post(call)).await {
            Ok(Ok(answer)) if (200..300).contains(&answer.status) => return Ok(answer),
            Ok(Ok(answer)) => {
                let may_pass = matches!(answer.status, 408 | 429) || answer.status >= 500;
                (format!("it answered with status {}", answer.status), may_pass, Some(answer))
            }
            Ok(Err(error)) => {
                let may_pass = matches!(error, EndpointError::Unreachable(_) | EndpointError::TimedOut(_));
                (error.to_string(), may_pass, None)
            }
            Err(_elapsed) => (format!("it did not answer within {WITHIN:?}"), true, None),
        };
        Err(Undelivered { text: format!("endpoint {}: {text}", self.url), may_pass, answer })
    }

    /// KubeEdge's router says the node, and nothing of the content.
    fn headers(&self) -> Headers {
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&self.body).is_ok();
        let content = if is_json { "application/json" } else { "application/octet-stream" };
        let headers = [("NodeName", self.node.as_str()), ("Content-Type", content)];
        headers.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).into()
    }
}

/// Returns what of an application's request its endpoint is sent.
pub(crate) fn form(request: &Bytes, form: Form) -> Bytes {
    match form {
        Form::Base64 => STANDARD.encode(request).into(),
        Form::Request => request.clone(),
        Form::Payload => {
            // Names are read in any case, as the service bus reads them.
            let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(request).unwrap_or_default();
            let named = fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("payload"));
            let payload = named.map(|(_, raw)| raw).filter(|raw| raw.get() != "null");
            // A text is sent as what it says.
            let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
            match payload {
                Some(raw) => text(&raw).unwrap_or_else(|| raw.get().to_owned()).into(),
                None => Bytes::new(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_in_the_form_that_the_rule_asks_for() {
        let request = Bytes::from_static(br#"{"method":"POST","targetURL":"http://h","payload":{"k":"v"}}"#);
        assert_eq!(form(&request, Form::Request), request);
        assert_eq!(form(&request, Form::Payload), r#"{"k":"v"}"#);
        // As the recorded router of KubeEdge did.
        let recorded = Bytes::from_static(
            br#"{"method":"POST","targetURL":"http://127.0.0.1:16667/sbhook","payload":"sb->rest"}"#,
        );
        let expect = "eyJtZXRob2QiOiJQT1NUIiwidGFyZ2V0VVJMIjoiaHR0cDovLzEyNy4wLjAuMToxNjY2Ny9zYmhvb2siLCJwYXlsb2FkIjoic2ItPnJlc3QifQ==";
        assert_eq!(form(&recorded, Form::Base64), expect);
        assert_eq!(form(&recorded, Form::Payload), "sb->rest");
        assert_eq!(form(&Bytes::from_static(br#"{"Payload":[1, 2]}"#), Form::Payload), "[1, 2]");
        assert_eq!(form(&Bytes::from_static(b"{}"), Form::Payload), "");
        assert_eq!(form(&Bytes::from_static(br#"{"payload":null}"#), Form::Payload), "");
        assert_eq!(form(&Bytes::from_static(b"?"), Form::Payload), "");
    }
}
