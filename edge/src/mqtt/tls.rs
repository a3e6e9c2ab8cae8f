//! TLS to a broker, which is always verified.

use std::path::Path;

use eventbus::ports::{MqttError, TlsFiles};
use link_ws::{certificates, private_key};
use rustls::{ClientConfig, RootCertStore};

use crate::tls::believing;

pub(super) async fn client_config(files: &TlsFiles) -> Result<ClientConfig, MqttError> {
    let local = |error: &dyn std::fmt::Display| MqttError::Local(error.to_string());
    let mut roots = RootCertStore::empty();
    for authority in certificates(&files.ca, &read(&files.ca).await?).map_err(|error| local(&error))? {
        let added = roots.add(authority);
        added.map_err(|error| MqttError::Local(format!("{}: {error}", files.ca.display())))?;
    }
    let config = believing(roots);
    let Some((certificate, key)) = &files.client else { return Ok(config.with_no_client_auth()) };
    let chain = certificates(certificate, &read(certificate).await?).map_err(|error| local(&error))?;
    let key = private_key(key, &read(key).await?).map_err(|error| local(&error))?;
    let config = config.with_client_auth_cert(chain, key);
    config.map_err(|error| MqttError::Local(format!("{}: {error}", certificate.display())))
}

async fn read(path: &Path) -> Result<Vec<u8>, MqttError> {
    let read = tokio::fs::read(path).await;
    read.map_err(|error| MqttError::Local(format!("cannot read {}: {error}", path.display())))
}
