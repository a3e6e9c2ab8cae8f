//! What an end of a link proves itself with, and whom it believes.

use std::fmt;
use std::path::Path;

use ring::digest;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use wire::link::{LinkError, TlsFiles};

/// What one end of a link proves itself with, and whom it believes.
pub struct LinkCertificates {
    /// The authorities of the other end.
    pub authorities: Vec<CertificateDer<'static>>,
    /// The end's own certificate and what stands between it and its authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its secret key.
    pub key: PrivateKeyDer<'static>,
}

impl fmt::Debug for LinkCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkCertificates").field("key", &"***").finish_non_exhaustive()
    }
}

impl LinkCertificates {
    /// Reads the three files.
    ///
    /// # Errors
    ///
    /// When one cannot be read or does not hold what it should; the error names it.
    pub async fn read(files: &TlsFiles) -> Result<Self, LinkError> {
        Ok(Self {
            authorities: certificates(&files.ca, &read(&files.ca).await?)?,
            chain: certificates(&files.certificate, &read(&files.certificate).await?)?,
            key: private_key(&files.key, &read(&files.key).await?)?,
        })
    }

    /// Tells whether these are the same as others.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.authorities == other.authorities && self.chain == other.chain && self.key == other.key
    }

    /// Returns the authorities as TLS takes them.
    ///
    /// # Errors
    ///
    /// When one is no certificate of an authority.
    pub fn roots(&self) -> Result<RootCertStore, LinkError> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            roots
                .add(authority.clone())
                .map_err(|error| LinkError::Local(format!("the certificate authority: {error}")))?;
        }
        Ok(roots)
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, LinkError> {
    tokio::fs::read(path)
        .await
        .map_err(|error| LinkError::Local(format!("cannot read {}: {error}", path.display())))
}

/// Returns the certificates in `pem`, which was read from `path`.
///
/// # Errors
///
/// When it holds none, or one that is broken.
pub fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, LinkError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(LinkError::Local(format!("{} holds no certificate", path.display()))),
        Err(error) => Err(LinkError::Local(format!("{}: {error}", path.display()))),
    }
}

/// Returns the secret key in `pem`, which was read from `path`.
///
/// # Errors
///
/// When it holds none.
pub fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, LinkError> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|error| LinkError::Local(format!("{} holds no private key: {error}", path.display())))
}

/// Returns what a join token knows an authority by: the SHA-256 of its certificate, in hex.
#[must_use]
pub fn fingerprint(certificate: &[u8]) -> String {
    digest::digest(&digest::SHA256, certificate).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_a_sha_256_in_hex() {
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(fingerprint(b"abc"), of_abc);
    }
}
