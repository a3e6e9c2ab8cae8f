//! `keadm config images`: the one image that a node needs beside those of its pods, of which its runtime
//! makes sandboxes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use edgecore::cri::{Cri, CriOptions, EndpointError, SocketEndpoint, probe_sandbox_image};
use edged::ports::{PodIdentity, Runtime, RuntimeError, SandboxNamespaces, SandboxSecurity, SandboxSpec};
use node_config::Ending;

use crate::say::{say, warn};

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

    /// The socket of the container runtime.
    #[arg(long, value_name = "SOCKET", default_value = "unix:///run/containerd/containerd.sock")]
    remote_runtime_endpoint: String,

    /// Without a meaning here: images do not follow the version.
    #[arg(long, value_name = "VERSION", num_args = 0..=1, default_missing_value = "")]
    kubeedge_version: Option<String>,

    /// Without a meaning here: the runtime says which image it uses, and from where.
    #[arg(long, value_name = "REPOSITORY")]
    image_repository: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error(
        "the runtime does not say of which image it makes sandboxes: see its own configuration \
         (pause_image, or sandbox under pinned_images)"
    )]
    Unsaid,
    #[error(transparent)]
    Runtime(RuntimeError),
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
    if which.image_repository.is_some() {
        warn("--image-repository has no meaning here: set the image in the runtime's own configuration");
    }
    if which.part == Some(Part::Cloud) {
        warn(NONE_FOR_CLOUD);
        return Ok(Ending::Asked);
    }
    let endpoint = SocketEndpoint::parse(&which.remote_runtime_endpoint)?;
    let image = probe_sandbox_image(&endpoint).await.map_err(ImageError::Runtime)?;
    let image = image.ok_or(ImageError::Unsaid)?;
    if let Images::Pull(_) = &command {
        let pulled = Cri::new(CriOptions::new(endpoint)).pull_image(&image, &[], &nobody()).await;
        pulled.map_err(|cause| ImageError::Pull { image: image.clone(), cause })?;
    }
    say(&image);
    Ok(Ending::Asked)
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
