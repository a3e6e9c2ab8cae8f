//! What a node shows of itself: stuck handlers, figures, the trace.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's")]

use std::sync::Arc;
use std::time::Duration;

use beehive::{
    BuildError, Catalog, Context, EventKind, Failure, Group, Handler, Message, Module, ModuleName, Node,
    NodeOptions, RestartPolicy, Section, Sections, Stuck, TraceRing, Wiring,
};

const DESK: Group = Group::new("desk");
const BACK: Group = Group::new("back");
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Message)]
#[reply(u32)]
struct Think(u64);
#[derive(Debug, Clone, Message)]
#[reply(u32)]
struct Delegate(u64);
#[derive(Debug, Clone, Message)]
struct Fail;

struct Clerk;
struct Archive;

impl Module for Clerk {
    const NAME: ModuleName = ModuleName::new("clerk");
    const GROUP: Group = DESK;
    type Config = ();
    type Ports = ();

    fn build((): (), (): ()) -> Result<Self, BuildError> {
        Ok(Self)
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Delegate>().asks::<Think>(BACK);
    }
}

impl Handler<Delegate> for Clerk {
    async fn handle(&mut self, Delegate(for_secs): Delegate, cx: &mut Context<Self>) -> Result<u32, Failure> {
        cx.bus().to(BACK).ask(Think(for_secs)).within(3600 * SECOND).await.map_err(Failure::because)
    }
}

impl Module for Archive {
    const NAME: ModuleName = ModuleName::new("archive");
    const GROUP: Group = BACK;
    type Config = ();
    type Ports = ();

    fn build((): (), (): ()) -> Result<Self, BuildError> {
        Ok(Self)
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Think>().handles::<Fail>();
    }
}

impl Handler<Think> for Archive {
    async fn handle(&mut self, Think(for_secs): Think, _: &mut Context<Self>) -> Result<u32, Failure> {
        tokio::time::sleep(SECOND * u32::try_from(for_secs).expect("small")).await;
        Ok(42)
    }
}

impl Handler<Fail> for Archive {
    async fn handle(&mut self, _: Fail, _: &mut Context<Self>) -> Result<(), Failure> {
        Err(Failure::new("on demand"))
    }
}

async fn node() -> (Node, Arc<TraceRing>) {
    node_whose_archive(RestartPolicy::default()).await
}

async fn node_whose_archive(restart: RestartPolicy) -> (Node, Arc<TraceRing>) {
    let trace = Arc::new(TraceRing::new(64));
    let options =
        NodeOptions { trace: Some(trace.clone()), stuck_after: 5 * SECOND, ..NodeOptions::default() };
    let catalog = Catalog::new().with::<Archive>(()).with::<Clerk>(());
    let section = Section { restart: Some(restart), mailbox: Some(1), ..Section::default() };
    let sections = Sections::from([("archive".to_owned(), section)]);
    (Node::launch(catalog, sections, options).await.unwrap(), trace)
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_stuck_handler_is_seen_with_what_it_waits_for_and_forgotten_when_it_goes_on() {
    let (node, trace) = node().await;
    let bus = node.bus();
    let looking = async {
        tokio::time::sleep(4 * SECOND).await;
        assert!(node.health().is_healthy(), "four seconds are not too long");
        tokio::time::sleep(2 * SECOND).await;
        node.health()
    };
    let asking = bus.to(DESK).ask(Delegate(8)).within(60 * SECOND);
    let (answer, health) = futures::future::join(asking, looking).await;
    assert_eq!(answer, Ok(42));
    let stuck = |at: usize| health.modules[at].stuck.clone();
    let (message, waited) = ("Think", 5 * SECOND);
    assert_eq!(stuck(0), Some(Stuck { message, waited, waits_for: None }));
    let waits_for = Some((Archive::NAME, "Think"));
    assert_eq!(stuck(1), Some(Stuck { message: "Delegate", waited, waits_for }));
    assert!(node.health().is_healthy(), "both go on");
    assert_eq!(node.metrics().iter().map(|module| module.stuck).collect::<Vec<_>>(), [1, 1]);
    let seen = trace.events().iter().filter(|event| matches!(event.kind, EventKind::Stuck { .. })).count();
    assert_eq!(seen, 2);
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_handler_that_never_returns_fails_its_module_and_not_the_one_that_waits_for_it() {
    let (node, _) =
        node_whose_archive(RestartPolicy { stuck_for: 60 * SECOND, ..RestartPolicy::default() }).await;
    let bus = node.bus();
    let answer = bus.to(DESK).ask(Delegate(100_000)).within(200 * SECOND).await;
    assert!(answer.is_err(), "the question is lost with the value that held it");
    let failures = node.health().modules.into_iter().map(|module| module.last_failure.unwrap_or_default());
    let told = ["Think: made no progress in 60s", "Delegate: archive is restarting and did not answer Think"];
    assert_eq!(failures.collect::<Vec<_>>(), told, "the other one passes on what it was answered");
    assert_eq!(bus.to(BACK).ask(Think(1)).within(60 * SECOND).await, Ok(42), "the new value serves");
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_full_mailbox_of_a_stuck_module_holds_a_publisher_up_for_a_while_only() {
    let (node, _) =
        node_whose_archive(RestartPolicy { stuck_for: 60 * SECOND, ..RestartPolicy::default() }).await;
    let bus = node.bus();
    let begun = tokio::time::Instant::now();
    for _ in 0..3 {
        // One is handled and never ends, one waits, and the third waits for room.
        bus.to(BACK).send(Think(100_000)).await.unwrap();
        tokio::time::sleep(SECOND).await;
    }
    let waited = begun.elapsed();
    assert!(waited >= 60 * SECOND && waited < 120 * SECOND, "{waited:?}");
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn without_a_limit_a_handler_takes_as_long_as_it_likes() {
    let (node, _) =
        node_whose_archive(RestartPolicy { stuck_for: Duration::ZERO, ..RestartPolicy::default() }).await;
    assert_eq!(node.bus().to(BACK).ask(Think(100_000)).within(200_000 * SECOND).await, Ok(42));
    assert_eq!(node.metrics()[0].restarts, 0);
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn quick_handlers_are_never_stuck_however_many_there_are() {
    let (node, _) = node().await;
    for _ in 0..60 {
        assert_eq!(node.bus().to(BACK).ask(Think(1)).within(60 * SECOND).await, Ok(42));
    }
    assert_eq!(node.metrics()[0].stuck, 0);
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn figures_add_up() {
    let (node, _) = node().await;
    let bus = node.bus();
    for _ in 0..3 {
        assert_eq!(bus.to(BACK).ask(Think(2)).within(60 * SECOND).await, Ok(42));
    }
    bus.to(BACK).send(Fail).await.unwrap();
    assert_eq!(bus.to(BACK).ask(Think(0)).within(60 * SECOND).await, Ok(42));
    let metrics = node.metrics()[0].clone();
    assert_eq!(metrics.name, Archive::NAME);
    assert_eq!((metrics.received, metrics.handled, metrics.failed, metrics.restarts), (5, 4, 1, 1));
    assert_eq!((metrics.mailbox_depth, metrics.mailbox_capacity), (0, 1));
    assert!(metrics.handling_time >= 6 * SECOND && metrics.handling_time < 7 * SECOND, "{metrics:?}");
    assert!(metrics.busy_max >= 2 * SECOND && metrics.busy_max < 3 * SECOND, "{metrics:?}");
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_trace_tells_each_step_of_a_question_in_order() {
    let (node, trace) = node().await;
    let begin = trace.events().len();
    assert_eq!(node.bus().to(DESK).ask(Delegate(1)).within(60 * SECOND).await, Ok(42));
    let told: Vec<String> = trace.events().iter().skip(begin).map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "node outside -> clerk Delegate Asked",
            "node outside -> clerk Delegate Handling",
            "node clerk -> archive Think Asked",
            "node clerk -> archive Think Handling",
            "node clerk -> archive Think Handled",
            "node archive -> clerk Think Replied",
            "node outside -> clerk Delegate Handled",
            "node clerk -> outside Delegate Replied",
        ]
    );
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_trace_ring_keeps_the_newest_events_up_to_its_bound() {
    let (node, trace) = node().await;
    for _ in 0..100 {
        assert_eq!(node.bus().to(BACK).ask(Think(0)).within(SECOND).await, Ok(42));
    }
    let events = trace.events();
    assert_eq!(events.len(), 64);
    assert_eq!(events.last().map(|event| event.kind), Some(EventKind::Replied));
    node.stop().await;
}
