//! Web servers.

use std::time::Duration;

use bytes::Bytes;
use dmi_proto::v1beta1::PushMethodHttp;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::timeout;

use super::{PushError, Sample};

/// How long a request may take that says nothing else, and at most.
const LIMIT: Duration = Duration::from_secs(10);
const LIMIT_MAX: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read to be said in an error.
const ANSWER_BYTES_MAX: usize = 4096;

/// A client of one server, which keeps its connection.
pub(super) struct Poster {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
    limit: Duration,
}

impl Poster {
    /// Prepares requests to a URL, which must be one of HTTP.
    pub(super) fn new(url: &str, limit: Duration) -> Result<Self, PushError> {
        let uri: Uri = url.parse().map_err(|_| PushError(format!("{url:?} is no URL")))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(PushError(format!(
                    "{url}: https is not supported: send to a proxy beside the mapper"
                )));
            }
            _ => return Err(PushError(format!("{url:?} must begin with http://"))),
        }
        Ok(Self { client: Client::builder(TokioExecutor::new()).build_http(), uri, limit })
    }

    /// Posts a body. Only 2xx is a success.
    pub(super) async fn post(
        &self,
        content_type: &'static str,
        authorization: Option<&HeaderValue>,
        body: impl Into<Bytes>,
    ) -> Result<(), PushError> {
        let mut request = Request::post(self.uri.clone()).header(CONTENT_TYPE, content_type);
        if let Some(authorization) = authorization {
            request = request.header(http::header::AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body.into())).map_err(|error| PushError(error.to_string()))?;
        let posting = async {
            let answer = self.client.request(request).await.map_err(|error| self.failed(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            if status.is_success() {
                return Ok(());
            }
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let text: String = String::from_utf8_lossy(&body).chars().take(200).collect();
            Err(PushError(format!("{} answered {status}: {text}", self.uri)))
        };
        match timeout(self.limit, posting).await {
            Ok(done) => done,
            Err(_) => Err(PushError(format!("{} did not answer within {:?}", self.uri, self.limit))),
        }
    }

    fn failed(&self, error: &dyn std::error::Error) -> PushError {
        let mut cause = error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        PushError(format!("{}: {cause}", self.uri))
    }
}

/// A web server that takes forms: `<property>=<value>&time=<time>`, as `mapper-framework` sends them, but
/// escaped.
pub(super) struct HttpTarget {
    poster: Poster,
}

impl HttpTarget {
    pub(super) fn new(config: &PushMethodHttp) -> Result<Self, PushError> {
        let url = format!("{}:{}{}", config.hostname, config.port, config.requestpath);
        // KubeEdge's mappers ignore the timeout; the API says of it that it is in seconds.
        let limit = match u64::try_from(config.timeout) {
            Ok(seconds) if seconds > 0 => Duration::from_secs(seconds).min(LIMIT_MAX),
            _ => LIMIT,
        };
        Ok(Self { poster: Poster::new(&url, limit)? })
    }

    pub(super) async fn send(&mut self, sample: &Sample) -> Result<(), PushError> {
        self.poster.post("application/x-www-form-urlencoded", None, form(sample)).await
    }
}

fn form(sample: &Sample) -> String {
    let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (value, time) = (escaped(&sample.value.to_string()), escaped(&sample.time()));
    format!("{}={value}&time={time}", escaped(&sample.property))
}

#[cfg(test)]
pub(super) mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::push::tests::sample;
    use crate::value::Value;

    /// Answers one request with a status, and returns it.
    pub(in crate::push) async fn answer(listener: TcpListener, status: &str) -> String {
        let (mut stream, _) = listener.accept().await.expect("a request");
        let mut request = Vec::new();
        loop {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).await.expect("it goes on");
            request.extend_from_slice(&bytes[..read]);
            let text = String::from_utf8_lossy(&request).to_string();
            let length = text
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
            let wanted = length.and_then(|length| length.trim().parse::<usize>().ok());
            if body.is_some() && (body >= wanted || read == 0) {
                break;
            }
        }
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: 3\r\nconnection: close\r\n\r\nwhy");
        stream.write_all(text.as_bytes()).await.expect("it reads");
        String::from_utf8_lossy(&request).to_string()
    }

    pub(in crate::push) async fn listen() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        (listener, port)
    }

    fn target(port: u16) -> HttpTarget {
        let config = PushMethodHttp {
            hostname: "http://127.0.0.1".to_owned(),
            port: i64::from(port),
            requestpath: "/values".to_owned(),
            timeout: 5,
        };
        HttpTarget::new(&config).expect("a target")
    }

    #[tokio::test]
    async fn a_value_is_posted_as_a_form() {
        let (listener, port) = listen().await;
        let mut target = target(port);
        let sample = sample(Value::Text("a&b".to_owned()));
        let (request, sent) = tokio::join!(answer(listener, "200 OK"), target.send(&sample));
        assert!(sent.is_ok(), "{sent:?}");
        assert!(request.starts_with("POST /values HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("content-type: application/x-www-form-urlencoded"), "{request}");
        assert!(request.ends_with("\r\n\r\ntemp=a%26b&time=2023%2D11%2D14%2022%3A13%3A20"), "{request}");
    }

    #[tokio::test]
    async fn a_refusal_and_a_server_that_is_away_are_errors() {
        let (listener, port) = listen().await;
        let mut target = target(port);
        let sample = sample(Value::Int(1));
        let (_, sent) = tokio::join!(answer(listener, "403 Forbidden"), target.send(&sample));
        let error = sent.expect_err("it was refused").to_string();
        assert!(error.ends_with("answered 403 Forbidden: why"), "{error}");
        assert!(target.send(&sample).await.is_err());
        let config =
            PushMethodHttp { hostname: "https://h".to_owned(), port: 443, ..PushMethodHttp::default() };
        let error = HttpTarget::new(&config).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("https is not supported")));
        let config = PushMethodHttp { hostname: "h".to_owned(), port: 80, ..PushMethodHttp::default() };
        assert!(HttpTarget::new(&config).is_err());
    }
}
