//! The files of a node's certificate: whether they are of use, and how they are replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::NodeName;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use wire::link::TlsFiles;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::tls::believing;

const LINE: usize = 64;
/// Who may read a file.
const FOR_ALL: u32 = 0o644;
const FOR_ITS_OWNER: u32 = 0o600;

/// What the files are worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They are the node's own until then.
    Valid { from: SystemTime, until: SystemTime },
    /// They were the node's own until then.
    Expired { at: SystemTime },
    /// They are of no use, for this reason.
    Useless(String),
}

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct WriteError {
    path: PathBuf,
    #[source]
    cause: io::Error,
}

/// Looks at the files.
pub(crate) fn standing(files: &TlsFiles, node: &NodeName, now: SystemTime) -> Standing {
    let found = look(files, node, now);
    if !matches!(found, Standing::Useless(_)) {
        return found;
    }
    // The process may have ended between the key and its certificate.
    let next = TlsFiles { certificate: successor(&files.certificate), ..files.clone() };
    match look(&next, node, now) {
        Standing::Useless(_) => found,
        of_next if fs::rename(&next.certificate, &files.certificate).is_ok() => of_next,
        _ => found,
    }
}

fn look(files: &TlsFiles, node: &NodeName, now: SystemTime) -> Standing {
    match check(files, node, now) {
        Ok(standing) => standing,
        Err(reason) => Standing::Useless(reason),
    }
}

fn check(files: &TlsFiles, node: &NodeName, now: SystemTime) -> Result<Standing, String> {
    certificates(&files.ca)?;
    let chain = certificates(&files.certificate)?;
    let key = private_key(&files.key)?;
    let at = files.certificate.display();
    let leaf = chain.first().ok_or_else(|| format!("{at} holds no certificate"))?.clone();
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider)
        .map_err(|error| format!("{at} and {} do not belong together: {error}", files.key.display()))?;
    let (_, leaf) = X509Certificate::from_der(&leaf).map_err(|error| format!("{at} is no X.509: {error}"))?;
    let name = leaf.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    let name = name.unwrap_or_default();
    if name.strip_prefix("system:node:") != Some(node.as_str()) {
        return Err(format!("{at} is of {name:?}, and this node is {node}"));
    }
    let time = |at: x509_parser::time::ASN1Time| {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or_default())
    };
    let (from, until) = (time(leaf.validity().not_before), time(leaf.validity().not_after));
    Ok(if until <= now { Standing::Expired { at: until } } else { Standing::Valid { from, until } })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    link_ws::certificates(path, &read(path)?).map_err(|error| error.to_string())
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    link_ws::private_key(path, &read(path)?).map_err(|error| error.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Writes the authority that the token vouched for.
pub(crate) fn write_authority(files: &TlsFiles, authority: &[u8]) -> Result<(), WriteError> {
    replace(&files.ca, &pem("CERTIFICATE", authority), FOR_ALL)
}

/// Writes a certificate and its key. Whenever the process ends on the way, the old pair is whole or
/// the next look makes the new one whole.
pub(crate) fn write_pair(files: &TlsFiles, certificate: &[u8], key_pem: &str) -> Result<(), WriteError> {
    let successor = successor(&files.certificate);
    replace(&successor, &pem("CERTIFICATE", certificate), FOR_ALL)?;
    replace(&files.key, key_pem, FOR_ITS_OWNER)?;
    let failed = |cause| WriteError { path: files.certificate.clone(), cause };
    fs::rename(&successor, &files.certificate).map_err(failed)?;
    sync_directory(&files.certificate).map_err(failed)
}

fn successor(path: &Path) -> PathBuf {
    with_ending(path, ".new")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Writes a file whole or not at all.
fn replace(path: &Path, text: &str, mode: u32) -> Result<(), WriteError> {
    let write = || {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let temporary = with_ending(path, ".tmp");
        if let Err(error) = fs::remove_file(&temporary)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_directory(path)
    };
    write().map_err(|cause| WriteError { path: path.to_owned(), cause })
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(LINE) {
        pem.extend(line.iter().map(|&byte| char::from(byte)));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// Makes a TLS client that believes the file of the authority, and shows the node's certificate if
/// it is to.
pub(crate) fn client_config(files: &TlsFiles, shows: Shows) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    for authority in certificates(&files.ca)? {
        roots.add(authority).map_err(|error| format!("{}: {error}", files.ca.display()))?;
    }
    let client = believing(roots);
    match shows {
        Shows::Nothing => Ok(client.with_no_client_auth()),
        Shows::Certificate => client
            .with_client_auth_cert(certificates(&files.certificate)?, private_key(&files.key)?)
            .map_err(|error| format!("{}: {error}", files.certificate.display())),
    }
}

/// What a client shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    Nothing,
    Certificate,
}
