//! The API server behind its TLS listener, as clients on a socket see it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use apiserver::{ApiServer, Identity, Options, SigningKey, StaticToken};
use beehive::{Clock, SystemClock};
use cloudcore::https::{
    Authority, AuthorityError, HttpsLimits, HttpsListener, LingerLimits, write_kubeconfig,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use store::MemoryStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const PATIENCE: Duration = Duration::from_secs(30);

struct Listening {
    address: SocketAddr,
    authority: Arc<Authority>,
    directory: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    tasks: JoinSet<()>,
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

impl Listening {
    async fn new(limits: HttpsLimits) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let authority = Arc::new(Authority::open(directory.path(), clock()).expect("an authority is made"));
        let mut options = Options::new(clock(), 1, SigningKey::new([7; 32]));
        options.tokens = vec![StaticToken {
            token: "secret".to_owned(),
            identity: Identity::new("op", ["system:masters"]),
        }];
        let store = Arc::new(MemoryStore::new());
        let server = ApiServer::open(store, options).await.expect("an empty store opens");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = HttpsListener::bind(any, Arc::clone(&authority), Vec::new(), limits).await;
        let listener = listener.expect("a free port is bound");
        let address = listener.local_address().expect("it is bound");
        let (stop, stopped) = oneshot::channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(listener.serve(server, async move { drop(stopped.await) }));
        Self { address, authority, directory, stop: Some(stop), tasks }
    }

    fn kubeconfig(&self, signer: &Authority, user: &str, group: &str) -> Kubeconfig {
        let path = self.directory.path().join("kubeconfig");
        let issued = signer.issue_client(user, group).expect("a certificate is made");
        let url = format!("https://{}", self.address);
        write_kubeconfig(&path, &url, self.authority.certificate_pem(), user, &issued)
            .expect("it is written");
        Kubeconfig::read_from(path).expect("it is read back")
    }

    async fn client(&self, kubeconfig: Kubeconfig) -> Client {
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("it is complete");
        Client::try_from(config).expect("its certificates are usable")
    }
}

async fn list(client: Client) -> Result<usize, String> {
    let namespaces: Api<Namespace> = Api::all(client);
    let listed = timeout(PATIENCE, namespaces.list(&Default::default())).await.expect("it answers");
    listed.map(|list| list.items.len()).map_err(|error| match error {
        kube::Error::Api(status) => format!("{} {}", status.code, status.message),
        other => format!("{other:?}"),
    })
}

#[tokio::test]
async fn a_certificate_says_who_its_user_is() {
    let listening = Listening::new(HttpsLimits::default()).await;
    let admin = listening.kubeconfig(&listening.authority, "ann", "system:masters");
    assert_eq!(list(listening.client(admin).await).await, Ok(4));
    let nobody = listening.kubeconfig(&listening.authority, "joe", "nobodies");
    let refused = list(listening.client(nobody).await).await.expect_err("joe may not list namespaces");
    assert!(refused.starts_with("403 namespaces is forbidden: User \"joe\" cannot list"), "{refused}");
}

#[tokio::test]
async fn a_token_says_who_its_user_is_and_nobody_is_anonymous() {
    let listening = Listening::new(HttpsLimits::default()).await;
    let plain = |token: Option<&str>| {
        let mut kubeconfig = listening.kubeconfig(&listening.authority, "x", "y");
        for user in &mut kubeconfig.auth_infos {
            let token = token.map(|token| token.to_owned().into());
            user.auth_info = Some(kube::config::AuthInfo { token, ..Default::default() });
        }
        kubeconfig
    };
    assert_eq!(list(listening.client(plain(Some("secret"))).await).await, Ok(4));
    let wrong = list(listening.client(plain(Some("guess"))).await).await.expect_err("it is no token");
    assert_eq!(wrong, "401 Unauthorized");
    let anonymous = list(listening.client(plain(None)).await).await.expect_err("nobody is let in");
    assert!(
        anonymous.contains("User \"system:anonymous\" cannot list resource \"namespaces\""),
        "{anonymous}"
    );
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let listening = Listening::new(HttpsLimits::default()).await;
    let elsewhere = tempfile::tempdir().expect("a directory can be made");
    let stranger = Authority::open(elsewhere.path(), clock()).expect("an authority is made");
    let kubeconfig = listening.kubeconfig(&stranger, "ann", "system:masters");
    let refused = list(listening.client(kubeconfig).await).await.expect_err("it is not trusted");
    assert!(!refused.starts_with("40"), "the handshake fails, not the request: {refused}");
    let admin = listening.kubeconfig(&listening.authority, "ann", "system:masters");
    assert_eq!(list(listening.client(admin).await).await, Ok(4), "others are still served");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut_and_others_are_served() {
    let limits = HttpsLimits {
        connections_max: 2,
        handshake_timeout: Duration::from_millis(200),
        ..HttpsLimits::default()
    };
    let listening = Listening::new(limits).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(listening.address).await.expect("the system takes the connection"));
    }
    let admin = listening.kubeconfig(&listening.authority, "ann", "system:masters");
    assert_eq!(list(listening.client(admin).await).await, Ok(4));
    for mut stream in silent {
        let read = timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("it is closed in time");
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
}

/// Announces a body of so many bytes, over HTTP/1.1.
async fn begin_upload(listening: &Listening, length: usize) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(listening.authority.certificate_pem().as_bytes());
    roots.add(authority.expect("it is PEM")).expect("it is a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("they are supported")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("it is a name");
    let stream = TcpStream::connect(listening.address).await.expect("it listens");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("it is trusted");
    let head = format!(
        "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer secret\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("the head is taken");
    stream
}

#[tokio::test]
async fn a_client_that_writes_all_of_a_body_too_large_reads_the_refusal() {
    let linger = LingerLimits { timeout: PATIENCE, ..LingerLimits::default() };
    let listening = Listening::new(HttpsLimits { linger, ..HttpsLimits::default() }).await;
    let chunk = vec![b' '; 1 << 20];
    for _ in 0..5 {
        let upload = async {
            let mut stream = begin_upload(&listening, 32 << 20).await;
            for _ in 0..32 {
                stream.write_all(&chunk).await.expect("the server reads it, or throws it away");
            }
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("the answer is there, and an end");
            answer
        };
        let answer = timeout(PATIENCE, upload).await.expect("it is answered in time");
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("\"reason\":\"RequestEntityTooLarge\""), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_never_ends_its_body_is_cut() {
    let linger = LingerLimits { bytes_max: 1 << 20, timeout: PATIENCE };
    let limits = HttpsLimits { connections_max: 1, linger, ..HttpsLimits::default() };
    let listening = Listening::new(limits).await;
    let upload = async {
        let mut stream = begin_upload(&listening, usize::MAX >> 1).await;
        let chunk = vec![b' '; 1 << 20];
        while stream.write_all(&chunk).await.is_ok() {}
    };
    timeout(PATIENCE, upload).await.expect("the connection ends");
    let admin = listening.kubeconfig(&listening.authority, "ann", "system:masters");
    assert_eq!(list(listening.client(admin).await).await, Ok(4), "its place is free");
}

#[tokio::test]
async fn a_stopped_listener_ends_though_watches_are_open() {
    let limits = HttpsLimits { drain_timeout: Duration::from_millis(100), ..HttpsLimits::default() };
    let mut listening = Listening::new(limits).await;
    let admin = listening.kubeconfig(&listening.authority, "ann", "system:masters");
    let client = listening.client(admin).await;
    let namespaces: Api<Namespace> = Api::all(client);
    let watch = namespaces.watch(&Default::default(), "0").await.expect("it opens");
    drop(listening.stop.take());
    let ended = timeout(PATIENCE, listening.tasks.join_next()).await.expect("it ends in time");
    assert!(matches!(ended, Some(Ok(()))), "{ended:?}");
    drop(watch);
    assert!(TcpStream::connect(listening.address).await.is_err(), "nobody listens any longer");
}

#[test]
fn an_authority_is_made_once_and_kept_to_its_owner() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let first = Authority::open(directory.path(), clock()).expect("it is made");
    let second = Authority::open(directory.path(), clock()).expect("it is found");
    assert_eq!(first.certificate_pem(), second.certificate_pem());
    for name in ["ca.crt", "ca.key"] {
        assert_eq!(mode(&directory.path().join(name)), 0o600, "{name}");
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

#[test]
fn damaged_files_of_an_authority_are_errors_not_new_authorities() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let open = || Authority::open(directory.path(), clock()).map(drop);
    open().expect("it is made");
    let certificate = directory.path().join("ca.crt");
    let whole = std::fs::read(&certificate).expect("it is there");
    std::fs::write(&certificate, "garbage").expect("it can be damaged");
    assert!(matches!(open(), Err(AuthorityError::Useless { .. })));
    std::fs::remove_file(&certificate).expect("it can be removed");
    let half = open().expect_err("one file is missing");
    assert!(half.to_string().contains("restore it"), "{half}");
    std::fs::write(&certificate, whole).expect("it can be restored");
    open().expect("it is whole again");
}
