//! Who gets a message, in which order, and what a sender learns.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use beehive::{
    AskError, BuildError, Catalog, Context, Defer, Delivered, Failure, Group, Handler, Message, Module,
    ModuleName, Node, NodeOptions, PublishError, Responder, Section, Sections, SendError, Wiring,
};

const CHOIR: Group = Group::new("choir");
const HALL: Group = Group::new("hall");
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Message)]
struct Note(u32);
#[derive(Debug, Clone, Message)]
#[reply(&'static str)]
struct WhoAreYou;
#[derive(Debug, Clone, Message)]
#[reply(u32)]
struct Repeat(u32);
/// Waits until the test lets it go on.
#[derive(Debug, Clone, Message)]
struct Block;
/// Asks for what the module did not declare.
#[derive(Debug, Clone, Message)]
#[reply((Result<&'static str, AskError>, Result<Delivered, PublishError>))]
struct Trespass;
#[derive(Debug, Clone, Message)]
#[reply(u32)]
struct Forget;
#[derive(Debug, Clone, Message)]
struct Unheard;

type Log = Rc<RefCell<Vec<(&'static str, u32)>>>;

#[derive(Clone, Default)]
struct Outside {
    log: Log,
    gate: Rc<tokio::sync::Notify>,
}

macro_rules! singer {
    ($name:ident, $text:literal) => {
        struct $name(Outside);

        impl Module for $name {
            const NAME: ModuleName = ModuleName::new($text);
            const GROUP: Group = CHOIR;
            type Config = ();
            type Ports = Outside;

            fn build((): (), outside: Outside) -> Result<Self, BuildError> {
                Ok(Self(outside))
            }

            fn wire(wiring: &mut Wiring<Self>) {
                wiring.handles::<Note>().handles::<WhoAreYou>().handles::<Block>();
            }
        }

        impl Handler<Note> for $name {
            async fn handle(&mut self, Note(pitch): Note, _: &mut Context<Self>) -> Result<(), Failure> {
                self.0.log.borrow_mut().push(($text, pitch));
                Ok(())
            }
        }

        impl Handler<WhoAreYou> for $name {
            async fn handle(&mut self, _: WhoAreYou, _: &mut Context<Self>) -> Result<&'static str, Failure> {
                Ok($text)
            }
        }

        impl Handler<Block> for $name {
            async fn handle(&mut self, _: Block, _: &mut Context<Self>) -> Result<(), Failure> {
                self.0.gate.notified().await;
                Ok(())
            }
        }
    };
}

// Not in the order of their names.
singer!(Tenor, "c-tenor");
singer!(Alto, "a-alto");
singer!(Bass, "b-bass");

struct Porter(Outside);

impl Module for Porter {
    const NAME: ModuleName = ModuleName::new("porter");
    const GROUP: Group = HALL;
    type Config = ();
    type Ports = Outside;

    fn build((): (), outside: Outside) -> Result<Self, BuildError> {
        Ok(Self(outside))
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Note>().defers::<Repeat>().handles::<Trespass>().defers::<Forget>();
        wiring.asks_all::<WhoAreYou>(CHOIR);
    }
}

impl Handler<Note> for Porter {
    async fn handle(&mut self, Note(pitch): Note, _: &mut Context<Self>) -> Result<(), Failure> {
        self.0.log.borrow_mut().push(("porter", pitch));
        Ok(())
    }
}

impl Defer<Repeat> for Porter {
    async fn handle(
        &mut self,
        Repeat(number): Repeat,
        responder: Responder<u32>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        cx.spawn(async move {
            tokio::time::sleep(SECOND * (10 - number)).await;
            responder.reply(number);
        });
        Ok(())
    }
}

impl Defer<Forget> for Porter {
    async fn handle(
        &mut self,
        _: Forget,
        responder: Responder<u32>,
        _: &mut Context<Self>,
    ) -> Result<(), Failure> {
        assert!(!responder.is_closed());
        drop(responder);
        Ok(())
    }
}

impl Handler<Trespass> for Porter {
    async fn handle(
        &mut self,
        _: Trespass,
        cx: &mut Context<Self>,
    ) -> Result<(Result<&'static str, AskError>, Result<Delivered, PublishError>), Failure> {
        let asked = cx.bus().to(CHOIR).ask(WhoAreYou).within(SECOND).await;
        let published = cx.bus().publish(Note(0)).await;
        Ok((asked, published))
    }
}

async fn node(mailbox: usize) -> (Node, Outside) {
    let outside = Outside::default();
    let catalog = Catalog::new()
        .with::<Tenor>(outside.clone())
        .with::<Porter>(outside.clone())
        .with::<Alto>(outside.clone())
        .with::<Bass>(outside.clone());
    let options = NodeOptions { mailbox, ..NodeOptions::default() };
    (Node::launch(catalog, Sections::new(), options).await.unwrap(), outside)
}

async fn alone(mailbox: usize) -> (Node, Outside) {
    let outside = Outside::default();
    let catalog = Catalog::new().with::<Alto>(outside.clone());
    let sections =
        Sections::from([("a-alto".to_owned(), Section { mailbox: Some(mailbox), ..Section::default() })]);
    (Node::launch(catalog, sections, NodeOptions::default()).await.unwrap(), outside)
}

/// Occupies the lone module's handler and fills its mailbox with notes of pitch 0.
async fn fill(node: &Node) {
    let choir = node.bus();
    let choir = choir.to(CHOIR);
    choir.send(Block).await.unwrap();
    while node.metrics()[0].mailbox_depth > 0 {
        tokio::task::yield_now().await;
    }
    while choir.try_send(Note(0)).is_ok() {}
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_event_reaches_all_that_handle_it_in_order_of_name() {
    let (node, outside) = node(1024).await;
    let delivered = node.bus().publish(Note(1)).await.unwrap();
    assert_eq!(delivered, Delivered { receivers: 4, full: Vec::new() });
    node.stop().await;
    let mut log = outside.log.borrow().clone();
    log.sort_unstable();
    assert_eq!(log, [("a-alto", 1), ("b-bass", 1), ("c-tenor", 1), ("porter", 1)]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_event_to_a_group_reaches_its_members_only() {
    let (node, outside) = node(1024).await;
    assert_eq!(node.bus().to(CHOIR).publish(Note(1)).await.unwrap().receivers, 3);
    assert_eq!(node.bus().to(HALL).try_publish(Note(2)).unwrap().receivers, 1);
    assert_eq!(node.bus().publish(Unheard).await.unwrap().receivers, 0, "nobody has to listen");
    node.stop().await;
    let log = outside.log.borrow().clone();
    assert_eq!(log.iter().filter(|(_, pitch)| *pitch == 1).count(), 3);
    assert!(log.contains(&("porter", 2)));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn messages_of_one_sender_arrive_in_the_order_they_were_sent() {
    let (node, outside) = alone(7).await;
    let bus = node.bus();
    for pitch in 0..1000 {
        bus.to(CHOIR).send(Note(pitch)).await.unwrap();
    }
    node.stop().await;
    let pitches: Vec<u32> = outside.log.borrow().iter().map(|(_, pitch)| *pitch).collect();
    assert_eq!(pitches, (0..1000).collect::<Vec<u32>>());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn everyone_in_a_group_answers_a_question_to_all() {
    let (node, _) = node(1024).await;
    let answers = node.bus().to(CHOIR).ask_all(WhoAreYou).within(SECOND).await;
    let names: Vec<_> = answers.iter().map(|(name, answer)| (name.as_str(), answer.clone())).collect();
    assert_eq!(names, [("a-alto", Ok("a-alto")), ("b-bass", Ok("b-bass")), ("c-tenor", Ok("c-tenor"))]);
    assert!(node.bus().to(HALL).ask_all(WhoAreYou).within(SECOND).await.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn one_busy_server_does_not_take_the_others_answers_away() {
    let (node, outside) = node(1024).await;
    let blocked = node.bus().to(CHOIR).try_publish(Block).unwrap();
    assert_eq!(blocked.receivers, 3);
    outside.gate.notify_one();
    let answers = node.bus().to(CHOIR).ask_all(WhoAreYou).within(SECOND).await;
    let answered: Vec<bool> = answers.iter().map(|(_, answer)| answer.is_ok()).collect();
    assert_eq!(answered.iter().filter(|answered| **answered).count(), 1, "{answers:?}");
    assert_eq!(answers.len(), 3);
    outside.gate.notify_waiters();
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_question_without_a_server_or_with_several_is_refused() {
    let (node, _) = node(1024).await;
    let bus = node.bus();
    let nobody = bus.to(HALL).ask(WhoAreYou).within(SECOND).await;
    assert_eq!(nobody, Err(AskError::NobodyServes { request: "WhoAreYou", group: HALL }));
    let several = bus.to(CHOIR).ask(WhoAreYou).within(SECOND).await.unwrap_err();
    assert_eq!(several.to_string(), "3 modules of group choir serve WhoAreYou");
    assert!(matches!(bus.to(CHOIR).send(Note(1)).await, Err(SendError::Ambiguous { .. })));
    assert!(matches!(bus.to(HALL).try_send(Block), Err(SendError::NobodyServes { .. })));
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_module_may_only_ask_and_publish_what_it_declared() {
    let (node, _) = node(1024).await;
    let (asked, published) = node.bus().to(HALL).ask(Trespass).within(SECOND).await.unwrap();
    let module = Porter::NAME;
    assert_eq!(asked, Err(AskError::NotWired { module, request: "WhoAreYou", group: CHOIR }));
    assert_eq!(published, Err(PublishError::NotWired { module, event: "Note" }));
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_deferred_request_does_not_hold_up_the_next() {
    let (node, _) = node(1024).await;
    let bus = node.bus();
    let begun = tokio::time::Instant::now();
    let answers =
        futures::future::join_all((1..=9).map(|number| bus.to(HALL).ask(Repeat(number)).within(10 * SECOND)));
    let answers: Vec<u32> = answers.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, (1..=9).collect::<Vec<_>>());
    assert!(begun.elapsed() < 10 * SECOND);
    let forgotten = bus.to(HALL).ask(Forget).within(SECOND).await;
    assert_eq!(forgotten, Err(AskError::Dropped { server: Porter::NAME, request: "Forget" }));
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_full_mailbox_makes_each_verb_do_what_it_says() {
    let (node, outside) = alone(3).await;
    fill(&node).await;
    let bus = node.bus();
    let choir = bus.to(CHOIR);
    let full = SendError::Full { receiver: Alto::NAME, message: "Note" };
    assert_eq!(choir.try_send(Note(9)), Err(full));
    let published = bus.try_publish(Note(9)).unwrap();
    assert_eq!(published, Delivered { receivers: 0, full: vec![Alto::NAME] });
    let asked = choir.ask(WhoAreYou).within(SECOND).await;
    assert_eq!(asked, Err(AskError::Full { server: Alto::NAME, request: "WhoAreYou", within: SECOND }));
    assert_eq!(node.metrics()[0].mailbox_depth, 3, "not one more than there is room for");

    let mut waits = std::pin::pin!(choir.send(Note(7)));
    assert!(futures::poll!(waits.as_mut()).is_pending(), "a sender that waits, waits");
    outside.gate.notify_one();
    waits.await.unwrap();
    node.stop().await;
    assert_eq!(outside.log.borrow().last(), Some(&("a-alto", 7)));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_ask_that_is_late_is_told_so_and_not_handled_any_more() {
    let (node, outside) = alone(8).await;
    let bus = node.bus();
    bus.to(CHOIR).send(Block).await.unwrap();
    let late = bus.to(CHOIR).ask(WhoAreYou).within(SECOND).await;
    assert_eq!(late, Err(AskError::TimedOut { server: Alto::NAME, request: "WhoAreYou", within: SECOND }));
    outside.gate.notify_one();
    assert_eq!(bus.to(CHOIR).ask(WhoAreYou).within(SECOND).await, Ok("a-alto"));
    assert_eq!(node.metrics()[0].abandoned, 1);
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_bus_works_from_other_threads() {
    let (node, outside) = alone(8).await;
    let bus = node.bus();
    let (done, over) = tokio::sync::oneshot::channel();
    let sender = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for pitch in 0..100 {
                bus.to(CHOIR).send(Note(pitch)).await.unwrap();
            }
            let answer = bus.to(CHOIR).ask(WhoAreYou).within(60 * SECOND).await;
            done.send(answer).unwrap();
        });
    });
    assert_eq!(over.await.unwrap(), Ok("a-alto"));
    sender.join().unwrap();
    assert_eq!(outside.log.borrow().len(), 100);
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn after_the_stop_nobody_answers() {
    let (node, _) = alone(8).await;
    let bus = node.bus();
    node.stop().await;
    assert_eq!(
        bus.to(CHOIR).ask(WhoAreYou).within(SECOND).await,
        Err(AskError::Stopped { server: Alto::NAME })
    );
    assert_eq!(bus.to(CHOIR).send(Note(1)).await, Err(SendError::Stopped { receiver: Alto::NAME }));
    assert_eq!(bus.publish(Note(1)).await.unwrap().receivers, 0);
}
