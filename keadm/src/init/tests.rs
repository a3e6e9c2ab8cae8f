//! Inits, right and wrong ones, below a directory of the test's own.

use std::path::Path;

use clap::Parser;
use node_config::Causes;

use super::*;
use crate::play::{NoServices, Played};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    init: Init,
}

fn flags(root: &Path, more: &[&str]) -> Init {
    let root = ["init", "--root", root.to_str().expect("a text")];
    Line::try_parse_from(root.iter().chain(more)).unwrap_or_else(|error| panic!("{error}")).init
}

fn loaded(catalog: &beehive::Catalog, root: &Path) -> node_config::Loaded {
    let text =
        std::fs::read_to_string(root.join("etc/kubeedge/config/cloudcore.yaml")).expect("it is written");
    let file = Some(("cloudcore.yaml", text.as_str()));
    node_config::load(Process::CloudCore, catalog, file, &std::collections::BTreeMap::new())
        .unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn a_cloud_is_set_up_and_a_second_init_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let more = [
        "--advertise-address=203.0.113.7,2001:db8::1",
        "--domainname=cloud.example.com",
        "--set",
        "cloudCore.modules.cloudHub.nodeLimit=1000,modules.cloudHub.websocket.port=20000",
        "--profile",
        "version=v1.23.0",
    ];
    run(flags(home.path(), &more), &Played::new(), &NoServices).await.expect("it is set up");
    let catalog = cloudcore::inert_catalog().await.expect("it opens");
    let loaded = loaded(&catalog, home.path());
    for (key, expect) in [
        ("modules.cloudHub.advertiseAddress", serde_json::json!(["203.0.113.7", "2001:db8::1"])),
        ("modules.cloudHub.dnsNames", serde_json::json!(["cloud.example.com"])),
        ("modules.cloudHub.nodeLimit", 1000.into()),
        ("modules.cloudHub.websocket.port", 20000.into()),
    ] {
        assert_eq!(loaded.get(key), Some(&expect), "{key}");
    }
    assert!(home.path().join("etc/systemd/system/cloudcore.service").exists());

    let again = run(flags(home.path(), &[]), &Played::new(), &NoServices).await.expect_err("it is there");
    assert!(again.to_string().contains("--force"), "{again}");
    let over = flags(home.path(), &["--force", "--set", "modules.cloudHub.nodeLimit=7"]);
    run(over, &Played::new(), &NoServices).await.expect("it is laid over");
    let loaded = self::loaded(&catalog, home.path());
    assert_eq!(loaded.get("modules.cloudHub.nodeLimit"), Some(&7.into()));
    assert_eq!(loaded.get("modules.cloudHub.websocket.port"), Some(&20000.into()), "what was there is kept");
}

#[tokio::test]
async fn what_is_wrong_is_said_and_leaves_nothing() {
    type Spoil = fn(&mut Played);
    let cases: [(&[&str], Spoil, &str); 7] = [
        (&["--advertise-address=cloud.example.com"], |_| {}, "a host name goes into --domain-name"),
        (&["--set=iptablesManager.mode=external"], |_| {}, "is a value of KubeEdge's Helm chart"),
        (&["--set=cloudCore.hostNetWork=true"], |_| {}, "is a value of KubeEdge's Helm chart"),
        (&["--set=modules.cloudHub.nodeLimt=1"], |_| {}, "did you mean modules.cloudHub.nodeLimit?"),
        (&["--kube-config=/nonexistent"], |_| {}, "--kube-config /nonexistent"),
        (&[], |machine| machine.taken = [10000].into(), "0.0.0.0:10000 cannot be listened on"),
        (&[], |machine| machine.programs = false, "install -m 755 cloudcore /usr/local/bin/"),
    ];
    for (more, spoil, expect) in cases {
        let home = tempfile::tempdir().expect("a directory");
        let mut machine = Played::new();
        spoil(&mut machine);
        let error = run(flags(home.path(), more), &machine, &NoServices).await.expect_err(expect);
        let told = Causes(&error).to_string();
        assert!(told.contains(expect), "{expect}: {told}");
        assert!(std::fs::read_dir(home.path()).expect("readable").next().is_none(), "{told}");
    }
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_told_before_anything_is_written() {
    let home = tempfile::tempdir().expect("a directory");
    let kubeconfig = home.path().join("kubeconfig");
    std::fs::write(&kubeconfig, "x").expect("written");
    let root = home.path().join("root");
    let machine = Played { kube: Err("connection refused".to_owned()), ..Played::new() };
    let more = ["--kube-config", kubeconfig.to_str().expect("a text")];
    let error = run(flags(&root, &more), &machine, &NoServices).await.expect_err("it is away");
    assert!(error.to_string().contains("connection refused"), "{error}");
    assert!(!root.exists());
    run(flags(&root, &more), &Played::new(), &NoServices).await.expect("it answers");
    let catalog = cloudcore::inert_catalog().await.expect("it opens");
    assert_eq!(loaded(&catalog, &root).settings.kubeconfig.as_deref(), Some(kubeconfig.as_path()));
}
