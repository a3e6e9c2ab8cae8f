//! The authority that edges and the cloud believe, and what it signs.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beehive::Clock;
use protocol::NodeName;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime,
};
use x509_parser::prelude::{FromDer, X509Certificate, X509CertificationRequest};

use super::ec_key::{pkcs8_of_sec1, sec1_of_pkcs8};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// KubeEdge's hundred years.
const LONG_LIFE: Duration = Duration::from_secs(100 * 364 * 24 * 3600);
/// Clocks differ: a certificate is valid from a little before it was made.
const BACKDATED: Duration = Duration::from_secs(3600);
/// The organization and the name in every request of KubeEdge's edges up to 1.15, whatever their node.
const ANY_NODE: (&str, &str) = ("kubeEdge", "kubeedge.io");
/// The organization of all nodes.
pub(crate) const NODES: &str = "system:nodes";

/// Says what is wrong with the authority or with a certificate of the cloud.
#[derive(Debug, thiserror::Error)]
pub enum EdgeAuthorityError {
    /// The certificate is none.
    #[error("the certificate is no X.509 certificate")]
    Certificate,
    /// The key cannot sign.
    #[error("the private key is of no use: it must be an ECDSA key of P-256 as SEC 1, or PKCS #8")]
    Key,
    /// The two do not belong together.
    #[error("the private key is not that of the certificate")]
    Pair,
    /// Nothing could be made of them.
    #[error("a certificate could not be made")]
    Issue(#[from] rcgen::Error),
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Randomness(#[from] std::io::Error),
}

/// Says why no certificate is made of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CsrProblem {
    #[error("the body is no certificate signing request with a valid signature")]
    NotOne,
    #[error(
        "the request is for O={organization:?}, CN={name:?}, but NodeName is {node}: \
         it must be for O=system:nodes, CN=system:node:{node}"
    )]
    OtherSubject { organization: String, name: String, node: NodeName },
    #[error("a certificate could not be made")]
    Issue(#[source] EdgeAuthorityError),
}

/// Issues the certificates of the links between the cloud and its nodes.
pub(crate) struct EdgeAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// Those whose certificates are believed: its own first.
    believed: Vec<CertificateDer<'static>>,
    /// As KubeEdge keeps it: join tokens are signed with these very bytes.
    key: Vec<u8>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for EdgeAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeAuthority").finish_non_exhaustive()
    }
}

/// A certificate chain and its key.
#[derive(Clone)]
pub(crate) struct ServerPair {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// SEC 1, or PKCS #8.
    pub(crate) key: Vec<u8>,
}

impl ServerPair {
    pub(crate) fn private_key(&self) -> Result<PrivateKeyDer<'static>, EdgeAuthorityError> {
        PrivateKeyDer::try_from(self.key.clone()).map_err(|_| EdgeAuthorityError::Key)
    }
}

impl EdgeAuthority {
    /// Makes a new one.
    pub(crate) fn make(clock: Arc<dyn Clock>) -> Result<Self, EdgeAuthorityError> {
        let now = clock.now();
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(None, "KubeEdge");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
        ];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = ((now - DAY).into(), (now + LONG_LIFE).into());
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Self::of(vec![certificate.der().clone()], &key.serialize_der(), clock)
    }

    /// Takes one that exists. The first certificate is its own; edges with certificates of the others are
    /// believed as well.
    pub(crate) fn of(
        believed: Vec<CertificateDer<'static>>,
        key: &[u8],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EdgeAuthorityError> {
        let pair = key_pair(key)?;
        let certificate = believed.first().cloned().ok_or(EdgeAuthorityError::Certificate)?;
        let (_, parsed) =
            X509Certificate::from_der(&certificate).map_err(|_| EdgeAuthorityError::Certificate)?;
        if parsed.public_key().subject_public_key.data != pair.public_key_raw() {
            return Err(EdgeAuthorityError::Pair);
        }
        let key = sec1_of_pkcs8(key).unwrap_or_else(|| key.to_vec());
        let issuer = Issuer::from_ca_cert_der(&certificate, pair)?;
        Ok(Self { issuer, certificate, believed, key, clock })
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(crate) fn believed(&self) -> &[CertificateDer<'static>] {
        &self.believed
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Issues the cloud's certificate for these names and addresses.
    pub(crate) fn issue_server(&self, names: &[String]) -> Result<ServerPair, EdgeAuthorityError> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = subject(Some("KubeEdge"), "KubeEdge");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.fill(&mut params, LONG_LIFE)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let der = key.serialize_der();
        Ok(ServerPair { chain: vec![certificate.der().clone()], key: sec1_of_pkcs8(&der).unwrap_or(der) })
    }

    /// Signs what `node` asks for: a client certificate of its own name and nothing more, whatever
    /// else the request holds.
    pub(crate) fn sign(&self, csr: &[u8], node: &NodeName, days: u32) -> Result<Vec<u8>, CsrProblem> {
        self.check_subject(csr, node)?;
        let request = CertificateSigningRequestDer::from(csr);
        let mut request =
            CertificateSigningRequestParams::from_der(&request).map_err(|_| CsrProblem::NotOne)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(Some(NODES), &common_name(node));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.fill(&mut params, DAY * days).map_err(CsrProblem::Issue)?;
        request.params = params;
        let signed = request.signed_by(&self.issuer).map_err(|error| CsrProblem::Issue(error.into()))?;
        Ok(signed.der().to_vec())
    }

    fn check_subject(&self, csr: &[u8], node: &NodeName) -> Result<(), CsrProblem> {
        let (rest, request) = X509CertificationRequest::from_der(csr).map_err(|_| CsrProblem::NotOne)?;
        if !rest.is_empty() {
            return Err(CsrProblem::NotOne);
        }
        let subject = Subject::of(&request.certification_request_info.subject);
        if subject.is_node(node) || subject.is_any_node() {
            return Ok(());
        }
        let Subject { organizations, names } = subject;
        Err(CsrProblem::OtherSubject {
            organization: organizations.join(", "),
            name: names.join(", "),
            node: node.clone(),
        })
    }

    /// Tells whether the cloud can go on with a certificate: of this authority, in force, and for
    /// all these names.
    pub(crate) fn vouches_for(&self, pair: &ServerPair, names: &[String]) -> bool {
        let mut roots = RootCertStore::empty();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (Ok(()), Ok(key)) = (roots.add(self.certificate.clone()), pair.private_key()) else {
            return false;
        };
        let Ok(verifier) =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()
        else {
            return false;
        };
        let Some((leaf, others)) = pair.chain.split_first() else { return false };
        let now = UnixTime::since_unix_epoch(
            self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + DAY,
        );
        let is_its_key = rustls::sign::CertifiedKey::from_der(pair.chain.clone(), key, &provider).is_ok();
        is_its_key
            && names.iter().all(|name| {
                ServerName::try_from(name.as_str())
                    .is_ok_and(|name| verifier.verify_server_cert(leaf, others, &name, &[], now).is_ok())
            })
    }

    fn fill(&self, params: &mut CertificateParams, life: Duration) -> Result<(), EdgeAuthorityError> {
        let now = self.now();
        let mut serial = node_config::random_bytes::<8>()?;
        serial[0] &= 0x7f;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        (params.not_before, params.not_after) = ((now - BACKDATED).into(), (now + life).into());
        params.key_usages = vec![KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        Ok(())
    }
}

/// Who a certificate, or a request for one, is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) organizations: Vec<String>,
    pub(crate) names: Vec<String>,
}

impl Subject {
    fn of(name: &x509_parser::x509::X509Name<'_>) -> Self {
        // What is no text is not left out: it must not make a subject look like a simpler one.
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().unwrap_or("\u{fffd}").to_owned()
        };
        Self {
            organizations: name.iter_organization().map(text).collect(),
            names: name.iter_common_name().map(text).collect(),
        }
    }

    /// Reads the subject of a certificate.
    pub(crate) fn of_certificate(der: &[u8]) -> Option<Self> {
        X509Certificate::from_der(der).ok().map(|(_, certificate)| Self::of(certificate.subject()))
    }

    /// Tells whether this is exactly the node.
    pub(crate) fn is_node(&self, node: &NodeName) -> bool {
        self.organizations == [NODES] && self.names == [common_name(node)]
    }

    /// Tells whether this is what an edge of KubeEdge up to 1.15 asks for: it names no node.
    fn is_any_node(&self) -> bool {
        self.organizations == [ANY_NODE.0] && self.names == [ANY_NODE.1]
    }
}

fn common_name(node: &NodeName) -> String {
    format!("system:node:{node}")
}

fn subject(organization: Option<&str>, name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    if let Some(organization) = organization {
        subject.push(DnType::OrganizationName, organization);
    }
    subject.push(DnType::CommonName, name);
    subject
}

fn key_pair(key: &[u8]) -> Result<KeyPair, EdgeAuthorityError> {
    let pkcs8 = pkcs8_of_sec1(key).unwrap_or_else(|| key.to_vec());
    KeyPair::try_from(&PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8)))
        .map_err(|_| EdgeAuthorityError::Key)
}

/// Returns whether a name can stand in a certificate of the cloud.
pub(crate) fn is_name(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok_and(|address| !address.is_unspecified())
        || ServerName::try_from(name).is_ok_and(|name| matches!(name, ServerName::DnsName(_)))
}

#[cfg(test)]
mod tests {
    use beehive::SystemClock;

    use super::*;

    fn authority() -> EdgeAuthority {
        EdgeAuthority::make(Arc::new(SystemClock)).expect("it is made")
    }

    fn node(name: &str) -> NodeName {
        NodeName::parse(name).expect("a name")
    }

    fn csr(parts: &[(DnType, &str)], fill: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, text) in parts {
            params.distinguished_name.push(kind.clone(), *text);
        }
        fill(&mut params);
        let key = KeyPair::generate().expect("a key");
        params.serialize_request(&key).expect("a request").der().to_vec()
    }

    fn of_edge_1(fill: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let subject = [
            (DnType::CountryName, "CN"),
            (DnType::OrganizationName, NODES),
            (DnType::CommonName, "system:node:edge-1"),
        ];
        csr(&subject, fill)
    }

    #[test]
    fn a_node_gets_a_client_certificate_of_its_name_and_nothing_else_that_it_asked_for() {
        let authority = authority();
        let greedy = of_edge_1(|params| {
            params.subject_alt_names =
                CertificateParams::new(vec!["localhost".to_owned()]).expect("a name").subject_alt_names;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        });
        let der = authority.sign(&greedy, &node("edge-1"), 365).expect("it is signed");
        let (_, signed) = X509Certificate::from_der(&der).expect("a certificate");
        let subject = Subject::of(signed.subject());
        assert!(subject.is_node(&node("edge-1")), "{subject:?}");
        assert!(!signed.is_ca());
        assert!(signed.subject_alternative_name().expect("it is readable").is_none());
        let usage = signed.extended_key_usage().expect("it is readable").expect("it is there").value;
        assert!(usage.client_auth && !usage.server_auth);
        let days =
            (signed.validity().not_after.timestamp() - signed.validity().not_before.timestamp()) / 86_400;
        assert_eq!(days, 365);
    }

    #[test]
    fn an_edge_of_kubeedge_1_15_names_no_node_and_gets_the_name_of_its_own() {
        let authority = authority();
        let subject = [
            (DnType::CountryName, "CN"),
            (DnType::OrganizationName, "kubeEdge"),
            (DnType::LocalityName, "Hangzhou"),
            (DnType::StateOrProvinceName, "Zhejiang"),
            (DnType::CommonName, "kubeedge.io"),
        ];
        let der = authority.sign(&csr(&subject, |_| {}), &node("edge-1"), 365).expect("it is signed");
        let subject = Subject::of_certificate(&der).expect("a certificate");
        assert!(subject.is_node(&node("edge-1")), "{subject:?}");
    }

    #[test]
    fn a_request_for_anybody_else_is_refused() {
        let authority = authority();
        let (organization, name) = (DnType::OrganizationName, DnType::CommonName);
        let masters = [(organization.clone(), "system:masters"), (name.clone(), "system:node:edge-1")];
        let another = [(organization.clone(), NODES), (name.clone(), "system:node:edge-2")];
        let bare = [(organization, NODES), (name.clone(), "edge-1")];
        let nowhere = [(name, "system:node:edge-1")];
        for subject in [&masters[..], &another, &bare, &nowhere, &[]] {
            let refused = authority.sign(&csr(subject, |_| {}), &node("edge-1"), 1);
            assert!(matches!(refused, Err(CsrProblem::OtherSubject { .. })), "{subject:?}");
        }
        let mut forged = of_edge_1(|_| {});
        let last = forged.len() - 1;
        forged[last] ^= 1;
        for garbage in [&b"notacsr"[..], b"", &forged] {
            let refused = authority.sign(garbage, &node("edge-1"), 1);
            assert!(matches!(refused, Err(CsrProblem::NotOne)), "{refused:?}");
        }
    }

    #[test]
    fn an_authority_survives_in_the_form_in_which_it_is_kept() {
        let made = authority();
        assert_eq!(made.key().len(), 121, "SEC 1");
        let kept = EdgeAuthority::of(vec![made.certificate().clone()], made.key(), Arc::new(SystemClock));
        let kept = kept.expect("it is whole");
        let names = ["localhost".to_owned(), "10.0.0.1".to_owned()];
        let pair = kept.issue_server(&names).expect("it is issued");
        assert!(made.vouches_for(&pair, &names));
        assert!(!made.vouches_for(&pair, &["10.0.0.2".to_owned()]), "another address");
        let other = authority();
        assert!(!other.vouches_for(&pair, &names), "another authority");
        let swapped = EdgeAuthority::of(vec![other.certificate().clone()], made.key(), Arc::new(SystemClock));
        assert!(matches!(swapped, Err(EdgeAuthorityError::Pair)), "{swapped:?}");
    }
}
