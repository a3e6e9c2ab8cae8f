//! Where the authority and the cloud's certificate come from: files, else secrets, else new ones.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use beehive::Clock;
use cloudhub::CloudHubConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::authority::{EdgeAuthority, EdgeAuthorityError, ServerPair};
use super::secrets::{SecretError, Secrets, Values};

const AUTHORITY_SECRET: &str = "casecret";
const AUTHORITY_KEYS: (&str, &str) = ("cadata", "cakeydata");
const SERVER_SECRET: &str = "cloudcoresecret";
const SERVER_KEYS: (&str, &str) = ("cloudcoredata", "cloudcorekeydata");

/// Says why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// A file is there and cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {wanted} in PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// One file of a pair is missing.
    #[error("{} exists without {}: restore it, or remove both to use the secrets of the cluster", found.display(), missing.display())]
    Half {
        /// The file that is there.
        found: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// A pair is of no use.
    #[error("the certificate and the key in {source_of} are of no use")]
    Useless {
        /// Where they come from.
        source_of: String,
        /// What is wrong.
        #[source]
        cause: EdgeAuthorityError,
    },
    /// The cloud's certificate file is not what edges need.
    #[error(
        "{} is of no use: it must be of the authority {}, in force, belong to its key and name {names}",
        path.display(), authority.display()
    )]
    Server {
        /// The file.
        path: PathBuf,
        /// The authority's file.
        authority: PathBuf,
        /// The names by which edges reach the cloud.
        names: String,
    },
    /// Nothing could be made.
    #[error(transparent)]
    Make(#[from] EdgeAuthorityError),
    /// The secrets cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Finds or makes the authority.
pub(crate) async fn authority(
    config: &CloudHubConfig,
    secrets: &Secrets,
    clock: Arc<dyn Clock>,
) -> Result<EdgeAuthority, MaterialError> {
    if let Some(found) = existing_authority(config, secrets, &clock).await? {
        return Ok(found);
    }
    let made = EdgeAuthority::make(Arc::clone(&clock))?;
    let values = values(AUTHORITY_KEYS, made.certificate(), made.key());
    if secrets.create(AUTHORITY_SECRET, &values).await? {
        tracing::info!(secret = "kubeedge/casecret", "made a new certificate authority for the edges");
        return Ok(made);
    }
    // Another cloud was faster.
    of_secret(secrets.read(AUTHORITY_SECRET).await?.unwrap_or_default(), clock)
}

/// Looks again where the authority comes from. One whose secret is gone is kept, and its secret written.
pub(crate) async fn authority_again(
    config: &CloudHubConfig,
    secrets: &Secrets,
    clock: &Arc<dyn Clock>,
    present: &EdgeAuthority,
) -> Result<Option<EdgeAuthority>, MaterialError> {
    match existing_authority(config, secrets, clock).await? {
        Some(found) if found.believed() == present.believed() && found.key() == present.key() => Ok(None),
        Some(found) => Ok(Some(found)),
        None => {
            keep_authority(secrets, present).await?;
            Ok(None)
        }
    }
}

async fn existing_authority(
    config: &CloudHubConfig,
    secrets: &Secrets,
    clock: &Arc<dyn Clock>,
) -> Result<Option<EdgeAuthority>, MaterialError> {
    if let Some((chain, key)) = files(&config.tls_ca_file, &config.tls_ca_key_file)? {
        let source_of = config.tls_ca_file.display().to_string();
        let authority = open(chain, &key, source_of, Arc::clone(clock))?;
        keep_authority(secrets, &authority).await?;
        return Ok(Some(authority));
    }
    let found = secrets.read(AUTHORITY_SECRET).await?;
    found.map(|found| of_secret(found, Arc::clone(clock))).transpose()
}

async fn keep_authority(secrets: &Secrets, authority: &EdgeAuthority) -> Result<(), SecretError> {
    let values = values(AUTHORITY_KEYS, authority.certificate(), authority.key());
    keep(secrets, AUTHORITY_SECRET, &values).await
}

fn of_secret(values: Values, clock: Arc<dyn Clock>) -> Result<EdgeAuthority, MaterialError> {
    let certificate = values.get(AUTHORITY_KEYS.0).cloned().map(CertificateDer::from).into_iter().collect();
    let key = values.get(AUTHORITY_KEYS.1).map(Vec::as_slice).unwrap_or_default();
    open(certificate, key, "the secret kubeedge/casecret".to_owned(), clock)
}

fn open(
    certificates: Vec<CertificateDer<'static>>,
    key: &[u8],
    source_of: String,
    clock: Arc<dyn Clock>,
) -> Result<EdgeAuthority, MaterialError> {
    EdgeAuthority::of(certificates, key, clock).map_err(|cause| MaterialError::Useless { source_of, cause })
}

/// Finds or makes the cloud's own certificate for these names.
pub(crate) async fn server(
    config: &CloudHubConfig,
    secrets: &Secrets,
    authority: &EdgeAuthority,
    names: &[String],
) -> Result<ServerPair, MaterialError> {
    if let Some((chain, key)) = files(&config.tls_cert_file, &config.tls_private_key_file)? {
        let pair = ServerPair { chain, key };
        let asked: Vec<String> = config.advertise_address.iter().chain(&config.dns_names).cloned().collect();
        // With nothing asked for, it is of whatever names its maker chose.
        let is_useful = asked.is_empty() || authority.vouches_for(&pair, &asked);
        if !is_useful {
            return Err(MaterialError::Server {
                path: config.tls_cert_file.clone(),
                authority: config.tls_ca_file.clone(),
                names: asked.join(", "),
            });
        }
        keep_server(secrets, &pair).await?;
        return Ok(pair);
    }
    let found = secrets.read(SERVER_SECRET).await?;
    let found = found.and_then(|mut values| {
        let certificate = CertificateDer::from(values.remove(SERVER_KEYS.0)?);
        Some(ServerPair { chain: vec![certificate], key: values.remove(SERVER_KEYS.1)? })
    });
    match found {
        Some(pair) if authority.vouches_for(&pair, names) => Ok(pair),
        found => {
            let pair = authority.issue_server(names)?;
            keep_server(secrets, &pair).await?;
            let replaces = found.is_some();
            tracing::info!(names = names.join(","), replaces, "made the cloud's certificate");
            Ok(pair)
        }
    }
}

async fn keep_server(secrets: &Secrets, pair: &ServerPair) -> Result<(), SecretError> {
    let Some(leaf) = pair.chain.first() else { return Ok(()) };
    keep(secrets, SERVER_SECRET, &values(SERVER_KEYS, leaf, &pair.key)).await
}

async fn keep(secrets: &Secrets, name: &str, values: &Values) -> Result<(), SecretError> {
    if secrets.read(name).await?.as_ref() == Some(values) {
        Ok(())
    } else {
        secrets.write(name, values).await
    }
}

fn values(keys: (&str, &str), certificate: &CertificateDer<'_>, key: &[u8]) -> Values {
    Values::from([(keys.0.to_owned(), certificate.to_vec()), (keys.1.to_owned(), key.to_vec())])
}

type Pair = (Vec<CertificateDer<'static>>, Vec<u8>);

/// Reads a certificate and its key; none when neither file is there.
fn files(certificate: &Path, key: &Path) -> Result<Option<Pair>, MaterialError> {
    match (read(certificate)?, read(key)?) {
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(MaterialError::Half { found: certificate.to_owned(), missing: key.to_owned() })
        }
        (None, Some(_)) => {
            Err(MaterialError::Half { found: key.to_owned(), missing: certificate.to_owned() })
        }
        (Some(chain), Some(secret)) => {
            let pem = |path: &Path, wanted| MaterialError::Pem { path: path.to_owned(), wanted };
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
            let chain = chain.ok().filter(|chain| !chain.is_empty());
            let chain = chain.ok_or_else(|| pem(certificate, "certificate"))?;
            let secret = PrivateKeyDer::from_pem_slice(&secret).map_err(|_| pem(key, "private key"))?;
            Ok(Some((chain, secret.secret_der().to_vec())))
        }
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, MaterialError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(MaterialError::File { path: path.to_owned(), cause }),
    }
}
