//! What applications ask, and what they are answered: the JSON of KubeEdge's service bus.

use beehive::AskError;
use bytes::Bytes;
use protocol::device::payload::{Payload, Shape, read as read_json};
use protocol::edge::CloudError;
use protocol::rules::ENDPOINT_ANSWERED;
use protocol::{NodeReply, NodeRequest};
use serde::{Deserialize, Serialize};

/// What an application sends, of which the URL matters here.
#[derive(Deserialize)]
struct AppRequest {
    #[serde(rename = "method", default)]
    _method: String,
    #[serde(rename = "targetURL", default)]
    target_url: String,
}

impl Payload for AppRequest {
    const SHAPE: Shape = Shape::Fields(&[("method", Shape::Plain), ("targetURL", Shape::Plain)]);
}

/// What it is answered.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    code: u16,
    msg: String,
    body: String,
}

impl Answer {
    fn new(code: u16, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), body: String::new() }
    }

    /// Too many applications ask.
    pub(crate) fn busy() -> Self {
        Self::new(503, "too many requests wait for the cloud, try again")
    }

    pub(crate) fn to_json(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// Reads a request, which the cloud is sent as it is.
pub(crate) fn read(body: Option<Bytes>, is_allowed: impl Fn(&str) -> bool) -> Result<NodeRequest, Answer> {
    let Some(body) = body else {
        return Err(Answer::new(400, "can't read data from body of the http's request"));
    };
    let Ok(AppRequest { target_url: url, .. }) = read_json(&body) else {
        return Err(Answer::new(400, "invalid params"));
    };
    if !is_allowed(&url) {
        let text = format!("url {url} is not allowed and please make a rule for this url in the cloud");
        return Err(Answer::new(400, text));
    }
    Ok(NodeRequest::CallUrl { url, body })
}

/// Tells an application what the cloud answered. KubeEdge's edge has 400 for all that went wrong; what an
/// endpoint answered with a status of its own is told with that.
pub(crate) fn answer(asked: Result<Result<NodeReply, CloudError>, AskError>) -> Answer {
    match asked {
        Ok(Ok(NodeReply::Text(body))) => {
            Answer { body, ..Answer::new(200, "receive response from cloud successfully") }
        }
        Ok(Ok(NodeReply::Refused(status))) if status.reason == ENDPOINT_ANSWERED => {
            let msg = format!("the endpoint answered with status {}", status.code);
            Answer { body: status.message, ..Answer::new(status.code, msg) }
        }
        Ok(Ok(NodeReply::Refused(status))) => Answer::new(400, status.message),
        Ok(Ok(NodeReply::Done | NodeReply::Object(_))) => Answer::new(500, "the cloud's answer is no text"),
        Ok(Err(error)) => Answer::new(400, error.to_string()),
        Err(error) => Answer::new(400, error.to_string()),
    }
}

/// Returns a URL as it is compared: KubeEdge's cloud takes one of two slashes away where it says that a URL
/// is allowed no longer.
pub(crate) fn cleaned(url: &str) -> String {
    let mut cleaned = String::with_capacity(url.len());
    for letter in url.chars() {
        if letter != '/' || !cleaned.ends_with('/') {
            cleaned.push(letter);
        }
    }
    let longest = cleaned.trim_end_matches('/').len();
    cleaned.truncate(longest.max(1));
    cleaned
}

#[cfg(test)]
mod tests {
    use protocol::ApiStatus;

    use super::*;

    fn refused(body: Option<&'static str>) -> String {
        let body = body.map(|text| Bytes::from_static(text.as_bytes()));
        let answer = read(body, |url| url == "http://h").expect_err("it is refused");
        String::from_utf8_lossy(&answer.to_json()).into_owned()
    }

    #[test]
    fn a_request_is_refused_in_upstream_s_words() {
        for (body, expect) in [
            (None, "can't read data from body of the http's request"),
            (Some("?"), "invalid params"),
            (Some("[]"), "invalid params"),
            (Some(""), "invalid params"),
            (Some(r#"{"targetURL":7}"#), "invalid params"),
            (Some(r#"{"method":7,"targetURL":"http://h"}"#), "invalid params"),
            (Some(r#"{"targetURL":"http://h"} x"#), "invalid params"),
            (Some("null"), "url  is not allowed and please make a rule for this url in the cloud"),
            (Some("{}"), "url  is not allowed and please make a rule for this url in the cloud"),
            (
                Some(r#"{"targetURL":"http://x"}"#),
                "url http://x is not allowed and please make a rule for this url in the cloud",
            ),
        ] {
            assert_eq!(refused(body), format!(r#"{{"code":400,"msg":"{expect}","body":""}}"#));
        }
    }

    #[test]
    fn the_cloud_is_sent_the_whole_request() {
        let body = Bytes::from_static(br#"{"method":"POST","targetURL":"http://h","payload":1}"#);
        let request = read(Some(body.clone()), |url| url == "http://h").expect("it is allowed");
        assert_eq!(request, NodeRequest::CallUrl { url: "http://h".to_owned(), body });
        // Names are read in any case, and what else is there is the endpoint's business, as in Go.
        for body in
            [r#"{"TargetUrl":"http://h","Method":"POST"}"#, r#"{"targetURL":"http://h","payload":[1],"x":1}"#]
        {
            let body = Bytes::from_static(body.as_bytes());
            let request = read(Some(body.clone()), |url| url == "http://h").expect("it is allowed");
            assert_eq!(request, NodeRequest::CallUrl { url: "http://h".to_owned(), body });
        }
    }

    #[test]
    fn an_application_hears_of_success_and_of_each_failure() {
        let said = |reply| {
            let Answer { code, body, .. } = answer(Ok(reply));
            (code, body)
        };
        assert_eq!(said(Ok(NodeReply::Text("b".to_owned()))), (200, "b".to_owned()));
        let endpoint = ApiStatus::new(404, ENDPOINT_ANSWERED, "gone");
        assert_eq!(said(Ok(NodeReply::Refused(endpoint))), (404, "gone".to_owned()));
        let other = ApiStatus::new(502, "BadGateway", "x");
        assert_eq!(said(Ok(NodeReply::Refused(other))), (400, String::new()));
        assert_eq!(said(Ok(NodeReply::Done)).0, 500);
        assert_eq!(said(Err(CloudError::Disconnected)).0, 400);
    }

    #[test]
    fn a_url_is_the_same_when_the_cloud_has_cleaned_it() {
        assert_eq!(cleaned("http:/127.0.0.1:1/hook"), cleaned("http://127.0.0.1:1/hook"));
        assert_eq!(cleaned("http://h/"), cleaned("http:/h"));
        assert_ne!(cleaned("http://h/a"), cleaned("http://h/b"));
        assert_eq!(cleaned(""), "");
        assert_eq!(cleaned("//"), "/");
    }
}
