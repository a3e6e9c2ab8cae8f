//! Calls services on this machine's loopback address, in clear, as KubeEdge's service bus does.

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{Full, LengthLimitError};
use node_config::Causes;
use protocol::rules::{Headers, HttpAnswer};
use servicebus::ports::{ServiceCall, ServiceClient, ServiceError};

use crate::http1::{Answer, ExchangeError, Server, Wanted, exchange};

/// The one host that is called.
const HOST: &str = "127.0.0.1";

/// Calls services over the loopback interface.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoopbackClient;

#[async_trait]
impl ServiceClient for LoopbackClient {
    async fn call(&self, call: ServiceCall) -> Result<HttpAnswer, ServiceError> {
        let (within, bytes_max) = (call.within, call.answer_bytes_max);
        let server = Server { host: HOST, port: call.port, tls: None };
        let request = request(call)?;
        match exchange(&server, request, Wanted::Body { bytes_max }, within).await {
            Ok(answer) => Ok(read(answer)),
            Err(ExchangeError::TimedOut(within)) => Err(ServiceError::TimedOut(within)),
            Err(ExchangeError::Body(error)) if error.is::<LengthLimitError>() => {
                Err(ServiceError::TooLarge(bytes_max))
            }
            Err(error @ ExchangeError::Body(_)) => Err(ServiceError::BrokeOff(Causes(&error).to_string())),
            Err(error) => Err(ServiceError::Unreachable(Causes(&error).to_string())),
        }
    }
}

fn request(call: ServiceCall) -> Result<Request<Full<Bytes>>, ServiceError> {
    let unfit = |error: &dyn std::fmt::Display| ServiceError::Unfit(error.to_string());
    let method = Method::from_bytes(call.method.as_bytes()).map_err(|error| unfit(&error))?;
    let request = Request::builder().method(method).uri(&call.path).body(Full::new(call.body));
    let mut request = request.map_err(|error| unfit(&error))?;
    *request.headers_mut() = write_headers(&call.headers)?;
    let host = HeaderValue::from_str(&format!("{HOST}:{}", call.port)).map_err(|error| unfit(&error))?;
    request.headers_mut().insert(header::HOST, host);
    Ok(request)
}

fn write_headers(headers: &Headers) -> Result<HeaderMap, ServiceError> {
    let mut written = HeaderMap::new();
    for (name, values) in headers {
        let unfit = || ServiceError::Unfit(format!("the header {name:?} is none of HTTP"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?;
        for value in values {
            written.append(&name, HeaderValue::from_str(value).map_err(|_| unfit())?);
        }
    }
    Ok(written)
}

fn read(answer: Answer) -> HttpAnswer {
    let Answer { status, headers, body } = answer;
    let mut read = Headers::new();
    for (name, value) in &headers {
        // A value that is no text is left out.
        if let Ok(value) = value.to_str() {
            read.entry(name.as_str().to_owned()).or_default().push(value.to_owned());
        }
    }
    HttpAnswer { status: status.as_u16(), headers: read, body }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn call(port: u16) -> ServiceCall {
        ServiceCall {
            port,
            method: "PUT".to_owned(),
            path: "/a?x=1".to_owned(),
            headers: [("X-Test".to_owned(), vec!["y".to_owned(), "z".to_owned()])].into(),
            body: Bytes::from_static(b"body"),
            within: Duration::from_secs(60),
            answer_bytes_max: 5,
        }
    }

    /// Calls a service that answers with `answer` and leaves; returns the request too.
    async fn ask(answer: &str) -> (Result<HttpAnswer, ServiceError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = vec![0; 4096];
            let mut size = 0;
            while !request[..size].ends_with(b"body") {
                size += stream.read(&mut request[size..]).await.expect("a request");
            }
            stream.write_all(answer.as_bytes()).await.expect("written");
            String::from_utf8_lossy(&request[..size]).into_owned()
        };
        let client = LoopbackClient;
        tokio::join!(client.call(call(port)), server)
    }

    #[tokio::test]
    async fn a_service_hears_the_call_and_is_heard() {
        let (answer, request) =
            ask("HTTP/1.1 202 Accepted\r\nX-Own: a\r\nX-Own: b\r\nContent-Length: 5\r\n\r\nhello").await;
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, &answer.body[..]), (202, &b"hello"[..]));
        assert_eq!(answer.headers["x-own"], ["a", "b"]);
        assert!(request.starts_with("PUT /a?x=1 HTTP/1.1\r\n"), "{request}");
        let lower = request.to_lowercase();
        assert!(
            lower.contains("x-test: y\r\nx-test: z\r\n") && lower.contains("content-length: 4"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn what_goes_wrong_is_told_apart() {
        let (large, _) = ask("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!").await;
        assert_eq!(large, Err(ServiceError::TooLarge(5)));
        let (short, _) = ask("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel").await;
        assert!(matches!(short, Err(ServiceError::BrokeOff(_) | ServiceError::Unreachable(_))), "{short:?}");
        let (silent, _) = ask("").await;
        assert!(matches!(silent, Err(ServiceError::Unreachable(_))), "{silent:?}");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let gone = LoopbackClient.call(call(port)).await;
        assert!(matches!(gone, Err(ServiceError::Unreachable(_))), "{gone:?}");
        let strange = ServiceCall { method: "A B".to_owned(), ..call(port) };
        assert!(matches!(LoopbackClient.call(strange).await, Err(ServiceError::Unfit(_))));
        let strange = ServiceCall { headers: [("a b".to_owned(), vec![String::new()])].into(), ..call(port) };
        assert!(matches!(LoopbackClient.call(strange).await, Err(ServiceError::Unfit(_))));
    }
}
