//! `keadm config images`: the container images that a node needs beside those of its pods.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use edgecore::cri::{Cri, CriOptions, EndpointError, SocketEndpoint};
use edged::config::EdgedConfig;
use edged::ports::{PodIdentity, Runtime, RuntimeError, SandboxNamespaces, SandboxSecurity, SandboxSpec};
use node_config::{ConfigError, Ending, Process};

use crate::say::{say, warn};
use crate::written::{self, FileError};

const NONE_FOR_CLOUD: &str = "the cloud needs no image: cloudcore is a program of its machine";

/// What to do with images.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Images {
    /// Prints the images.
    List(Which),
    /// Lets the runtime of this machine fetch them.
    Pull(Which),
}

/// Which half of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The cloud, which needs none.
    Cloud,
    /// The edge.
    Edge,
}

/// Which images.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Which {
    /// The half of the cluster; both if not given.
    #[arg(long, value_enum)]
    part: Option<Part>,

    /// The repository that replaces the first part of the images' names.
    #[arg(long, value_name = "REPOSITORY")]
    image_repository: Option<String>,

    /// The socket of the container runtime.
    #[arg(long, value_name = "SOCKET", default_value = "unix:///run/containerd/containerd.sock")]
    remote_runtime_endpoint: String,

    /// A configuration whose podSandboxImage counts.
    #[arg(long, value_name = "FILE", default_value = Process::EdgeCore.default_file())]
    config: PathBuf,

    /// Without a meaning here: images do not follow the version.
    #[arg(long, value_name = "VERSION", num_args = 0..=1, default_missing_value = "")]
    kubeedge_version: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("--remote-runtime-endpoint")]
    Endpoint(#[from] EndpointError),
    #[error("{image} was not fetched")]
    Pull {
        image: String,
        #[source]
        cause: RuntimeError,
    },
}

/// Lists or fetches images.
pub(crate) async fn run(command: Images) -> Result<Ending, ImageError> {
    let which = match &command {
        Images::List(which) | Images::Pull(which) => which,
    };
    if which.kubeedge_version.is_some() {
        warn("--kubeedge-version has no meaning here: images do not follow the version");
    }
    if which.part == Some(Part::Cloud) {
        warn(NONE_FOR_CLOUD);
        return Ok(Ending::Asked);
    }
    let images = images(which)?;
    let runtime = match &command {
        Images::List(_) => None,
        Images::Pull(which) => {
            let endpoint = SocketEndpoint::parse(&which.remote_runtime_endpoint)?;
            Some(Cri::new(CriOptions::new(endpoint)))
        }
    };
    for image in images {
        if let Some(runtime) = &runtime {
            let pulled = runtime.pull_image(&image, &[], &nobody()).await;
            pulled.map_err(|cause| ImageError::Pull { image: image.clone(), cause })?;
        }
        say(&image);
    }
    Ok(Ending::Asked)
}

fn images(which: &Which) -> Result<Vec<String>, ImageError> {
    let catalog = edgecore::inert_catalog();
    let image = match written::read(&which.config)? {
        Some(text) => {
            let name = which.config.display().to_string();
            let file = Some((name.as_str(), text.as_str()));
            let loaded = node_config::load(Process::EdgeCore, &catalog, file, &BTreeMap::new())?;
            loaded.module::<EdgedConfig>(&loaded.node_sections(), "edged")?.pod_sandbox_image
        }
        None => EdgedConfig::default().pod_sandbox_image,
    };
    Ok(vec![match &which.image_repository {
        Some(repository) => renamed(&image, repository),
        None => image,
    }])
}

/// The runtime wants to know for which sandbox it fetches an image.
fn nobody() -> SandboxSpec {
    SandboxSpec {
        pod: PodIdentity {
            uid: "keadm".to_owned(),
            name: "keadm".to_owned(),
            namespace: "kube-system".to_owned(),
            attempt: 0,
        },
        hostname: String::new(),
        dns: None,
        ports: Vec::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        log_dir: PathBuf::new(),
        cgroup_parent: String::new(),
        sysctls: BTreeMap::new(),
        namespaces: SandboxNamespaces::default(),
        security: SandboxSecurity::default(),
        runtime_handler: String::new(),
    }
}

/// Takes the image of the same name from another repository.
fn renamed(image: &str, repository: &str) -> String {
    let name = image.rsplit_once('/').map_or(image, |(_, name)| name);
    format!("{}/{name}", repository.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_replaces_all_before_the_name() {
        for (image, expect) in [
            ("kubeedge/pause:3.6", "mirror.example.com/k/pause:3.6"),
            ("registry.k8s.io/pause:3.9", "mirror.example.com/k/pause:3.9"),
            ("pause", "mirror.example.com/k/pause"),
        ] {
            assert_eq!(renamed(image, "mirror.example.com/k/"), expect);
        }
    }
}
