//! The file that tells kubectl where the cluster is and who is asking.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::authority::{AuthorityError, Issued, write_private};

/// Writes a kubeconfig with one cluster and one user, readable by its owner only. `url` is
/// `https://host:port`.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write_kubeconfig(
    path: &Path,
    url: &str,
    authority_pem: &str,
    user: &str,
    issued: &Issued,
) -> Result<(), AuthorityError> {
    write_private(path, &kubeconfig(url, authority_pem, user, issued))
}

/// Returns the text of the file. JSON strings are YAML strings: names need no other quoting.
fn kubeconfig(url: &str, authority_pem: &str, user: &str, issued: &Issued) -> String {
    let quoted = |text: &str| json!(text).to_string();
    let (url, user) = (quoted(url), quoted(user));
    let authority = STANDARD.encode(authority_pem);
    let certificate = STANDARD.encode(issued.certificate_pem());
    let key = STANDARD.encode(issued.key_pem());
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: beehive
  cluster:
    server: {url}
    certificate-authority-data: {authority}
users:
- name: {user}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: beehive
  context:
    cluster: beehive
    user: {user}
current-context: beehive
"
    )
}
