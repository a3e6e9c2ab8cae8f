//! Service account tokens: signed JSON web tokens (HS256) bound to their account.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::auth::identity::{Identity, same_secret};

/// Who issues the tokens, as the `iss` claim and the default audience.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const BLOCK_BYTES: usize = 64;

/// The key that tokens are signed with.
#[derive(Clone)]
pub struct SigningKey([u8; 32]);

impl SigningKey {
    /// Takes 32 bytes from a secure source of randomness, kept secret and across restarts.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub iss: String,
    pub sub: String,
    pub aud: Vec<String>,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
    pub jti: String,
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Kubernetes,
}

/// The account that a token is bound to, and the object whose end ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kubernetes {
    pub namespace: String,
    pub serviceaccount: Reference,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub secret: Option<Reference>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub name: String,
    pub uid: String,
}

impl Claims {
    /// Returns the account's identity.
    pub(crate) fn identity(&self) -> Identity {
        let namespace = &self.kubernetes.namespace;
        let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        let mut identity = Identity::new(self.sub.clone(), groups);
        identity.uid.clone_from(&self.kubernetes.serviceaccount.uid);
        let mut extra = |name: &str, value: &str| {
            identity.extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value.to_owned()]);
        };
        extra("credential-id", &format!("JTI={}", self.jti));
        if let Some(pod) = &self.kubernetes.pod {
            extra("pod-name", &pod.name);
            extra("pod-uid", &pod.uid);
        }
        identity
    }
}

/// Returns the name of a service account as a user.
pub(crate) fn account_user(namespace: &str, account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{account}")
}

pub(crate) fn sign(key: &SigningKey, claims: &Claims) -> Result<String, serde_json::Error> {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "typ": "JWT"}).to_string());
    let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
    let signed = format!("{header}.{body}");
    let signature = URL_SAFE_NO_PAD.encode(hmac(&key.0, signed.as_bytes()));
    Ok(format!("{signed}.{signature}"))
}

/// Returns what a token says if its signature and its times are valid.
pub(crate) fn verify(key: &SigningKey, token: &str, now: i64) -> Option<Claims> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, body) = signed.split_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    if !same_secret(&signature, &hmac(&key.0, signed.as_bytes())) {
        return None;
    }
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    if header.get("alg").and_then(Value::as_str) != Some("HS256") {
        return None;
    }
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
    (claims.iss == ISSUER && claims.nbf <= now && now < claims.exp).then_some(claims)
}

/// HMAC-SHA-256 (RFC 2104) for keys that are not longer than a block.
fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let pad = |byte: u8| {
        let mut block = [byte; BLOCK_BYTES];
        for (pad, key) in block.iter_mut().zip(key) {
            *pad ^= key;
        }
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            iss: ISSUER.to_owned(),
            sub: account_user("a", "b"),
            aud: vec![ISSUER.to_owned()],
            iat: 100,
            nbf: 100,
            exp: 200,
            jti: "id".to_owned(),
            kubernetes: Kubernetes {
                namespace: "a".to_owned(),
                serviceaccount: Reference { name: "b".to_owned(), uid: "u".to_owned() },
                pod: None,
                secret: None,
            },
        }
    }

    #[test]
    fn the_code_is_that_of_rfc_4231() {
        // Test case 2 with the key `Jefe`, padded with zeros as RFC 2104 pads every short key.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let code: String =
            hmac(&key, b"what do ya want for nothing?").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(code, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn a_token_is_valid_for_its_time_and_key_only() {
        let key = SigningKey::new([7; 32]);
        let token = sign(&key, &claims()).expect("claims are JSON");
        assert_eq!(verify(&key, &token, 150), Some(claims()));
        assert_eq!(verify(&key, &token, 99), None);
        assert_eq!(verify(&key, &token, 200), None);
        assert_eq!(verify(&SigningKey::new([8; 32]), &token, 150), None);
        assert_eq!(verify(&key, &token.replacen('.', "x.", 1), 150), None);
        for garbage in ["", ".", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
            assert_eq!(verify(&key, garbage, 150), None, "{garbage}");
        }
    }

    #[test]
    fn an_account_is_in_the_groups_of_its_namespace() {
        let identity = claims().identity();
        assert_eq!(identity.name, "system:serviceaccount:a:b");
        assert!(identity.in_group("system:serviceaccounts:a"));
    }
}
