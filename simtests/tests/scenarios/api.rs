//! An API server that refuses, forgets and goes away.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use simtests::{ApiTrouble, Sim, cluster};

const MINUTE: Duration = Duration::from_secs(60);

fn faults(sim: &Sim, kind: &str) -> u64 {
    sim.summary().faults.get(kind).copied().unwrap_or_default()
}

#[test]
fn trouble_concerns_the_cloud_s_modules_and_not_the_scenario() {
    simtests::check(1, |sim| {
        sim.allow_log("cannot watch the Kubernetes API");
        sim.allow_log("a node's request was not served");
        sim.allow_log("the node was not registered");
        sim.trouble_api(ApiTrouble { unavailable: 1.0, ..ApiTrouble::default() });
        sim.cloud("")?;
        sim.edge("edge-01", "")?;
        sim.run_for(MINUTE)?;
        let kube = sim.kube();
        let api: Api<ConfigMap> = Api::default_namespaced(kube.clone());
        let mut map = ConfigMap::default();
        map.metadata.name = Some("written".to_owned());
        sim.block_on(async { api.create(&PostParams::default(), &map).await }).expect("it is for others");
        assert!(faults(sim, "api-503") > 10, "{:?}", sim.summary().faults);
        assert!(!sim.block_on(cluster::node_is_ready(&kube, "edge-01")));
        sim.trouble_api(ApiTrouble::default());
        let ready = async || cluster::node_is_ready(&kube, "edge-01").await;
        sim.until("the node is ready", 2 * MINUTE, ready)
    });
}

#[test]
fn what_was_acknowledged_is_there_after_the_cloud_crashed_and_what_was_not_may_be() {
    simtests::check(2, |sim| {
        sim.cloud("")?;
        let kube = sim.kube();
        let api: Api<ConfigMap> = Api::default_namespaced(kube);
        let named = |name: &str| {
            let mut map = ConfigMap::default();
            map.metadata.name = Some(name.to_owned());
            map
        };
        sim.run_for(Duration::from_secs(5))?;
        for round in 0..10 {
            let name = format!("round-{round}");
            sim.block_on(async { api.create(&PostParams::default(), &named(&name)).await })
                .expect("it is there");
            sim.crash("cloud");
            let lost = sim.block_on(async { api.get(&name).await });
            assert!(lost.is_err(), "nobody answers while the cloud is away");
            sim.restart("cloud")?;
            let kept = async || api.get(&name).await.is_ok();
            sim.until("the object is there", Duration::from_secs(5), kept)?;
        }
        Ok(())
    });
}

/// Found by the soak: scenario `all`, seed 1034. A node whose leases could not be written compared its status
/// with what it had said last, not with what the cloud had made of it, and stayed `NotReady` for up to five
/// minutes. It says its status for as long as its leases are refused.
#[test]
fn a_node_whose_leases_cannot_be_written_is_heard_by_its_status() {
    simtests::check(1034, |sim| {
        sim.cloud("")?;
        sim.edge("edge-01", "")?;
        let kube = sim.kube();
        let ready = async || cluster::node_is_ready(&kube, "edge-01").await;
        sim.until("the node is ready", MINUTE, ready)?;
        for explained in ["a node's request", "the lease"] {
            sim.allow_log(explained);
        }
        sim.trouble_api(ApiTrouble { unavailable: 1.0, only: "/leases/", ..ApiTrouble::default() });
        for _ in 0..18 {
            sim.run_for(MINUTE / 6)?;
            assert!(sim.block_on(cluster::node_is_ready(&kube, "edge-01")), "{:?}", sim.elapsed());
        }
        assert!(faults(sim, "api-503") > 10, "{:?}", sim.summary().faults);
        Ok(())
    });
}
