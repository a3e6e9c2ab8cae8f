//! What a reset removes, what it asks, and what it leaves.

use std::fs;
use std::path::Path;

use clap::Parser;

use super::*;
use crate::play::{NoServices, Played};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    reset: Reset,
}

fn flags(root: &Path, part: &str, more: &[&str]) -> Reset {
    let line = ["reset", part, "--root", root.to_str().expect("a text")];
    Line::try_parse_from(line.iter().chain(more)).unwrap_or_else(|error| panic!("{error}")).reset
}

/// Makes a node with a pod's volume, and a cloud beside it.
fn installed(root: &Path) {
    let at = |path: &str| root.join(path);
    let write = |path: &str, text: &str| {
        fs::create_dir_all(at(path).parent().expect("a directory")).expect("made");
        fs::write(at(path), text).expect("written");
    };
    let edge = format!(
        "database: {{dataSource: {root}/var/lib/kubeedge/edgecore.db}}\n\
         modules:\n  edgeHub:\n    tlsCaFile: {root}/edge/ca.crt\n    tlsCertFile: {root}/edge/e.crt\n    \
         tlsPrivateKeyFile: {root}/edge/e.key\n  edged: {{runtime: hollow, rootDirectory: {root}/kubelet}}\n",
        root = root.display()
    );
    let cloud = format!(
        "database: {{dataSource: {root}/var/lib/kubeedge/cloudcore.db}}\n\
         kubeAPIServer: {{directory: {root}/var/lib/kubeedge/kube-api}}\n",
        root = root.display()
    );
    write("etc/kubeedge/config/edgecore.yaml", &edge);
    write("etc/kubeedge/config/cloudcore.yaml", &cloud);
    for path in [
        "edge/ca.crt",
        "edge/e.crt",
        "edge/e.key",
        "kubelet/pods/1/volumes/a",
        "var/lib/kubeedge/edgecore.db.d/data/db",
        "var/lib/kubeedge/cloudcore.db.d/data/db",
        "var/lib/kubeedge/kube-api/kubeconfig",
        "etc/systemd/system/edgecore.service",
        "srv/mine",
    ] {
        write(path, "x");
    }
}

async fn reset(root: &Path, part: &str, more: &[&str], answer: &str) -> Result<Ending, ResetError> {
    let mut answers = answer.as_bytes();
    run(flags(root, part, more), &Played::new(), &NoServices, &mut answers).await
}

#[tokio::test]
async fn an_edge_is_removed_and_a_cloud_beside_it_stays() {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path();
    installed(root);
    for answer in ["", "n\n", "maybe\n"] {
        let error = reset(root, "edge", &[], answer).await.expect_err("nobody agreed");
        assert!(matches!(error, ResetError::Refused), "{error}");
        assert!(root.join("edge/e.key").exists());
    }
    reset(root, "edge", &[], "y\n").await.expect("it is removed");
    for path in [
        "edge/e.key",
        "edge/ca.crt",
        "kubelet",
        "var/lib/kubeedge/edgecore.db.d",
        "etc/systemd/system/edgecore.service",
    ] {
        assert!(!root.join(path).exists(), "{path}");
    }
    for path in ["etc/kubeedge/config/cloudcore.yaml", "var/lib/kubeedge/cloudcore.db.d/data/db", "srv/mine"]
    {
        assert!(root.join(path).exists(), "{path}");
    }
    reset(root, "edge", &[], "").await.expect("nothing is left to ask for");

    reset(root, "cloud", &["--force"], "").await.expect("it is removed");
    for path in ["etc/kubeedge", "var/lib/kubeedge"] {
        assert!(!root.join(path).exists(), "{path}");
    }
    assert!(root.join("srv/mine").exists());
}

#[tokio::test]
async fn files_that_a_cloud_on_the_same_machine_uses_stay() {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path();
    installed(root);
    let cloud = root.join("etc/kubeedge/config/cloudcore.yaml");
    let mut text = fs::read_to_string(&cloud).expect("readable");
    text.push_str(&format!("modules: {{cloudHub: {{tlsCAFile: {}/edge/ca.crt}}}}\n", root.display()));
    fs::write(&cloud, text).expect("written");
    reset(root, "edge", &["--force"], "").await.expect("the rest is removed");
    assert!(root.join("edge/ca.crt").exists() && !root.join("edge/e.key").exists());
}

#[tokio::test]
async fn where_kubelet_runs_its_directory_stays() {
    let home = tempfile::tempdir().expect("a directory");
    installed(home.path());
    let mut machine = Played::new();
    machine.runs("kubelet");
    let mut answers = "".as_bytes();
    let line = flags(home.path(), "edge", &["--force"]);
    run(line, &machine, &NoServices, &mut answers).await.expect("the rest is removed");
    assert!(home.path().join("kubelet/pods/1/volumes/a").exists());
    assert!(!home.path().join("edge/e.key").exists());
}
