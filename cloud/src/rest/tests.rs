//! The adapters over sockets of this machine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use router::ports::{
    EndpointCall, EndpointError, ListenOn, REST_BODY_BYTES_MAX, RestAnswer, RestCall, RestCalls, RestClient,
    RestListener, TlsFiles,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;

/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port that is free at the moment.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port()
}

async fn listening(limits: RestLimits, tls: Option<TlsFiles>) -> (Box<dyn RestCalls>, u16) {
    let port = free_port().await;
    let on = ListenOn { address: "127.0.0.1".to_owned(), port, tls, request_timeout: PATIENCE };
    (HttpRestListener(limits).listen(on).await.expect("a free port is bound"), port)
}

async fn exchange(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    stream.write_all(request).await.expect("it is read");
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("in time").expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

fn own(status: u16, body: &str) -> RestAnswer {
    let headers = [("X-Own".to_owned(), vec!["1".to_owned()])].into();
    RestAnswer { status, headers, body: body.to_owned().into() }
}

#[tokio::test]
async fn a_client_is_heard_whole_and_gets_the_answer() {
    let (mut calls, port) = listening(RestLimits::default(), None).await;
    let request = b"PUT /n/default/a?x=1 HTTP/1.1\r\nHost: h\r\nX-Test: y\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody";
    let serving = async {
        let RestCall { request, answer } = calls.next().await.expect("a request");
        assert_eq!((request.method.as_str(), request.uri.as_str()), ("PUT", "/n/default/a?x=1"));
        assert_eq!((&request.body[..], request.headers["x-test"][0].as_str()), (&b"body"[..], "y"));
        answer.send(own(418, "tea")).expect("the client waits");
    };
    let (answer, ()) = tokio::join!(exchange(port, request), serving);
    assert!(answer.starts_with("HTTP/1.1 418 ") && answer.ends_with("tea"), "{answer}");
    assert!(answer.contains("x-own: 1"), "{answer}");
}

#[tokio::test]
async fn what_is_too_large_or_too_much_together_is_refused_and_others_are_not() {
    let limits = RestLimits { bytes_max: 1000, ..RestLimits::default() };
    let (mut calls, port) = listening(limits, None).await;
    let head = |length: usize| {
        format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
    };
    let announced = exchange(port, head(REST_BODY_BYTES_MAX + 1).as_bytes()).await;
    assert!(announced.starts_with("HTTP/1.1 413 "), "{announced}");
    let large = [head(1001).into_bytes(), vec![b'x'; 1001]].concat();
    let refused = exchange(port, &large).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1"), "{refused}");
    // The places are free again.
    let fits = [head(1000).into_bytes(), vec![b'x'; 1000]].concat();
    for _ in 0..2 {
        let serving = async { calls.next().await.expect("a request").answer.send(own(200, "ok")) };
        let (answer, sent) = tokio::join!(exchange(port, &fits), serving);
        assert!(sent.is_ok() && answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let dropped = async { drop(calls.next().await.expect("a request")) };
    let (answer, ()) = tokio::join!(exchange(port, &fits), dropped);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_names_it() {
    let (_calls, port) = listening(RestLimits::default(), None).await;
    let on = ListenOn { address: "127.0.0.1".to_owned(), port, tls: None, request_timeout: PATIENCE };
    let error = HttpRestListener::default().listen(on).await.err().expect("it is taken").to_string();
    assert!(error.contains(&port.to_string()) && error.contains("modules.router.port"), "{error}");
}

fn call(url: String, ca: Option<&Path>) -> EndpointCall {
    EndpointCall {
        url,
        headers: [("NodeName".to_owned(), vec!["n".to_owned()])].into(),
        body: Bytes::from_static(b"body"),
        within: PATIENCE,
        answer_bytes_max: 5,
        ca: ca.map(Path::to_owned),
    }
}

/// Posts to an endpoint that answers with `answer` and leaves; returns the request too.
async fn post(answer: &str) -> (Result<(u16, Bytes), EndpointError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let serving = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = vec![0; 4096];
        let mut size = 0;
        while !request[..size].ends_with(b"body") {
            size += stream.read(&mut request[size..]).await.expect("a request");
        }
        stream.write_all(answer.as_bytes()).await.expect("written");
        String::from_utf8_lossy(&request[..size]).into_owned()
    };
    let client = HttpRestClient::default();
    let url = format!("http://user@127.0.0.1:{port}/hook?x=1");
    let (posted, request) = tokio::join!(client.post(call(url, None)), serving);
    (posted.map(|answer| (answer.status, answer.body)), request)
}

#[tokio::test]
async fn an_endpoint_hears_the_message_and_is_heard() {
    let (answer, request) = post("HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(answer, Ok((202, Bytes::from_static(b"hello"))));
    assert!(request.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{request}");
    let lower = request.to_lowercase();
    assert!(lower.contains("nodename: n\r\n") && lower.contains("host: 127.0.0.1:"), "{request}");
    assert!(!lower.contains("user"), "{request}");
}

#[tokio::test]
async fn an_endpoint_that_fails_is_told_apart_from_one_that_can_never_be_called() {
    let (large, _) = post("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!").await;
    assert_eq!(large, Err(EndpointError::TooLarge(5)));
    let (silent, _) = post("").await;
    assert!(matches!(silent, Err(EndpointError::Unreachable(_))), "{silent:?}");
    let client = HttpRestClient::default();
    let gone = client.post(call(format!("http://127.0.0.1:{}/", free_port().await), None)).await;
    assert!(matches!(gone, Err(EndpointError::Unreachable(_))), "{gone:?}");
    for url in ["ftp://h/", "/path", "http://"] {
        let unfit = client.post(call(url.to_owned(), None)).await;
        assert!(matches!(unfit, Err(EndpointError::Unfit(_))), "{url}: {unfit:?}");
    }
}

/// Makes a certificate of its own for 127.0.0.1.
fn certificate(directory: &Path) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let files = TlsFiles { cert: directory.join("crt"), key: directory.join("key") };
    std::fs::write(&files.cert, made.cert.pem()).expect("it is written");
    std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("it is written");
    files
}

#[tokio::test]
async fn the_listener_speaks_tls_and_the_client_believes_whom_it_is_told_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = certificate(directory.path());
    let ca = files.cert.clone();
    let (mut calls, port) = listening(RestLimits::default(), Some(files)).await;
    let url = format!("https://127.0.0.1:{port}/a");
    let client = HttpRestClient::default();
    let doubtful = client.post(call(url.clone(), None)).await;
    assert!(matches!(doubtful, Err(EndpointError::Unreachable(_))), "{doubtful:?}");
    let serving = async {
        let RestCall { request, answer } = calls.next().await.expect("a request");
        assert_eq!(&request.body[..], b"body");
        answer.send(own(200, "ok")).expect("the client waits");
    };
    let believing = call(url, Some(&ca));
    let (answer, ()) = tokio::join!(client.post(believing), serving);
    assert_eq!(answer.expect("an answer").status, 200);
}

#[tokio::test]
async fn without_a_usable_certificate_nothing_is_listened_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = TlsFiles { cert: directory.path().join("none"), key: directory.path().join("none") };
    let on = ListenOn {
        address: "127.0.0.1".to_owned(),
        port: free_port().await,
        tls: Some(files),
        request_timeout: PATIENCE,
    };
    let listener: Arc<dyn RestListener> = Arc::new(HttpRestListener::default());
    assert!(listener.listen(on).await.is_err());
}
