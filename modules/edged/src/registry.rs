//! Image references and the credentials of their registries.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::pod::null_as_default;
use crate::ports::ImageCredentials;

/// Where an image without a registry comes from.
const DEFAULT_REGISTRY: &str = "docker.io";

/// Tells whether an image is named by the tag `latest`, or by none.
#[must_use]
pub fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// Returns the registry of an image and the path within it.
#[must_use]
pub fn registry(image: &str) -> (&str, &str) {
    match image.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => (DEFAULT_REGISTRY, image),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    #[serde(deserialize_with = "null_as_default")]
    username: String,
    #[serde(deserialize_with = "null_as_default")]
    password: String,
    #[serde(deserialize_with = "null_as_default")]
    auth: String,
    #[serde(rename = "identitytoken", deserialize_with = "null_as_default")]
    identity_token: String,
}

#[derive(Deserialize)]
struct DockerConfig {
    auths: BTreeMap<String, Entry>,
}

/// Returns what a Docker configuration (either form) says for the registry of `image`, the most
/// specific entry first. What is no such file says nothing.
#[must_use]
pub fn credentials(content: &[u8], image: &str) -> Vec<ImageCredentials> {
    let entries = serde_json::from_slice::<DockerConfig>(content)
        .map(|config| config.auths)
        .or_else(|_| serde_json::from_slice::<BTreeMap<String, Entry>>(content))
        .unwrap_or_default();
    let (host, path) = registry(image);
    let mut found: Vec<(usize, ImageCredentials)> = entries
        .into_iter()
        .filter_map(|(key, entry)| {
            let length = matches(&key, host, path)?;
            Some((length, entry.into_credentials(&key)))
        })
        .collect();
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.into_iter().map(|(_, credentials)| credentials).collect()
}

/// Returns how much of the image an entry names, if it names it.
fn matches(key: &str, host: &str, path: &str) -> Option<usize> {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (key_host, key_path) = key.split_once('/').unwrap_or((key, ""));
    let key_path = if ["v1", "v2"].contains(&key_path) { "" } else { key_path };
    let docker = ["index.docker.io", "docker.io", "registry-1.docker.io"];
    let same = key_host == host
        || (docker.contains(&key_host) && docker.contains(&host))
        || key_host
            .strip_prefix("*.")
            .is_some_and(|rest| host.split_once('.').is_some_and(|(_, h)| h == rest));
    let below = key_path.is_empty() || path == key_path || path.starts_with(&format!("{key_path}/"));
    (same && below).then_some(key.len())
}

impl Entry {
    fn into_credentials(self, registry: &str) -> ImageCredentials {
        let (mut username, mut password) = (self.username, self.password);
        if username.is_empty()
            && let Ok(decoded) = STANDARD.decode(self.auth.trim())
            && let Some((user, rest)) = String::from_utf8_lossy(&decoded).split_once(':')
        {
            username = user.to_owned();
            rest.trim_end_matches('\0').clone_into(&mut password);
        }
        ImageCredentials {
            registry: registry.to_owned(),
            username,
            password,
            identity_token: self.identity_token,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_tag_is_the_latest() {
        for (image, expect) in [
            ("busybox", true),
            ("busybox:latest", true),
            ("busybox:1.36", false),
            ("localhost:5000/busybox", true),
            ("localhost:5000/busybox:1", false),
            ("busybox@sha256:0", false),
        ] {
            assert_eq!(is_latest(image), expect, "{image}");
        }
    }

    #[test]
    fn the_registry_is_what_looks_like_a_host() {
        assert_eq!(registry("busybox"), ("docker.io", "busybox"));
        assert_eq!(registry("library/busybox"), ("docker.io", "library/busybox"));
        assert_eq!(registry("ghcr.io/a/b:1"), ("ghcr.io", "a/b:1"));
        assert_eq!(registry("localhost/a"), ("localhost", "a"));
    }

    #[test]
    fn credentials_are_those_of_the_images_registry() {
        let config = br#"{"auths": {"ghcr.io": {"auth": "dTpw"}, "ghcr.io/team": {"username": "t", "password": "q"},
            "https://index.docker.io/v1/": {"username": "d", "password": "e"}, "*.example.com": {"username": "w"}}}"#;
        let users = |image: &str| -> Vec<String> {
            credentials(config, image).into_iter().map(|c| format!("{}:{}", c.username, c.password)).collect()
        };
        assert_eq!(users("ghcr.io/team/x:1"), ["t:q", "u:p"]);
        assert_eq!(users("ghcr.io/teams/x"), ["u:p"]);
        assert_eq!(users("busybox"), ["d:e"]);
        assert_eq!(users("a.example.com/x"), ["w:"]);
        assert_eq!(users("quay.io/x"), Vec::<String>::new());
        assert_eq!(credentials(b"no json", "busybox"), []);
    }
}
