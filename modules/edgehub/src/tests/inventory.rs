//! What the node holds, said as a digest, a summary, or a list.

use protocol::{Buckets, Inventory, ResourceVersion};
use wire::codec::Comparison;

use super::*;

fn held(number: u32) -> Held {
    let key = change(&format!("a{number}"), 1).key;
    Held { key, uid: None, resource_version: Some(ResourceVersion::new("1")) }
}

fn holds(cloud: &Cloud, held: Vec<Held>) -> ProbeBuilder<EdgeHub> {
    let probe = cloud.probe(CodecChoice::Native);
    probe
        .serve::<ListHeld>(group::META, move |_| Ok(held.clone()))
        .serve::<KeepChange>(group::META, |_| Ok(()))
}

async fn compared(peer: &mut Peer, question: Comparison) -> Comparison {
    peer.say(CloudFrame::Comparison(question)).await;
    match peer.hear().await {
        EdgeFrame::Comparison(answer) => answer,
        other => panic!("an answer: {other:?}"),
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_cloud_is_told_what_it_asks_for_and_no_more() {
    let mut cloud = Cloud::start().await;
    let all: Vec<Held> = (0..2000).map(held).collect();
    let inventory: Inventory = all.iter().cloned().collect();
    let _probe = holds(&cloud, all).start().await;
    let (mut peer, hello) = cloud.welcome().await;
    assert_eq!((hello.held, hello.digest), (None, Some(inventory.digest())));
    assert_eq!(compared(&mut peer, Comparison::AskSummary).await, Comparison::Summary(inventory.summary()));
    let mut left = Buckets::new(4, vec![1, 2]).expect("buckets");
    let mut listed = 0;
    while !left.chosen().is_empty() {
        let Comparison::Held { buckets, held } = compared(&mut peer, Comparison::AskHeld(left.clone())).await
        else {
            panic!("a list")
        };
        assert_eq!(inventory.list_in(&buckets, usize::MAX).1, held);
        listed += held.len();
        left = left.without(&buckets);
    }
    assert!((900..1100).contains(&listed), "{listed}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_cloud_without_digests_is_told_a_list_at_once_and_from_then_on() {
    let mut cloud = Cloud::start().await;
    let _probe = holds(&cloud, vec![held(1)]).start().await;
    for (attempt, lists) in [false, true, true].into_iter().enumerate() {
        let mut peer = cloud.accept().await;
        let EdgeFrame::Hello(hello) = peer.hear().await else { panic!("the hello comes first") };
        assert_eq!(hello.held.is_some(), lists, "in attempt {attempt}");
        assert!(hello.digest.is_some());
        let features = Features::ALL.without(Features::DIGESTS).without(Features::PACKS);
        peer.say(CloudFrame::Welcome { version: NATIVE_VERSION, session: 1, features }).await;
        if !lists {
            assert_eq!(peer.hear_end().await, LinkError::Closed);
        }
    }
    let (_peer, hello) = cloud.welcome().await;
    assert!(hello.held.is_some(), "it is not known yet that the cloud was replaced");
    let (_peer, hello) = cloud.welcome().await;
    assert_eq!(hello.held, None);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_cannot_say_what_it_holds_says_so() {
    let mut cloud = Cloud::start().await;
    let probe = cloud.probe(CodecChoice::Native);
    let probe = probe.serve::<ListHeld>(group::META, |_| Err(MetaError("broken".to_owned())));
    let _probe = probe.start().await;
    let (mut peer, hello) = cloud.welcome().await;
    assert_eq!((hello.held, hello.digest), (None, None));
    let all = Buckets::new(1, vec![0]).expect("buckets");
    for question in [Comparison::AskSummary, Comparison::AskHeld(all)] {
        assert_eq!(compared(&mut peer, question).await, Comparison::Unknown);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_cloud_that_does_not_wait_for_answers_is_let_go() {
    let mut cloud = Cloud::start().await;
    let mut first = true;
    let waiting = Rc::new(RefCell::new(Vec::new()));
    let probe = cloud.probe(CodecChoice::Native).serve_later::<ListHeld>(group::META, move |_, responder| {
        if std::mem::take(&mut first) {
            responder.reply(Ok(Vec::new()));
        } else {
            waiting.borrow_mut().push(responder);
        }
    });
    let _probe = probe.start().await;
    let (mut peer, _) = cloud.welcome().await;
    for _ in 0..2 {
        peer.say(CloudFrame::Comparison(Comparison::AskSummary)).await;
    }
    assert!(matches!(peer.hear().await, EdgeFrame::Goodbye(_)));
}
