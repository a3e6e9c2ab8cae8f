//! A certificate authority for tests.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::client::WantsClientCert;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use wire::link::TlsFiles;

/// An authority that issues certificates as upstream's cloud does. What it cannot do panics.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

/// A certificate with its key and its authority, as PEM.
pub struct Issued {
    authority: String,
    certificate: String,
    key: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("key", &"***").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes an authority with a key of its own, whatever others of the name there are.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Issues a certificate of this common name, for a server that is reached by `hosts`.
    #[must_use]
    pub fn issue(&self, name: &str, hosts: &[&str]) -> Issued {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).expect("host names");
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Issued { authority: self.certificate.clone(), certificate, key: key.serialize_pem() }
    }

    /// Returns what an edge dials with: a certificate of this common name.
    #[must_use]
    pub fn client(&self, name: &str) -> ClientConfig {
        self.client_that_trusts(self, name)
    }

    /// Returns what an edge dials with that trusts the cloud of another authority.
    #[must_use]
    pub fn client_that_trusts(&self, other: &Self, name: &str) -> ClientConfig {
        let issued = self.issue(name, &[]);
        other
            .trusting()
            .with_client_auth_cert(vec![der(&issued.certificate)], issued.key())
            .expect("a certificate and its key")
    }

    /// Returns what somebody dials with who trusts the cloud and shows nothing.
    #[must_use]
    pub fn client_without_certificate(&self) -> ClientConfig {
        self.trusting().with_no_client_auth()
    }

    /// Returns what a cloud serves with: a certificate for `hosts`, and only edges of `self` get in.
    #[must_use]
    pub fn server(&self, hosts: &[&str]) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let issued = self.issue("KubeEdge", hosts);
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), Arc::clone(&provider))
            .build()
            .expect("a verifier");
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![der(&issued.certificate)], issued.key())
            .expect("a certificate and its key")
    }

    fn trusting(&self) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.roots())
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(der(&self.certificate)).expect("an authority");
        Arc::new(roots)
    }
}

impl Issued {
    /// Writes the three files of an end to a directory.
    #[must_use]
    pub fn write(&self, to: &Path) -> TlsFiles {
        let write = |name: &str, text: &str| {
            let path = to.join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        TlsFiles {
            ca: write("ca.crt", &self.authority),
            certificate: write("own.crt", &self.certificate),
            key: write("own.key", &self.key),
        }
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key")
    }
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}
