//! The cluster's own certificate authority: made once, kept in files.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beehive::Clock;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

const DAY: Duration = Duration::from_secs(24 * 3600);
const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);
const LEAF_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// Clocks differ: a certificate is valid from a little before it was made.
const BACKDATED: Duration = Duration::from_secs(3600);
const CERTIFICATE_FILE: &str = "ca.crt";
const KEY_FILE: &str = "ca.key";
/// What the API server is called by its own host and within the cluster.
const OWN_NAMES: [&str; 7] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// Says what is wrong with the authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// One of the two files is missing: the other must not be replaced silently.
    #[error("{} exists without {}: restore it, or remove both to begin with a new authority", found.display(), missing.display())]
    Half {
        /// The file that is there.
        found: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// The files hold something else than a certificate and its key.
    #[error("the authority's certificate or key in {} is of no use", directory.display())]
    Useless {
        /// Where the files are.
        directory: PathBuf,
        /// What is wrong.
        #[source]
        cause: rcgen::Error,
    },
    /// A certificate could not be made.
    #[error("a certificate could not be made")]
    Issue(#[from] rcgen::Error),
}

/// Issues the certificates of a cluster.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Issued {
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    key_pem: String,
    key: Vec<u8>,
    ends: SystemTime,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("ends", &self.ends).field("key", &"***").finish_non_exhaustive()
    }
}

impl Issued {
    /// Returns the certificate as PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Returns the secret key as PEM.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Returns the certificate.
    #[must_use]
    pub fn certificate_der(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// Returns the secret key.
    #[must_use]
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// Returns when the certificate ends.
    #[must_use]
    pub fn ends(&self) -> SystemTime {
        self.ends
    }
}

impl Authority {
    /// Opens the authority of a directory; makes a new one there if there is none.
    ///
    /// # Errors
    ///
    /// When its files cannot be read or written, or are damaged.
    pub fn open(directory: &Path, clock: Arc<dyn Clock>) -> Result<Self, AuthorityError> {
        let (certificate, key) = (directory.join(CERTIFICATE_FILE), directory.join(KEY_FILE));
        match (read(&certificate)?, read(&key)?) {
            (Some(pem), Some(key)) => {
                let useless = |cause| AuthorityError::Useless { directory: directory.to_owned(), cause };
                let key = KeyPair::from_pem(&key).map_err(useless)?;
                Self::of(pem, key, clock).map_err(useless)
            }
            (None, None) => {
                let (pem, pair) = make(clock.now())?;
                std::fs::create_dir_all(directory).map_err(|cause| AuthorityError::File {
                    action: "create",
                    path: directory.to_owned(),
                    cause,
                })?;
                // The key first: a certificate without a key is found and reported, never used.
                write_private(&key, &pair.serialize_pem())?;
                write_private(&certificate, &pem)?;
                Ok(Self::of(pem, pair, clock)?)
            }
            (Some(_), None) => Err(AuthorityError::Half { found: certificate, missing: key }),
            (None, Some(_)) => Err(AuthorityError::Half { found: key, missing: certificate }),
        }
    }

    fn of(pem: String, key: KeyPair, clock: Arc<dyn Clock>) -> Result<Self, rcgen::Error> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { issuer, certificate, pem, clock })
    }

    /// Returns the authority's certificate as PEM, for clients to trust.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn certificate_der(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Issues a certificate for a server that is reached by these names and addresses, besides
    /// those of its own host.
    ///
    /// # Errors
    ///
    /// When a name is no valid name.
    pub fn issue_server(&self, names: &[String]) -> Result<Issued, AuthorityError> {
        let mut all: Vec<String> = OWN_NAMES.iter().map(|&name| name.to_owned()).collect();
        for name in names.iter().filter(|name| !is_unspecified(name)) {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        let mut params = CertificateParams::new(all)?;
        params.distinguished_name = subject("kube-apiserver", None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// Issues a certificate for a client: a user in a group.
    ///
    /// # Errors
    ///
    /// When a name cannot stand in a certificate.
    pub fn issue_client(&self, user: &str, group: &str) -> Result<Issued, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(user, Some(group));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Issued, AuthorityError> {
        let now = self.clock.now();
        let ends = now + LEAF_LIFE;
        params.not_before = (now - BACKDATED).into();
        params.not_after = ends.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key_pem: key.serialize_pem(),
            key: key.serialize_der(),
            ends,
        })
    }
}

fn is_unspecified(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

fn subject(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    subject.push(DnType::CommonName, name);
    subject
}

fn make(now: SystemTime) -> Result<(String, KeyPair), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject("beehive-ca", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.not_before = (now - DAY).into();
    params.not_after = (now + AUTHORITY_LIFE).into();
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key))
}

fn read(path: &Path) -> Result<Option<String>, AuthorityError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(AuthorityError::File { action: "read", path: path.to_owned(), cause }),
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), AuthorityError> {
    let failed = |action| move |cause| AuthorityError::File { action, path: path.to_owned(), cause };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&temporary).map_err(failed("create"))?;
    file.write_all(text.as_bytes()).map_err(failed("write"))?;
    file.sync_all().map_err(failed("write"))?;
    std::fs::rename(&temporary, path).map_err(failed("write"))?;
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or_else(|| Path::new("."));
    std::fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("write"))
}
