//! What survives: restarts of edged, a cloud that is away, a store or a runtime that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use beehive::probe::run;
use serde_json::json;

use super::world::{World, pass, tell};
use super::{DeafProber, condition, is_delete, one};
use crate::ports::Prober;
use serde_json::Value;

#[test]
fn a_broken_runtime_makes_the_node_not_ready_and_touches_no_pod() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        tell(&edged, world.put_pod("a", "u1", one(), json!({}))).await;
        pass(&edged, 3).await;
        let before = world.container_ids().await;
        world.mood.broken.store(true, Ordering::Relaxed);
        pass(&edged, 15).await;
        let node = world.outside.borrow().api["node"].value().expect("JSON");
        assert_eq!(condition(&node["status"], "Ready")["status"], "False");
        world.mood.broken.store(false, Ordering::Relaxed);
        pass(&edged, 15).await;
        let node = world.outside.borrow().api["node"].value().expect("JSON");
        assert_eq!(condition(&node["status"], "Ready")["status"], "True");
        assert_eq!(world.container_ids().await, before);
        edged.stop().await;
    });
}

#[test]
fn a_container_that_the_runtime_does_not_let_go_is_not_made_again_beside_itself() {
    run(async {
        let world = World::new();
        world.mood.starting.store(true, Ordering::Relaxed);
        let edged = world.start().await;
        tell(&edged, world.put_pod("a", "u1", one(), json!({}))).await;
        pass(&edged, 120).await;
        assert_eq!(world.mood.creations.load(Ordering::Relaxed), 1);
        assert_eq!(world.container("pod default/a")["state"]["waiting"]["reason"], "RunContainerError");
        world.mood.starting.store(false, Ordering::Relaxed);
        pass(&edged, 60).await;
        assert_eq!(world.status("pod default/a")["phase"], "Running");
        assert_eq!(world.mood.creations.load(Ordering::Relaxed), 2);
        edged.stop().await;
    });
}

#[test]
fn a_restarted_edged_finds_its_pods_with_the_cloud_away() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        for name in ["a", "b", "c"] {
            tell(&edged, world.put_pod(name, &format!("u-{name}"), one(), json!({}))).await;
        }
        pass(&edged, 3).await;
        let before = world.container_ids().await;
        assert_eq!(before.len(), 3);
        edged.stop().await;
        world.outside.borrow_mut().connected = false;
        let edged = world.start().await;
        pass(&edged, 120).await;
        assert_eq!(world.container_ids().await, before, "nothing was started twice or removed");
        world.connect(&edged, true).await;
        pass(&edged, 60).await;
        assert_eq!(world.container_ids().await, before);
        assert_eq!(world.status("pod default/b")["phase"], "Running");
        edged.stop().await;
    });
}

#[test]
fn pods_start_from_the_store_with_the_cloud_away_and_are_shown_later() {
    run(async {
        let world = World::new();
        world.outside.borrow_mut().connected = false;
        world.put_pod("a", "u1", one(), json!({}));
        let edged = world.start().await;
        pass(&edged, 10).await;
        assert_eq!(world.container_ids().await.len(), 1);
        assert_eq!(world.status("pod default/a")["phase"], "Pending");
        world.connect(&edged, true).await;
        pass(&edged, 2).await;
        assert_eq!(world.status("pod default/a")["phase"], "Running");
        edged.stop().await;
    });
}

#[test]
fn a_broken_store_is_no_reason_to_remove_anything() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        tell(&edged, world.put_pod("a", "u1", one(), json!({}))).await;
        pass(&edged, 3).await;
        edged.stop().await;
        let before = world.container_ids().await;
        world.outside.borrow_mut().store_is_broken = true;
        world.outside.borrow_mut().api.clear();
        let edged = world.start().await;
        pass(&edged, 300).await;
        assert_eq!(world.container_ids().await, before);
        edged.stop().await;
    });
}

#[test]
fn what_belongs_to_no_pod_goes_once_the_api_says_so() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        tell(&edged, world.put_pod("a", "u1", one(), json!({}))).await;
        pass(&edged, 3).await;
        edged.stop().await;
        world.delete("pod default/a");
        world.outside.borrow_mut().connected = false;
        let edged = world.start().await;
        pass(&edged, 300).await;
        assert_eq!(world.container_ids().await.len(), 1, "without the cloud it cannot be known");
        world.connect(&edged, true).await;
        pass(&edged, 40).await;
        assert_eq!(world.sandboxes().await.len(), 0);
        assert_eq!(world.files.hosts("u1"), None);
        edged.stop().await;
    });
}

#[test]
fn what_kubelet_made_of_a_pod_is_adopted_and_of_one_that_is_gone_it_ends() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        tell(&edged, world.put_pod("a", "u1", one(), json!({}))).await;
        tell(&edged, world.put_pod("b", "u2", one(), json!({}))).await;
        pass(&edged, 3).await;
        edged.stop().await;
        let (before, made) = (world.container_ids().await, world.mood.creations.load(Ordering::Relaxed));
        world.delete("pod default/b");
        world.mood.by_kubelet.store(true, Ordering::Relaxed);
        let edged = world.start().await;
        pass(&edged, 300).await;
        assert_eq!(world.container_ids().await, before[..1], "the directory of the other one is here");
        assert_eq!(world.mood.creations.load(Ordering::Relaxed), made);
        assert_eq!(world.status("pod default/a")["phase"], "Running");
        tell(&edged, world.begin_deletion("pod default/a", 1)).await;
        pass(&edged, 30).await;
        assert_eq!(world.sandboxes().await.len(), 0);
        assert_eq!(world.status("pod default/a"), Value::Null);
        edged.stop().await;
    });
}

#[test]
fn a_deletion_is_finished_when_the_cloud_comes_back() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        tell(&edged, world.put_pod("a", "u1", one(), json!({}))).await;
        pass(&edged, 3).await;
        let change = world.begin_deletion("pod default/a", 1);
        world.connect(&edged, false).await;
        tell(&edged, change).await;
        pass(&edged, 30).await;
        assert_eq!(world.sandboxes().await.len(), 0);
        assert_eq!(world.count(is_delete), 0);
        edged.stop().await;
        let edged = world.start().await;
        world.connect(&edged, true).await;
        pass(&edged, 30).await;
        assert_eq!(world.count(is_delete), 1);
        assert_eq!(world.status("pod default/a"), Value::Null);
        edged.stop().await;
    });
}

#[test]
fn a_restart_of_edged_makes_no_ready_container_unready() {
    run(async {
        let mut world = World::new();
        let prober = Arc::new(DeafProber(AtomicBool::new(true)));
        world.prober = Arc::clone(&prober) as Arc<dyn Prober>;
        let edged = world.start().await;
        let mut spec = one();
        spec["containers"][0]["readinessProbe"] =
            json!({"tcpSocket": {"port": 80}, "initialDelaySeconds": 60});
        tell(&edged, world.put_pod("a", "u1", spec, json!({}))).await;
        pass(&edged, 65).await;
        let ready = |world: &World| condition(&world.status("pod default/a"), "Ready").clone();
        let before = ready(&world);
        assert_eq!(before["status"], "True");
        edged.stop().await;
        world.store_what_the_api_has("pod default/a");
        prober.0.store(false, Ordering::Relaxed);
        let edged = world.start().await;
        pass(&edged, 5).await;
        assert_eq!(ready(&world), before);
        pass(&edged, 30).await;
        assert_eq!(ready(&world)["status"], "False");
        edged.stop().await;
    });
}

#[test]
fn a_late_listing_does_not_bring_an_older_pod_back() {
    run(async {
        let world = World::new();
        let old = world.put_pod("a", "u1", one(), json!({}));
        let new = world.put_pod("a", "u2", one(), json!({}));
        let edged = world.start().await;
        tell(&edged, new).await;
        pass(&edged, 3).await;
        tell(&edged, old).await;
        pass(&edged, 5).await;
        let sandboxes = world.sandboxes().await;
        assert_eq!((sandboxes.len(), sandboxes[0].pod.uid.as_str()), (1, "u2"));
        edged.stop().await;
    });
}

#[test]
fn what_the_runtime_lost_counts_as_a_restart() {
    run(async {
        let mut world = World::new();
        let edged = world.start().await;
        tell(&edged, world.put_pod("a", "u1", one(), json!({}))).await;
        pass(&edged, 3).await;
        edged.stop().await;
        world.store_what_the_api_has("pod default/a");
        world.lose_power();
        let edged = world.start().await;
        pass(&edged, 5).await;
        let shown = world.container("pod default/a");
        assert_eq!(shown["restartCount"], 1, "{shown}");
        assert!(shown["state"].get("running").is_some());
        assert_eq!(shown["lastState"]["terminated"]["reason"], "ContainerStatusUnknown");
        edged.stop().await;
    });
}

#[test]
fn a_hundred_pods_run_once_each() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        for n in 0..100 {
            tell(&edged, world.put_pod(&format!("p{n}"), &format!("u{n}"), one(), json!({}))).await;
        }
        edged.stop().await;
        let edged = world.start().await;
        pass(&edged, 20).await;
        let sandboxes = world.sandboxes().await;
        assert_eq!(sandboxes.len(), 100);
        assert!(sandboxes.iter().all(|sandbox| sandbox.containers.len() == 1));
        let running = (0..100).filter(|n| world.status(&format!("pod default/p{n}"))["phase"] == "Running");
        assert_eq!(running.count(), 100);
        edged.stop().await;
    });
}
