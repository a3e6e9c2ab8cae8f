//! TLS for clients of the broker.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventbus::ports::{MqttError, ServerTls};
use link_ws::{certificates, private_key};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const RELOAD_PERIOD: Duration = Duration::from_secs(60);

/// The certificates in force. Files that change are used from the next connection on.
#[derive(Debug, Clone)]
pub(super) struct Certificates(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: ServerTls,
    config: Mutex<Arc<ServerConfig>>,
}

/// The contents of the files.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    chain: Vec<u8>,
    key: Vec<u8>,
    clients: Option<Vec<u8>>,
}

impl Certificates {
    /// Reads the files. Returns with them what looks at them from time to time.
    pub(super) async fn read(
        files: ServerTls,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), MqttError> {
        let contents = Contents::read(&files).await?;
        let config = Mutex::new(Arc::new(contents.config(&files)?));
        let certificates = Self(Arc::new(Inner { files, config }));
        Ok((certificates.clone(), certificates.keep_up(contents)))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config())
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.config.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn keep_up(self, mut known: Contents) {
        let mut told = String::new();
        loop {
            sleep(RELOAD_PERIOD).await;
            let files = &self.0.files;
            let read = async {
                let contents = Contents::read(files).await?;
                let config = (contents != known).then(|| contents.config(files)).transpose()?;
                Ok::<_, MqttError>((contents, config))
            };
            match read.await {
                Ok((_, None)) => told.clear(),
                Ok((contents, Some(config))) => {
                    *self.0.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                    known = contents;
                    told.clear();
                    tracing::info!("the MQTT broker uses a new certificate");
                }
                Err(error) => {
                    let error = error.to_string();
                    if error != told {
                        tracing::warn!(%error, "the MQTT broker goes on with the certificate that it has");
                        told = error;
                    }
                }
            }
        }
    }
}

impl Contents {
    async fn read(files: &ServerTls) -> Result<Self, MqttError> {
        let clients = match &files.clients {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        Ok(Self { chain: read(&files.certificate).await?, key: read(&files.key).await?, clients })
    }

    fn config(&self, files: &ServerTls) -> Result<ServerConfig, MqttError> {
        let local = |path: &Path, error: &dyn std::fmt::Display| {
            MqttError::Local(format!("{}: {error}", path.display()))
        };
        let in_words = |error: &dyn std::fmt::Display| MqttError::Local(error.to_string());
        let chain = certificates(&files.certificate, &self.chain).map_err(|error| in_words(&error))?;
        let key = private_key(&files.key, &self.key).map_err(|error| in_words(&error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| in_words(&error))?;
        let config = match (&files.clients, &self.clients) {
            (Some(path), Some(pem)) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path, pem).map_err(|error| in_words(&error))? {
                    roots.add(authority).map_err(|error| local(path, &error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                config.with_client_cert_verifier(verifier.build().map_err(|error| local(path, &error))?)
            }
            _ => config.with_no_client_auth(),
        };
        config.with_single_cert(chain, key).map_err(|error| local(&files.certificate, &error))
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, MqttError> {
    let read = tokio::fs::read(path).await;
    read.map_err(|error| MqttError::Local(format!("cannot read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use link_ws::authority::Authority;
    use tokio::time::timeout;

    use super::*;

    fn write(authority: &Authority, folder: &Path) -> ServerTls {
        let files = authority.issue("broker", &["127.0.0.1"]).write(folder);
        ServerTls { certificate: files.certificate, key: files.key, clients: Some(files.ca) }
    }

    /// Waits for so long, on a clock that stands still while there is something to do, and tells whether
    /// another certificate is in force then.
    async fn changes(certificates: &Certificates, keeping_up: impl Future<Output = ()>) -> bool {
        let before = certificates.config();
        let waiting = timeout(3 * RELOAD_PERIOD, keeping_up).await;
        assert!(waiting.is_err(), "it looks for ever");
        !Arc::ptr_eq(&before, &certificates.config())
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_certificate_is_used_and_one_that_cannot_be_read_is_not() {
        let (folder, authority) = (tempfile::tempdir().expect("a directory"), Authority::new("KubeEdge"));
        let files = write(&authority, folder.path());
        let (certificates, keeping_up) = Certificates::read(files.clone()).await.expect("they are there");
        assert!(!changes(&certificates, keeping_up).await, "nothing is new");
        let (certificates, keeping_up) = Certificates::read(files.clone()).await.expect("they are there");
        write(&authority, folder.path());
        assert!(changes(&certificates, keeping_up).await);
        let (certificates, keeping_up) = Certificates::read(files.clone()).await.expect("they are there");
        std::fs::write(&files.certificate, "no certificate").expect("written");
        assert!(!changes(&certificates, keeping_up).await, "it goes on with what it has");
        assert!(Certificates::read(files).await.is_err());
    }
}
