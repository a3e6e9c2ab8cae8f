//! What the cloud shows on its links, and whom it lets in.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use link_ws::LinkCertificates;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::time::sleep;
use wire::link::{LinkError, TlsFiles};

use crate::tls::Live;

/// How often files are looked at for other certificates.
pub(crate) const RELOAD_PERIOD: Duration = Duration::from_secs(60);

/// Reads the files. Returns TLS as they are at the moment, and what looks at them once in `period` for as
/// long as it is polled.
pub(crate) async fn of_files(
    files: TlsFiles,
    period: Duration,
) -> Result<(Arc<Live<ServerConfig>>, impl Future<Output = ()> + Send + use<>), LinkError> {
    let certificates = LinkCertificates::read(&files).await?;
    let tls = Live::new(server_config(&certificates)?);
    Ok((Arc::clone(&tls), look(files, certificates, tls, period)))
}

/// Looks at the files from time to time. What cannot be used is told once, and the present goes on.
async fn look(
    files: TlsFiles,
    mut present: LinkCertificates,
    tls: Arc<Live<ServerConfig>>,
    period: Duration,
) {
    let mut told = String::new();
    loop {
        sleep(period).await;
        let found = LinkCertificates::read(&files).await;
        let next = match found {
            Ok(found) if found.is(&present) => continue,
            found => found.and_then(|found| Ok((server_config(&found)?, found))),
        };
        match next {
            Ok((config, found)) => {
                tls.replace(config);
                (present, told) = (found, String::new());
                tracing::info!("the certificates of the links were replaced: the next connections see them");
            }
            Err(error) => {
                let error = error.to_string();
                if error != told {
                    tracing::warn!(error, "the certificates of the links cannot be replaced, and stay");
                }
                told = error;
            }
        }
    }
}

/// Makes a server that lets in only edges with a certificate.
pub(crate) fn server_config(certificates: &LinkCertificates) -> Result<ServerConfig, LinkError> {
    let bad = |what: &str, error: String| LinkError::Local(format!("{what}: {error}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::new(certificates.roots()?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|error| bad("the certificate authority", error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("TLS", error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates.chain.clone(), certificates.key.clone_key())
        .map_err(|error| bad("the server certificate", error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
