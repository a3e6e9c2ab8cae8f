//! What a certificate says of itself, for people.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

/// The longest file that is read.
const BYTES_MAX: u64 = 1 << 20;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its subject's common name.
    pub name: String,
    /// When it begins.
    pub from: SystemTime,
    /// When it ends.
    pub until: SystemTime,
    /// The host names and addresses that it is for.
    pub hosts: Vec<String>,
    /// Its SHA-256, in hex.
    pub fingerprint: String,
}

impl CertificateFacts {
    /// Reads a certificate in DER.
    #[must_use]
    pub fn of_der(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        Some(Self {
            name: name.unwrap_or_default().to_owned(),
            from: time(certificate.validity().not_before),
            until: time(certificate.validity().not_after),
            hosts: names.iter().filter_map(host).collect(),
            fingerprint: link_ws::fingerprint(der),
        })
    }

    /// Reads the first certificate of a PEM file.
    ///
    /// # Errors
    ///
    /// Says why the file is of no use, with its path.
    pub fn of_file(path: &Path) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
        let size = std::fs::metadata(path).map_err(|error| failed(&error))?.len();
        if size > BYTES_MAX {
            return Err(format!("{} is too long for a certificate", path.display()));
        }
        let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
        let chain = link_ws::certificates(path, &bytes).map_err(|error| error.to_string())?;
        let first = chain.first().and_then(|first| Self::of_der(first));
        first.ok_or_else(|| format!("{} holds no certificate", path.display()))
    }
}

fn time(at: ASN1Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or_default())
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
                .ok()
                .map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn a_certificate_says_for_whom_and_until_when_it_is() {
        let hosts = ["cloud.example.com", "203.0.113.7", "2001:db8::1"].map(str::to_owned).to_vec();
        let mut params = CertificateParams::new(hosts.clone()).expect("host names");
        params.distinguished_name.push(DnType::CommonName, "system:node:edge-1");
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let certificate = params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate");
        let facts = CertificateFacts::of_der(certificate.der()).expect("it is one");
        assert_eq!((facts.name.as_str(), facts.hosts.clone()), ("system:node:edge-1", hosts));
        let life = facts.until.duration_since(facts.from).expect("it ends after it begins");
        assert_eq!(life, Duration::from_secs(365 * 24 * 3600));

        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("edge.crt");
        std::fs::write(&path, certificate.pem()).expect("written");
        assert_eq!(CertificateFacts::of_file(&path), Ok(facts));
        std::fs::write(&path, "text").expect("written");
        let problem = CertificateFacts::of_file(&path).expect_err("it is none");
        assert!(problem.contains("edge.crt"), "{problem}");
        assert_eq!(CertificateFacts::of_der(b"text"), None);
    }
}
