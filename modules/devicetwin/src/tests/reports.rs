//! What the cloud is told, and when.

use std::cell::Cell;

use protocol::ApiStatus;

use super::*;

const INTERVAL: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "local", start_paused = true)]
async fn however_fast_values_come_the_cloud_is_told_the_newest_once_in_an_interval() {
    let probe = with(&["t1", "t2"]).start(&MemoryStore::new(), online).await;
    for n in 0..200 {
        assert_eq!(set(&probe, "t1", &n.to_string()).await, Ok(()));
    }
    assert_eq!(reports(&probe), [pair("t1", "0")]);
    probe.advance(INTERVAL).await;
    assert_eq!(reports(&probe), [pair("t1", "199")]);
    probe.advance(INTERVAL * 100).await;
    assert_eq!(reports(&probe), [], "it knows all");
    assert_eq!(set(&probe, "t2", "x").await, Ok(()));
    assert_eq!(reports(&probe), [pair("t2", "x")], "the next one is at once");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn state_and_twins_of_a_device_are_one_report_in_an_interval() {
    let probe = with(&["t1"]).start(&MemoryStore::new(), online).await;
    let state = DeviceCall::UpdateState(id("t1"));
    assert_eq!(call(&probe, state, r#"{"state":"online"}"#).await, Ok(()));
    assert_eq!(set(&probe, "t1", "1").await, Ok(()));
    assert_eq!(reports(&probe), [pair("t1", "online")]);
    probe.advance(INTERVAL).await;
    assert_eq!(reports(&probe), [pair("t1", "1")]);
    probe.advance(INTERVAL * 9).await;
    assert_eq!(reports(&probe), []);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_changed_without_a_link_is_told_when_it_is_up_also_after_a_reboot() {
    let store = MemoryStore::new();
    let world = with(&["t1", "t2"]);
    let probe = world.start(&store, offline).await;
    for n in 0..50 {
        assert_eq!(set(&probe, "t1", &n.to_string()).await, Ok(()));
        probe.advance(Duration::from_secs(3600)).await;
    }
    reports(&probe);
    probe.stop().await;

    let store = store.crash();
    let is_up = Rc::new(Cell::new(false));
    let link = Rc::clone(&is_up);
    let probe = world.start(&store, move |it| if link.get() { online(it) } else { offline(it) }).await;
    assert_eq!(reports(&probe), [pair("t1", "49")], "it tries");
    is_up.set(true);
    probe.send(LinkUp).await;
    probe.advance(INTERVAL).await;
    assert_eq!(reports(&probe), [pair("t1", "49")], "only the newest, and only of who changed");
    probe.stop().await;

    let probe = world.start(&store.crash(), online).await;
    probe.advance(INTERVAL * 9).await;
    assert_eq!(reports(&probe), [], "what the cloud knows is on disk");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_report_is_repeated_until_the_cloud_has_it() {
    for failure in [CloudError::NoAnswer, CloudError::Overloaded, CloudError::Disconnected] {
        let tries = Rc::new(Cell::new(0));
        let count = Rc::clone(&tries);
        let cloud = move |_: &NodeRequest| {
            count.set(count.get() + 1);
            if count.get() < 4 { Err(failure.clone()) } else { Ok(NodeReply::Done) }
        };
        let probe = with(&["t1"]).start(&MemoryStore::new(), cloud).await;
        assert_eq!(set(&probe, "t1", "1").await, Ok(()));
        assert_eq!(reports(&probe).len(), 1);
        assert_eq!(set(&probe, "t1", "2").await, Ok(()));
        probe.advance(Duration::from_secs(600)).await;
        let told = reports(&probe);
        assert_eq!(told, [pair("t1", "2"), pair("t1", "2"), pair("t1", "2")]);
        probe.stop().await;
    }
}

/// Who waits for the cloud's answers.
type Waiting = Rc<RefCell<Vec<Responder<Result<NodeReply, CloudError>>>>>;

/// Starts the module with one device; the cloud answers when the test does.
async fn under_a_slow_cloud() -> (Probe<DeviceTwin>, Waiting) {
    let waiting = Waiting::default();
    let desk = Rc::clone(&waiting);
    let medium: SharedMedium = Arc::new(MemoryStore::new());
    let probe = Probe::<DeviceTwin>::new(DeviceTwinConfig::default(), medium)
        .serve::<ListObjects>(group::META, |_| Ok(vec![object("t1", "u1")]))
        .serve::<ListHeld>(group::META, |_| Ok(Vec::new()))
        .serve_later::<AskCloud>(group::HUB, move |_, responder| desk.borrow_mut().push(responder))
        .start()
        .await;
    (probe, waiting)
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_cloud_that_does_not_answer_is_asked_for_one_device_at_a_time_again() {
    let (probe, waiting) = under_a_slow_cloud().await;
    for n in 0..10 {
        assert_eq!(set(&probe, "t1", &n.to_string()).await, Ok(()));
        probe.advance(INTERVAL).await;
    }
    assert_eq!(reports(&probe), [pair("t1", "0")], "one is under way");
    probe.advance(Duration::from_secs(10)).await;
    assert_eq!(reports(&probe), [pair("t1", "9")], "the deadline has passed");
    for responder in waiting.borrow_mut().drain(..) {
        responder.reply(Ok(NodeReply::Done));
    }
    probe.advance(Duration::from_secs(600)).await;
    assert_eq!(reports(&probe), []);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_device_that_the_cloud_does_not_know_waits_for_its_next_change() {
    let known = Rc::new(Cell::new(false));
    let cloud = Rc::clone(&known);
    let not_found = ApiStatus::new(404, "NotFound", "devices \"t1\" not found");
    let answer = move |_: &NodeRequest| {
        Ok(if cloud.get() { NodeReply::Done } else { NodeReply::Refused(not_found.clone()) })
    };
    let store = MemoryStore::new();
    let world = with(&["t1"]);
    let probe = world.start(&store, answer).await;
    assert_eq!(set(&probe, "t1", "1").await, Ok(()));
    assert_eq!(reports(&probe).len(), 1);
    probe.advance(Duration::from_secs(100_000)).await;
    assert_eq!(reports(&probe), []);
    assert_eq!(set(&probe, "t1", "2").await, Ok(()));
    assert_eq!(reports(&probe), [pair("t1", "2")]);
    known.set(true);
    probe.advance(Duration::from_secs(10)).await;
    probe.send(change(ChangeKind::Update, "t1", "u1")).await;
    assert_eq!(reports(&probe), [pair("t1", "2")], "its object changed");
    probe.stop().await;
    let probe = world.start(&store.crash(), online).await;
    assert_eq!(reports(&probe), []);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn other_refusals_are_tried_again() {
    let tries = Rc::new(Cell::new(0));
    let count = Rc::clone(&tries);
    let answer = move |_: &NodeRequest| {
        count.set(count.get() + 1);
        let refused = ApiStatus::new(409, "Conflict", "another one was faster");
        Ok(if count.get() < 3 { NodeReply::Refused(refused) } else { NodeReply::Done })
    };
    let probe = with(&["t1"]).start(&MemoryStore::new(), answer).await;
    assert_eq!(set(&probe, "t1", "1").await, Ok(()));
    probe.advance(Duration::from_secs(600)).await;
    assert_eq!(reports(&probe).len(), 3);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_the_cloud_said_of_a_device_is_not_taken_for_its_successor() {
    let (probe, waiting) = under_a_slow_cloud().await;
    assert_eq!(set(&probe, "t1", "first").await, Ok(()));
    probe.send(change(ChangeKind::Insert, "t1", "u2")).await;
    assert_eq!(set(&probe, "t1", "second").await, Ok(()));
    assert_eq!(reports(&probe), [pair("t1", "first")]);
    let first = waiting.borrow_mut().pop().expect("a report");
    first.reply(Ok(NodeReply::Done));
    probe.advance(INTERVAL).await;
    assert_eq!(reports(&probe), [pair("t1", "second")]);
    probe.stop().await;
}
