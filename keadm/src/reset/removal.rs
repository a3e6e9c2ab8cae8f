//! What is removed: what a configuration names, and no directory that others may use.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cloudhub::CloudHubConfig;
use edged::config::EdgedConfig;
use edgehub::EdgeHubConfig;
use node_config::{Loaded, Process};

use super::edge::NodePods;
use crate::root::Root;
use crate::say::warn;
use crate::world::World;
use crate::written::{self, FileError};

/// What one process left.
pub(crate) struct Removal {
    pub(crate) process: Process,
    /// What else the operator should know.
    pub(crate) warning: Option<String>,
    /// The pods that end, of an edge.
    pub(crate) node: Option<NodePods>,
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    /// Removed where nothing is left in them.
    emptied: Vec<PathBuf>,
}

impl Removal {
    /// Lists what there is to remove.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        let all = self.files.iter().chain(&self.directories).map(PathBuf::as_path);
        all.filter(|path| path.exists())
    }

    /// Removes it.
    pub(crate) fn remove(&self) -> Result<(), FileError> {
        for path in &self.files {
            written::remove(path)?;
        }
        for path in self.directories.iter().filter(|path| path.exists()) {
            fs::remove_dir_all(path).map_err(|cause| FileError::new("remove", path, cause))?;
        }
        for path in &self.emptied {
            // What others put there stays.
            if fs::remove_dir(path).is_err() && path.exists() {
                tracing::debug!(path = %path.display(), "the directory is not empty");
            }
        }
        Ok(())
    }
}

/// Says what a process left below `root`; none if it left neither a configuration nor a unit.
pub(crate) async fn removal(process: Process, root: &Root, world: &dyn World) -> Option<Removal> {
    let config = root.config(process);
    let unit = root.unit(process);
    if !world.exists(&config) && !world.exists(&unit) {
        return None;
    }
    let loaded = load(process, &config, world).await;
    let mut removal = Removal {
        process,
        warning: None,
        node: None,
        files: vec![config.clone(), config.with_extension("yaml.old"), unit],
        directories: Vec::new(),
        emptied: [
            "/etc/kubeedge/config",
            "/etc/kubeedge/ca",
            "/etc/kubeedge/certs",
            "/etc/kubeedge/edge",
            "/etc/kubeedge",
            "/var/lib/kubeedge",
        ]
        .map(|path| root.at(path))
        .to_vec(),
    };
    match (loaded, process) {
        (None, _) => {
            removal.warning = Some(format!(
                "what {} names stays: it cannot be read (keadm doctor says why)",
                config.display()
            ))
        }
        (Some(loaded), Process::EdgeCore) => {
            of_edge(&mut removal, &loaded, world);
            spare_cloud(&mut removal, root, world).await;
        }
        (Some(loaded), Process::CloudCore) => of_cloud(&mut removal, &loaded),
    }
    Some(removal)
}

async fn load(process: Process, config: &Path, world: &dyn World) -> Option<Loaded> {
    let catalog = match process {
        Process::EdgeCore => edgecore::inert_catalog(),
        Process::CloudCore => cloudcore::inert_catalog().await.ok()?,
    };
    let text = world.read(config).ok()?;
    let name = config.display().to_string();
    node_config::load(process, &catalog, Some((&name, &text)), &BTreeMap::new()).ok()
}

fn of_edge(removal: &mut Removal, loaded: &Loaded, world: &dyn World) {
    let sections = loaded.node_sections();
    removal.directories.push(loaded.settings.store.clone());
    if let Ok(hub) = loaded.module::<EdgeHubConfig>(&sections, "edgeHub") {
        removal.files.extend([hub.tls_ca_file, hub.tls_cert_file, hub.tls_private_key_file]);
    }
    let Ok(edged) = loaded.module::<EdgedConfig>(&sections, "edged") else { return };
    if world.processes().iter().any(|seen| seen.name == "kubelet") {
        warn("kubelet runs: its pods and its directory stay as they are");
        return;
    }
    let kubelet = &edged.tailored_kubelet_config;
    removal.directories.push(edged.root_directory.clone());
    removal.node = Some(NodePods {
        root_directory: edged.root_directory.clone(),
        endpoint: (edged.runtime != "hollow").then(|| kubelet.container_runtime_endpoint.clone()),
    });
    removal.warning = Some("all pods of this node end".to_owned());
}

/// Leaves files alone that a cloud on the same machine uses: both have the same names by default.
async fn spare_cloud(removal: &mut Removal, root: &Root, world: &dyn World) {
    let Some(loaded) = load(Process::CloudCore, &root.config(Process::CloudCore), world).await else {
        return;
    };
    if let Ok(hub) = loaded.module::<CloudHubConfig>(&loaded.node_sections(), "cloudHub") {
        let theirs = [hub.tls_ca_file, hub.tls_cert_file, hub.tls_private_key_file];
        removal.files.retain(|path| !theirs.contains(path));
    }
}

fn of_cloud(removal: &mut Removal, loaded: &Loaded) {
    let settings = &loaded.settings;
    if settings.kubeconfig.is_none() {
        removal.directories.extend([settings.store.clone(), settings.api_server.directory.clone()]);
        removal.warning =
            Some("the cluster is in these directories: all that was ever applied to it is lost".to_owned());
    }
    // The authority and its key stay unless they are secrets of the cluster that goes: without them the
    // nodes of a cluster that stays would have to join again.
    let sections = loaded.node_sections();
    if let Ok(hub) = loaded.module::<CloudHubConfig>(&sections, "cloudHub")
        && hub.tls_ca_file.exists()
    {
        let stays = format!("{} and the other files of certificates stay", hub.tls_ca_file.display());
        removal.warning = Some(match removal.warning.take() {
            Some(warning) => format!("{warning}; {stays}"),
            None => stays,
        });
    }
}
