//! What each volume of a pod is to hold, decided from the pod and the objects it refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytes::Bytes;

use crate::data::{DataKind, DataRef, DataSet, Fetched};
use crate::fields::{self, Surroundings};
use crate::pod::{
    ConfigMapVolume, DownwardFile, EmptyDirVolume, HostPathVolume, KeyToPath, Pod, ProjectedVolume,
    SecretVolume, TokenProjection, Volume,
};
use crate::ports::{EmptyDir, HostPathKind, Medium, VolumeFile, VolumeKind};
use crate::quantity::parse_units;

/// What identifies a token of a pod's service account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenRef {
    /// Whom it is for; empty for the API server itself.
    pub audience: String,
    /// How long it is to live, in seconds.
    pub lifetime_s: u64,
}

impl TokenRef {
    fn of(projection: &TokenProjection) -> Self {
        Self {
            audience: projection.audience.clone(),
            lifetime_s: projection.expiration_seconds.unwrap_or(3600),
        }
    }
}

/// Tokens that a decision was given: the token, or why there is none.
pub type TokenSet = BTreeMap<TokenRef, Result<String, String>>;

/// What is to be made of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumePlan {
    /// An empty directory.
    EmptyDir(EmptyDir),
    /// A path of the node.
    HostPath(PathBuf, HostPathKind),
    /// A directory with exactly these files.
    Files(VolumeKind, Vec<VolumeFile>),
}

/// Says why a volume cannot be made at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeProblem {
    /// Something that it needs is missing or not allowed.
    Refused(String),
    /// It cannot be told what it is to hold; what it held before may go on to serve.
    Unavailable(VolumeKind, String),
}

const MODE_DEFAULT: u32 = 0o644;

/// Lists the tokens that a pod's volumes hold.
#[must_use]
pub fn token_refs(pod: &Pod) -> BTreeSet<TokenRef> {
    let projected = pod.spec.volumes.iter().filter_map(|volume| volume.projected.as_ref());
    projected
        .flat_map(|projected| &projected.sources)
        .filter_map(|source| source.service_account_token.as_ref().map(TokenRef::of))
        .collect()
}

/// Decides what a volume is to hold.
///
/// # Errors
///
/// When it cannot be made; the text is for the pod's `FailedMount` event.
pub fn plan(
    pod: &Pod,
    volume: &Volume,
    data: &DataSet,
    tokens: &TokenSet,
    around: &Surroundings,
) -> Result<VolumePlan, VolumeProblem> {
    let source = Source { pod, data, tokens, around };
    if let Some(spec) = &volume.empty_dir {
        return empty_dir(spec).map_err(VolumeProblem::Refused);
    }
    if let Some(spec) = &volume.host_path {
        return host_path(spec).map_err(VolumeProblem::Refused);
    }
    let (kind, files) = if let Some(spec) = &volume.config_map {
        (VolumeKind::ConfigMap, source.config_map(spec, spec.default_mode.unwrap_or(MODE_DEFAULT)))
    } else if let Some(spec) = &volume.secret {
        (VolumeKind::Secret, source.secret(spec, spec.default_mode.unwrap_or(MODE_DEFAULT)))
    } else if let Some(spec) = &volume.downward {
        (VolumeKind::DownwardApi, source.downward(&spec.items, spec.default_mode.unwrap_or(MODE_DEFAULT)))
    } else if let Some(spec) = &volume.projected {
        (VolumeKind::Projected, source.projected(spec))
    } else if let Some(kind) = volume.others.keys().next() {
        return Err(VolumeProblem::Refused(format!("volumes of type {kind} are not supported on this node")));
    } else {
        return Ok(VolumePlan::EmptyDir(EmptyDir::default()));
    };
    match files {
        Ok(files) => Ok(VolumePlan::Files(kind, last_of_each_path(files))),
        Err(Trouble::Refused(why)) => Err(VolumeProblem::Refused(why)),
        Err(Trouble::Unavailable(why)) => Err(VolumeProblem::Unavailable(kind, why)),
    }
}

enum Trouble {
    Refused(String),
    Unavailable(String),
}

struct Source<'a> {
    pod: &'a Pod,
    data: &'a DataSet,
    tokens: &'a TokenSet,
    around: &'a Surroundings,
}

impl Source<'_> {
    fn config_map(&self, spec: &ConfigMapVolume, mode: u32) -> Result<Vec<VolumeFile>, Trouble> {
        self.keys(DataKind::ConfigMap, &spec.source.name, spec.source.optional, &spec.items, mode)
    }

    fn secret(&self, spec: &SecretVolume, mode: u32) -> Result<Vec<VolumeFile>, Trouble> {
        self.keys(DataKind::Secret, &spec.secret_name, spec.optional, &spec.items, mode)
    }

    fn keys(
        &self,
        kind: DataKind,
        name: &str,
        optional: bool,
        items: &[KeyToPath],
        mode: u32,
    ) -> Result<Vec<VolumeFile>, Trouble> {
        let found = match self.data.get(&DataRef::new(kind, name)) {
            Some(Fetched::Found(found)) => found,
            Some(Fetched::Missing) if optional => return Ok(Vec::new()),
            Some(Fetched::Unavailable(why)) => return Err(Trouble::Unavailable(why.clone())),
            Some(Fetched::Missing) | None => {
                return Err(Trouble::Refused(format!("{} {name:?} not found", kind.noun())));
            }
        };
        if items.is_empty() {
            let files = found.entries.iter().map(|(key, content)| VolumeFile {
                path: key.clone(),
                content: content.clone(),
                mode,
            });
            return Ok(files.collect());
        }
        let mut files = Vec::with_capacity(items.len());
        for item in items {
            match found.entries.get(&item.key) {
                Some(content) => files.push(VolumeFile {
                    path: item.path.clone(),
                    content: content.clone(),
                    mode: item.mode.unwrap_or(mode),
                }),
                None if optional => {}
                None => {
                    return Err(Trouble::Refused(format!(
                        "references non-existent {} key: {}",
                        if kind == DataKind::ConfigMap { "config" } else { "secret" },
                        item.key
                    )));
                }
            }
        }
        Ok(files)
    }

    fn downward(&self, items: &[DownwardFile], mode: u32) -> Result<Vec<VolumeFile>, Trouble> {
        items.iter().map(|item| self.downward_file(item, mode).map_err(Trouble::Refused)).collect()
    }

    fn downward_file(&self, item: &DownwardFile, mode: u32) -> Result<VolumeFile, String> {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(selector), _) => fields::field(self.pod, self.around, &selector.field_path)?,
            (None, Some(selector)) => fields::resource(self.pod, self.around, "", selector)?,
            (None, None) => String::new(),
        };
        Ok(VolumeFile {
            path: item.path.clone(),
            content: Bytes::from(text),
            mode: item.mode.unwrap_or(mode),
        })
    }

    fn projected(&self, spec: &ProjectedVolume) -> Result<Vec<VolumeFile>, Trouble> {
        let mode = spec.default_mode.unwrap_or(MODE_DEFAULT);
        let mut files = Vec::new();
        for source in &spec.sources {
            if let Some(spec) = &source.config_map {
                files.extend(self.config_map(spec, mode)?);
            } else if let Some(spec) = &source.secret {
                files.extend(self.secret(spec, mode)?);
            } else if let Some(spec) = &source.downward {
                files.extend(self.downward(&spec.items, mode)?);
            } else if let Some(spec) = &source.service_account_token {
                files.push(self.token(spec, mode)?);
            } else {
                return Err(Trouble::Refused(
                    "a projected volume has a source that is not supported on this node".to_owned(),
                ));
            }
        }
        Ok(files)
    }

    fn token(&self, spec: &TokenProjection, mode: u32) -> Result<VolumeFile, Trouble> {
        match self.tokens.get(&TokenRef::of(spec)) {
            Some(Ok(token)) => {
                Ok(VolumeFile { path: spec.path.clone(), content: Bytes::from(token.clone()), mode })
            }
            Some(Err(why)) => Err(Trouble::Unavailable(why.clone())),
            None => Err(Trouble::Unavailable("the service account's token was not asked for".to_owned())),
        }
    }
}

fn last_of_each_path(files: Vec<VolumeFile>) -> Vec<VolumeFile> {
    let by_path: BTreeMap<String, VolumeFile> =
        files.into_iter().map(|file| (file.path.clone(), file)).collect();
    by_path.into_values().collect()
}

fn empty_dir(spec: &EmptyDirVolume) -> Result<VolumePlan, String> {
    let medium = match spec.medium.as_str() {
        "" => Medium::Disk,
        "Memory" => Medium::Memory,
        other => return Err(format!("emptyDir medium {other:?} is not supported on this node")),
    };
    let size_limit_bytes = match &spec.size_limit {
        None => None,
        Some(text) => Some(
            parse_units(text)
                .and_then(|bytes| u64::try_from(bytes).ok())
                .ok_or_else(|| format!("emptyDir sizeLimit {text:?} is no size"))?,
        ),
    };
    Ok(VolumePlan::EmptyDir(EmptyDir { medium, size_limit_bytes }))
}

fn host_path(spec: &HostPathVolume) -> Result<VolumePlan, String> {
    let path = PathBuf::from(&spec.path);
    if !path.is_absolute() {
        return Err(format!("hostPath {:?} is not absolute", spec.path));
    }
    let kind = match spec.kind.as_str() {
        "" => HostPathKind::Unchecked,
        "DirectoryOrCreate" => HostPathKind::DirectoryOrCreate,
        "Directory" => HostPathKind::Directory,
        "FileOrCreate" => HostPathKind::FileOrCreate,
        "File" => HostPathKind::File,
        "Socket" => HostPathKind::Socket,
        "CharDevice" => HostPathKind::CharDevice,
        "BlockDevice" => HostPathKind::BlockDevice,
        other => return Err(format!("hostPath type {other:?} is not known")),
    };
    Ok(VolumePlan::HostPath(path, kind))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::data::Data;
    use crate::fixtures::pod_with;

    fn decide(volume: Value, data: &DataSet, tokens: &TokenSet) -> Result<VolumePlan, VolumeProblem> {
        let pod = pod_with(json!({ "containers": [{ "name": "c" }], "volumes": [volume] }));
        plan(&pod, &pod.spec.volumes[0], data, tokens, &Surroundings::default())
    }

    fn files(result: Result<VolumePlan, VolumeProblem>) -> Vec<(String, String, u32)> {
        let Ok(VolumePlan::Files(_, files)) = result else { panic!("{result:?}") };
        files
            .into_iter()
            .map(|file| (file.path, String::from_utf8_lossy(&file.content).into_owned(), file.mode))
            .collect()
    }

    fn config(name: &str, entries: &[(&str, &'static str)]) -> DataSet {
        let entries = entries.iter().map(|(k, v)| ((*k).to_owned(), Bytes::from(*v))).collect();
        [(DataRef::new(DataKind::ConfigMap, name), Fetched::Found(Data { entries, kind: String::new() }))]
            .into()
    }

    #[test]
    fn a_config_map_becomes_files_with_its_modes() {
        let data = config("m", &[("a", "1"), ("b", "2")]);
        let none = TokenSet::new();
        assert_eq!(
            files(decide(json!({"name": "v", "configMap": {"name": "m"}}), &data, &none)),
            [("a".into(), "1".into(), 0o644), ("b".into(), "2".into(), 0o644)]
        );
        let items = json!({"name": "v", "configMap": {"name": "m", "defaultMode": 256,
            "items": [{"key": "a", "path": "x/y"}, {"key": "b", "path": "z", "mode": 420}]}});
        assert_eq!(
            files(decide(items, &data, &none)),
            [("x/y".into(), "1".into(), 0o400), ("z".into(), "2".into(), 0o644)]
        );
    }

    #[test]
    fn a_missing_key_is_refused_unless_optional() {
        let data = config("m", &[("a", "1")]);
        let volume = |optional: bool| {
            json!({"name": "v", "configMap": {"name": "m", "optional": optional,
                "items": [{"key": "none", "path": "x"}]}})
        };
        assert_eq!(
            decide(volume(false), &data, &TokenSet::new()),
            Err(VolumeProblem::Refused("references non-existent config key: none".to_owned()))
        );
        assert!(files(decide(volume(true), &data, &TokenSet::new())).is_empty());
    }

    #[test]
    fn what_cannot_be_told_is_not_what_is_missing() {
        let volume = json!({"name": "v", "secret": {"secretName": "s"}});
        let at = DataRef::new(DataKind::Secret, "s");
        let missing = [(at.clone(), Fetched::Missing)].into();
        assert!(matches!(decide(volume.clone(), &missing, &TokenSet::new()), Err(VolumeProblem::Refused(_))));
        let unknown = [(at, Fetched::Unavailable("offline".to_owned()))].into();
        assert!(matches!(
            decide(volume, &unknown, &TokenSet::new()),
            Err(VolumeProblem::Unavailable(VolumeKind::Secret, _))
        ));
    }

    #[test]
    fn a_projected_volume_joins_its_parts() {
        let data = config("kube-root-ca.crt", &[("ca.crt", "CA")]);
        let tokens: TokenSet =
            [(TokenRef { audience: String::new(), lifetime_s: 3607 }, Ok("T".to_owned()))].into();
        let volume = json!({"name": "v", "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}});
        assert_eq!(
            files(decide(volume, &data, &tokens)),
            [
                ("ca.crt".into(), "CA".into(), 0o644),
                ("namespace".into(), "default".into(), 0o644),
                ("token".into(), "T".into(), 0o644)
            ]
        );
    }

    #[test]
    fn an_unknown_volume_type_is_named() {
        let volume = json!({"name": "v", "nfs": {"server": "x", "path": "/"}});
        assert_eq!(
            decide(volume, &DataSet::new(), &TokenSet::new()),
            Err(VolumeProblem::Refused("volumes of type nfs are not supported on this node".to_owned()))
        );
    }
}
