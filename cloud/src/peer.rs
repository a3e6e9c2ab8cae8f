//! Who is at the other end of a link, and for which node it may speak.

use protocol::{NameError, NodeName};
use rustls_pki_types::CertificateDer;
use wire::link::{Identity, LinkError};

/// Says why a peer may not speak for the node that it claims to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error("{0}")]
    Name(NameError),
    #[error("the certificate is of {of:?}, not of the node {node}")]
    AnotherNode { of: String, node: NodeName },
}

/// Refuses who claims to be another node than its certificate is of.
pub(crate) fn check(identity: &Identity, claimed: &str) -> Result<(), ClaimError> {
    let node = NodeName::parse(claimed).map_err(ClaimError::Name)?;
    if identity.may_speak_for(&node) {
        return Ok(());
    }
    let of = match identity {
        Identity::Certificate(name) => name.clone(),
        Identity::SameProcess => "this process".to_owned(),
    };
    Err(ClaimError::AnotherNode { of, node })
}

/// Returns who a peer is by the certificate that it showed.
pub(crate) fn identity(certificates: &[CertificateDer<'_>]) -> Result<Identity, LinkError> {
    let certificate =
        certificates.first().ok_or_else(|| LinkError::Handshake("no certificate".to_owned()))?;
    Ok(Identity::Certificate(common_name(certificate)?))
}

fn common_name(certificate: &CertificateDer<'_>) -> Result<String, LinkError> {
    let failed = |problem: &str| LinkError::Handshake(format!("the peer's certificate {problem}"));
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| failed("is not X.509"))?;
    let mut names = parsed.subject().iter_common_name();
    match (names.next().map(|name| name.as_str()), names.next()) {
        (Some(Ok(name)), None) => Ok(name.to_owned()),
        _ => Err(failed("has not exactly one common name")),
    }
}
