//! What a node holds is compared, and only what differs is listed.

use protocol::cloud::{CompareNode, Compared, NodeConnected};
use protocol::{Held, Inventory, ResourceVersion};
use wire::codec::{Comparison, EdgeFrame, Features};

use super::world::*;
use super::*;

fn held(name: &str, version: u32) -> Held {
    let version = ResourceVersion::new(&version.to_string());
    Held { key: change(name, 1).key, uid: None, resource_version: Some(version) }
}

fn inventory(all: &[(&str, u32)]) -> Inventory {
    all.iter().map(|(name, version)| held(name, *version)).collect()
}

/// Connects a native edge that says a digest.
async fn connect(edges: &Edges, inventory: &Inventory) -> Edge {
    let mut edge = edges.dial("edge-1", Codec::Native).await;
    let features = Features::ALL.without(Features::PACKS);
    edge.greet("edge-1", None, Some(inventory.digest()), features).await;
    assert!(matches!(edge.hear().await, CloudFrame::Welcome { .. }));
    edge
}

/// Answers one question; returns how many objects that listed.
async fn answer(edge: &mut Edge, inventory: &Inventory) -> usize {
    let CloudFrame::Comparison(question) = edge.hear().await else { panic!("a question") };
    let (answer, listed) = match question {
        Comparison::AskSummary => (Comparison::Summary(inventory.summary()), 0),
        Comparison::AskHeld(wanted) => {
            let (buckets, held) = inventory.list_in(&wanted, 100);
            let listed = held.len();
            (Comparison::Held { buckets, held }, listed)
        }
        other => panic!("a question: {other:?}"),
    };
    edge.say(EdgeFrame::Comparison(answer)).await;
    listed
}

/// Returns what the newest session's node was said to hold.
fn connected(probe: &Probe<CloudHub>) -> Option<Vec<Held>> {
    let connected = probe.published::<NodeConnected>().pop().expect("a node connected");
    connected.holds.said().map(<[Held]>::to_vec)
}

fn session(probe: &Probe<CloudHub>) -> u64 {
    probe.published::<NodeArrived>().pop().expect("a node arrived").session
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_holds_what_it_is_known_to_hold_lists_nothing() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut edge = edges.dial("edge-1", Codec::Native).await;
    edge.say_hello("edge-1", Some(inventory(&[("a", 1), ("b", 1)]).list())).await;
    assert!(matches!(edge.hear().await, CloudFrame::Welcome { .. }));
    probe.settle().await;
    for (name, version) in [("b", 2), ("c", 1), ("d", 1)] {
        assert_eq!(send(&probe, "edge-1", name, version).await, Ok(()));
        let (id, ..) = edge.hear_change().await;
        if name != "d" {
            edge.acknowledge(&id).await;
        }
    }
    probe.settle().await;
    drop(edge);
    let holds = inventory(&[("a", 1), ("b", 2), ("c", 1)]);
    let _edge = connect(&edges, &holds).await;
    probe.settle().await;
    assert_eq!(connected(&probe), Some(holds.list()), "with what it acknowledged, and nothing else");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_holds_something_else_lists_where_it_differs() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let names: Vec<String> = (0..400).map(|number| format!("a{number}")).collect();
    let mut holds: Inventory = names.iter().map(|name| held(name, 1)).collect();
    let mut edge = connect(&edges, &holds).await;
    let mut listed = 0;
    while probe.published::<NodeConnected>().is_empty() {
        listed += answer(&mut edge, &holds).await;
        probe.settle().await;
        if listed == 400 {
            break;
        }
    }
    assert_eq!(listed, 400, "nothing was known of it");
    drop(edge);
    probe.settle().await;
    holds.insert(held("a7", 2));
    let mut edge = connect(&edges, &holds).await;
    assert_eq!(answer(&mut edge, &holds).await, 0);
    let listed = answer(&mut edge, &holds).await;
    assert!((1..30).contains(&listed), "{listed}");
    probe.settle().await;
    assert_eq!(connected(&probe), Some(holds.list()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_living_session_is_compared_when_nothing_is_on_its_way() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut holds = inventory(&[("a", 1)]);
    let mut edge = connect(&edges, &holds).await;
    assert_eq!(answer(&mut edge, &holds).await + answer(&mut edge, &holds).await, 1);
    probe.settle().await;
    let session = session(&probe);
    let ask = || probe.ask(CompareNode { node: node("edge-1"), session });
    let (compared, _) = tokio::join!(ask(), answer(&mut edge, &holds));
    assert_eq!(compared, Ok(Compared::Same));

    assert_eq!(send(&probe, "edge-1", "b", 1).await, Ok(()));
    let (id, ..) = edge.hear_change().await;
    assert_eq!(ask().await, Ok(Compared::Busy), "it has not acknowledged yet");
    edge.acknowledge(&id).await;
    probe.settle().await;
    let differs = async {
        let listed = answer(&mut edge, &holds).await + answer(&mut edge, &holds).await;
        assert_eq!(listed, 1, "it lost what it acknowledged");
    };
    let (compared, ()) = tokio::join!(ask(), differs);
    assert_eq!(compared, Ok(Compared::Differs(holds.list())));

    holds.insert(held("c", 1));
    let overtaken = async {
        assert!(matches!(edge.hear().await, CloudFrame::Comparison(Comparison::AskSummary)));
        assert_eq!(send(&probe, "edge-1", "c", 1).await, Ok(()));
        let (id, ..) = edge.hear_change().await;
        edge.acknowledge(&id).await;
        edge.say(EdgeFrame::Comparison(Comparison::Summary(holds.summary()))).await;
    };
    let (compared, ()) = tokio::join!(ask(), overtaken);
    assert_eq!(compared, Ok(Compared::Busy), "something changed while it was asked");
    let (compared, _) = tokio::join!(ask(), answer(&mut edge, &holds));
    assert_eq!(compared, Ok(Compared::Same));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_knows_no_digests_or_is_gone_is_not_compared() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut older = edges.dial("edge-1", Codec::Native).await;
    let features = Features::ALL.without(Features::DIGESTS);
    older.greet("edge-1", Some(inventory(&[("a", 1)]).list()), None, features).await;
    probe.settle().await;
    assert_eq!(connected(&probe), Some(inventory(&[("a", 1)]).list()));
    let compare = |name: &str, session| probe.ask(CompareNode { node: node(name), session });
    assert_eq!(compare("edge-1", session(&probe)).await, Ok(Compared::Unknown));
    assert_eq!(compare("edge-1", 1).await, Ok(Compared::Unknown), "another session");
    assert_eq!(compare("edge-2", 1).await, Ok(Compared::Unknown));
    let _upstream = edges.dial("edge-3", Codec::KubeEdge).await;
    probe.settle().await;
    assert_eq!(connected(&probe), None);
    assert_eq!(compare("edge-3", session(&probe)).await, Ok(Compared::Unknown));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_does_not_answer_is_sent_everything_in_the_end() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut edge = connect(&edges, &inventory(&[("a", 1)])).await;
    assert!(matches!(edge.hear().await, CloudFrame::Comparison(Comparison::AskSummary)));
    let alive = async {
        loop {
            edge.say(EdgeFrame::Ping(1)).await;
            assert_eq!(edge.hear().await, CloudFrame::Pong(1));
            tokio::time::sleep(SECOND).await;
        }
    };
    tokio::select! {
        biased;
        _never = alive => unreachable!("it lives for ever"),
        () = probe.advance(SECOND * 61) => {}
    }
    assert_eq!(connected(&probe), None);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_answers_what_it_was_not_asked_is_let_go() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut edge = edges.connect("edge-1").await;
    probe.settle().await;
    edge.say(EdgeFrame::Comparison(Comparison::Summary(vec![1]))).await;
    assert!(matches!(edge.hear().await, CloudFrame::Goodbye(_)));
}
