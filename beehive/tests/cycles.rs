//! Modules that would wait for one another for ever are told so at once.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's")]

use std::time::Duration;

use beehive::{
    AskError, BuildError, Catalog, Chain, Context, Defer, Failure, Group, Handler, Message, Module,
    ModuleName, Node, NodeOptions, PublishError, Responder, Section, Sections, SendError, Wiring,
};

const LEFT: Group = Group::new("left-group");
const RIGHT: Group = Group::new("right-group");
const SECOND: Duration = Duration::from_secs(1);

/// Asks the left module to ask the right one, which asks back.
#[derive(Debug, Clone, Message)]
#[reply(Result<String, AskError>)]
struct Begin;
#[derive(Debug, Clone, Message)]
#[reply(Result<String, AskError>)]
struct GoRight;
#[derive(Debug, Clone, Message)]
#[reply(String)]
struct GoLeft;
/// Like `GoRight`, but the right module answers from a task.
#[derive(Debug, Clone, Message)]
#[reply(Result<String, AskError>)]
struct GoRightLater;
#[derive(Debug, Clone, Message)]
#[reply(Result<String, AskError>)]
struct BeginLater;
#[derive(Debug, Clone, Message)]
#[reply(Result<(), SendError>)]
struct SendToSelf;
#[derive(Debug, Clone, Message)]
#[reply(Result<beehive::Delivered, PublishError>)]
struct PublishToSelf;
#[derive(Debug, Clone, Message)]
struct Noise;

struct Left;
struct Right;

impl Module for Left {
    const NAME: ModuleName = ModuleName::new("left");
    const GROUP: Group = LEFT;
    type Config = ();
    type Ports = ();

    fn build((): (), (): ()) -> Result<Self, BuildError> {
        Ok(Self)
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Begin>().handles::<BeginLater>().handles::<GoLeft>().handles::<Noise>();
        wiring.handles::<SendToSelf>().handles::<PublishToSelf>();
        wiring.asks::<GoRight>(RIGHT).asks::<GoRightLater>(RIGHT).asks::<Noise>(LEFT).publishes::<Noise>();
    }
}

impl Handler<Begin> for Left {
    async fn handle(
        &mut self,
        _: Begin,
        cx: &mut Context<Self>,
    ) -> Result<Result<String, AskError>, Failure> {
        cx.bus().to(RIGHT).ask(GoRight).within(SECOND).await.map_err(Failure::because)
    }
}

impl Handler<BeginLater> for Left {
    async fn handle(
        &mut self,
        _: BeginLater,
        cx: &mut Context<Self>,
    ) -> Result<Result<String, AskError>, Failure> {
        cx.bus().to(RIGHT).ask(GoRightLater).within(SECOND).await.map_err(Failure::because)
    }
}

impl Handler<GoLeft> for Left {
    async fn handle(&mut self, _: GoLeft, _: &mut Context<Self>) -> Result<String, Failure> {
        Ok("left was free".to_owned())
    }
}

impl Handler<SendToSelf> for Left {
    async fn handle(
        &mut self,
        _: SendToSelf,
        cx: &mut Context<Self>,
    ) -> Result<Result<(), SendError>, Failure> {
        let bus = cx.bus().to(LEFT);
        if let Err(error) = bus.send(Noise).await {
            return Ok(Err(error));
        }
        Ok(bus.send(Noise).await)
    }
}

impl Handler<PublishToSelf> for Left {
    async fn handle(
        &mut self,
        _: PublishToSelf,
        cx: &mut Context<Self>,
    ) -> Result<Result<beehive::Delivered, PublishError>, Failure> {
        let first = cx.bus().publish(Noise).await;
        if first.is_err() {
            return Ok(first);
        }
        Ok(cx.bus().publish(Noise).await)
    }
}

impl Handler<Noise> for Left {
    async fn handle(&mut self, _: Noise, _: &mut Context<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

impl Module for Right {
    const NAME: ModuleName = ModuleName::new("right");
    const GROUP: Group = RIGHT;
    type Config = ();
    type Ports = ();

    fn build((): (), (): ()) -> Result<Self, BuildError> {
        Ok(Self)
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<GoRight>().defers::<GoRightLater>().asks::<GoLeft>(LEFT);
    }
}

impl Handler<GoRight> for Right {
    async fn handle(
        &mut self,
        _: GoRight,
        cx: &mut Context<Self>,
    ) -> Result<Result<String, AskError>, Failure> {
        Ok(cx.bus().to(LEFT).ask(GoLeft).within(SECOND).await)
    }
}

impl Defer<GoRightLater> for Right {
    async fn handle(
        &mut self,
        _: GoRightLater,
        responder: Responder<Result<String, AskError>>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        let bus = cx.bus().clone();
        cx.spawn(async move {
            let answer = bus.to(LEFT).ask(GoLeft).within(SECOND / 2).await;
            responder.reply(answer);
        });
        Ok(())
    }
}

async fn node() -> Node {
    let section = Section { mailbox: Some(1), ..Section::default() };
    let sections = Sections::from([("left".to_owned(), section)]);
    let catalog = Catalog::new().with::<Left>(()).with::<Right>(());
    Node::launch(catalog, sections, NodeOptions::default()).await.unwrap()
}

fn chain(names: &[&'static str]) -> Chain {
    Chain(names.iter().map(|name| ModuleName::new(name)).collect())
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_question_back_to_its_asker_is_refused_at_once_and_names_the_circle() {
    let node = node().await;
    let begun = tokio::time::Instant::now();
    let answer = node.bus().to(LEFT).ask(Begin).within(10 * SECOND).await.unwrap();
    let circle = chain(&["right", "left", "right"]);
    assert_eq!(answer, Err(AskError::Cycle { request: "GoLeft", chain: circle }));
    assert_eq!(begun.elapsed(), Duration::ZERO, "no deadline had to pass");
    let text = answer.unwrap_err().to_string();
    assert_eq!(text, "asking for GoLeft would wait in a circle: right -> left -> right");
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_task_that_asks_closes_no_circle() {
    let node = node().await;
    // The left module's handler waits for a task of the right one: the task waits in vain, until its
    // own deadline, and both mailboxes go on.
    let answer = node.bus().to(LEFT).ask(BeginLater).within(10 * SECOND).await.unwrap();
    assert!(matches!(answer, Err(AskError::TimedOut { .. })), "{answer:?}");
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn waiting_for_room_in_the_own_mailbox_is_a_circle() {
    let node = node().await;
    let answer = node.bus().to(LEFT).ask(SendToSelf).within(SECOND).await.unwrap();
    assert_eq!(answer, Err(SendError::Cycle { message: "Noise", chain: chain(&["left", "left"]) }));
    let answer = node.bus().to(LEFT).ask(PublishToSelf).within(SECOND).await.unwrap();
    assert_eq!(answer, Err(PublishError::Cycle { event: "Noise", chain: chain(&["left", "left"]) }));
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_circle_that_was_refused_leaves_nothing_behind() {
    let node = node().await;
    for _ in 0..3 {
        let refused = node.bus().to(LEFT).ask(Begin).within(SECOND).await.unwrap();
        assert!(matches!(refused, Err(AskError::Cycle { .. })));
        assert_eq!(node.bus().to(LEFT).ask(GoLeft).within(SECOND).await.as_deref(), Ok("left was free"));
        let right = node.bus().to(RIGHT).ask(GoRight).within(SECOND).await.unwrap();
        assert_eq!(right.as_deref(), Ok("left was free"));
    }
    node.stop().await;
}
