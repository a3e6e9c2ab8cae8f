//! How the cloud speaks TLS to clients that may have a certificate.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{AlertDescription, CertificateError, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A value that may be replaced while it is in use: who has taken it goes on with what it was.
#[derive(Debug)]
pub struct Live<T>(RwLock<Arc<T>>);

impl<T> Live<T> {
    pub(crate) fn new(value: T) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(value))))
    }

    /// Returns what it is at the moment.
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

impl Live<ServerConfig> {
    /// Returns what accepts the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.get())
    }
}

/// Makes a server that shows `chain` and lets in clients with a certificate of one of `authorities` and
/// clients without one; who may do what is decided behind it. `protocols` are those of HTTP, the
/// best first.
pub(crate) fn server_config<E>(
    authorities: &[CertificateDer<'static>],
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    protocols: &[&[u8]],
) -> Result<ServerConfig, E>
where
    E: From<rustls::Error> + From<VerifierBuilderError>,
{
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// Says what it means that a handshake failed, where it is about who trusts whom.
pub(crate) fn doubt(error: &io::Error) -> Option<&'static str> {
    doubt_of(error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>())?)
}

/// Says the same of an error of TLS itself.
pub(crate) fn doubt_of(problem: &rustls::Error) -> Option<&'static str> {
    match problem {
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA,
        ) => Some(
            "it does not believe the cloud's certificate: its clock is wrong, it knows another authority, or it \
             dials a name that is not in cloudHub.advertiseAddress or dnsNames",
        ),
        rustls::Error::NoCertificatesPresented => Some(
            "it has no certificate: this is the port of the links; edgeHub.httpServer must have the port of \
             cloudHub.https, usually 10002",
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => Some("its certificate is not in force: it ended, or one of the clocks is wrong"),
        rustls::Error::InvalidCertificate(_) => {
            Some("its certificate is of another authority: it has to join this cloud")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failed_handshake_means_is_said() {
        let failed = |problem: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, problem);
        for (problem, expected) in [
            (rustls::Error::AlertReceived(AlertDescription::BadCertificate), "its clock is wrong"),
            (rustls::Error::NoCertificatesPresented, "must have the port of cloudHub.https"),
            (rustls::Error::InvalidCertificate(CertificateError::Expired), "it ended"),
            (rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer), "another authority"),
        ] {
            let said = doubt(&failed(problem)).expect("it is about trust");
            assert!(said.contains(expected), "{said}");
        }
        assert_eq!(doubt(&failed(rustls::Error::HandshakeNotComplete)), None);
        assert_eq!(doubt(&io::ErrorKind::ConnectionReset.into()), None);
    }
}
