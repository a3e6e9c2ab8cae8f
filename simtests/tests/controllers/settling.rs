//! The edge controller: nodes that lack much, or cannot say what they hold.

use std::time::Duration;

use protocol::Held;
use protocol::cloud::{CompareNode, Compared};
use serde_json::json;

use crate::cluster::until;
use crate::edgecontroller::{Bench, MAPS, PODS, config_map, held, key, pod};

/// Found by the soak: scenario `all`, two edges, seed 118. A node whose store failed when its session began
/// kept a pod that had been deleted meanwhile.
#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_could_not_say_what_it_holds_is_compared_soon() {
    let bench = Bench::new().await;
    bench.connect("n", 1, None).await;
    until("it is told of itself", async || bench.sent().len() == 1).await;
    let own = held(&bench.last("node n"), "node");
    bench.expect(&["n: Update node n"]).await;
    let gone = Held { key: key("pod", "default", "gone"), ..own.clone() };
    *bench.compared.lock().expect("no panic") = Compared::Differs(vec![own, gone]);
    bench.probe.advance(Duration::from_secs(20)).await;
    *bench.compared.lock().expect("no panic") = Compared::Same;
    bench.expect(&["n: Delete pod default/gone"]).await;
    bench.probe.advance(Duration::from_secs(60)).await;
    assert_eq!(bench.probe.asked::<CompareNode>().len(), 1, "the next is due in a quarter of an hour");
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_lacks_much_is_told_as_the_cloud_hub_has_room_and_others_meanwhile() {
    const MAPS_MANY: usize = 600;
    let bench = Bench::new().await;
    let names: Vec<String> = (0..MAPS_MANY).map(|number| format!("map-{number:03}")).collect();
    for name in &names {
        bench.cluster.create(MAPS, config_map(name, "1")).await;
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    bench.cluster.create(PODS, pod("p", "n", &names)).await;
    bench.cluster.create(PODS, pod("q", "m", &[])).await;
    let give = |room: usize| {
        *bench.room.lock().expect("no panic") = room;
        bench.awaiting.lock().expect("no panic").drain(..).for_each(|responder| responder.reply(()));
    };
    bench.probe.advance(Duration::from_secs(10)).await;
    *bench.room.lock().expect("no panic") = 100;
    bench.connect("n", 1, Some(Vec::new())).await;
    until("there is no room", async || bench.awaiting.lock().expect("no panic").len() == 1).await;
    assert_eq!(bench.sent().len(), 100);

    // Others are told meanwhile, and what changes meanwhile is told in its newest state.
    *bench.room.lock().expect("no panic") = 1000;
    bench.connect("m", 2, Some(Vec::new())).await;
    until("the other is told", async || bench.sent().len() == 102).await;
    bench.cluster.merge(&format!("{MAPS}/map-599"), json!({ "data": { "key": "2" } })).await;
    bench.probe.advance(Duration::from_secs(5)).await;
    assert_eq!(bench.sent().len(), 102, "there is no room");
    give(200);
    until("there is no room", async || bench.awaiting.lock().expect("no panic").len() == 1).await;
    assert_eq!(bench.sent().len(), 302);
    give(10_000);
    until("all is told", async || bench.sent().len() >= MAPS_MANY + 4).await;
    bench.probe.advance(Duration::from_secs(5)).await;
    let sent = bench.sent();
    assert_eq!(sent.len(), MAPS_MANY + 4, "each once: the maps, the nodes and the pods");
    assert_eq!(sent.last().map(String::as_str), Some("n: Insert pod default/p"), "what it needs goes before");
    let last = bench.last("configmap default/map-599").value().expect("JSON");
    assert_eq!(last["data"]["key"], "2");
    bench.probe.stop().await;
}
