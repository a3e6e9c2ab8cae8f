//! A certificate authority for tests.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use wire::link::TlsFiles;

/// An authority that issues certificates as upstream's cloud does.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate with its key and its authority, as PEM.
pub(crate) struct Issued {
    authority: String,
    certificate: String,
    key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub(crate) fn issue(&self, name: &str, hosts: &[&str]) -> Issued {
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

    pub(crate) fn client(&self, name: &str) -> rustls::ClientConfig {
        self.client_that_trusts(self, name)
    }

    pub(crate) fn client_that_trusts(&self, other: &Self, name: &str) -> rustls::ClientConfig {
        let issued = self.issue(name, &[]);
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
        other
            .trusting()
            .with_client_auth_cert(vec![der(&issued.certificate)], key)
            .expect("a certificate and its key")
    }

    pub(crate) fn client_without_certificate(&self) -> rustls::ClientConfig {
        self.trusting().with_no_client_auth()
    }

    fn trusting(&self) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(der(&self.certificate)).expect("an authority");
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
    }
}

impl Issued {
    pub(crate) fn write(&self, to: &Path) -> TlsFiles {
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
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}
