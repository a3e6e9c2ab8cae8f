//! A failed module is rebuilt from its section and its ports; its mailbox and its address stay.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's")]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use beehive::{
    AskError, Backoff, BuildError, Catalog, Context, Failure, Group, Handler, Message, Module, ModuleName,
    ModuleState, Node, NodeOptions, Probe, Restart, RestartPolicy, Section, Sections, Wiring,
};

const GROUP: Group = Group::new("fragile");

#[derive(Debug, Clone, Message)]
struct Fail;
#[derive(Debug, Clone, Message)]
struct Panic;
#[derive(Debug, Clone, Message)]
struct PanicInTask;
#[derive(Debug, Clone, Message)]
struct SpawnForever;
#[derive(Debug, Clone, Message)]
struct HangForever;
/// Adds one and returns the sum; a fresh value begins at zero.
#[derive(Debug, Clone, Message)]
#[reply(u32)]
struct Add;

#[derive(Clone, Default)]
struct Outside {
    builds: Rc<Cell<u32>>,
    builds_to_refuse: Rc<Cell<u32>>,
    starts_to_fail: Rc<Cell<u32>>,
    drops_panic: Rc<Cell<bool>>,
    hung: Rc<Cell<bool>>,
}

struct Fragile {
    sum: u32,
    outside: Outside,
}

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(!self.outside.drops_panic.take() || std::thread::panicking(), "in the destructor");
    }
}

impl Module for Fragile {
    const NAME: ModuleName = ModuleName::new("fragile");
    const GROUP: Group = GROUP;
    type Config = ();
    type Ports = Outside;

    fn build((): (), outside: Outside) -> Result<Self, BuildError> {
        outside.builds.set(outside.builds.get() + 1);
        if let Some(left) = outside.builds_to_refuse.get().checked_sub(1)
            && outside.builds.get() > 1
        {
            outside.builds_to_refuse.set(left);
            return Err(BuildError::new("the parts do not fit"));
        }
        Ok(Self { sum: 0, outside })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Fail>().handles::<Panic>().handles::<PanicInTask>().handles::<Add>();
        wiring.handles::<SpawnForever>().handles::<HangForever>();
    }

    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), Failure> {
        if let Some(left) = self.outside.starts_to_fail.get().checked_sub(1) {
            self.outside.starts_to_fail.set(left);
            return Err(Failure::new("not yet"));
        }
        Ok(())
    }
}

impl Handler<Fail> for Fragile {
    async fn handle(&mut self, _: Fail, _: &mut Context<Self>) -> Result<(), Failure> {
        Err(Failure::because(std::io::Error::other("the disk is gone")))
    }
}

impl Handler<Panic> for Fragile {
    async fn handle(&mut self, _: Panic, _: &mut Context<Self>) -> Result<(), Failure> {
        tokio::task::yield_now().await;
        panic!("a bug");
    }
}

impl Handler<PanicInTask> for Fragile {
    async fn handle(&mut self, _: PanicInTask, cx: &mut Context<Self>) -> Result<(), Failure> {
        cx.spawn(async { panic!("a bug in a task") });
        Ok(())
    }
}

impl Handler<SpawnForever> for Fragile {
    async fn handle(&mut self, _: SpawnForever, cx: &mut Context<Self>) -> Result<(), Failure> {
        let alive = Rc::new(());
        let outside = self.outside.clone();
        outside.hung.set(true);
        struct Guard(Rc<Cell<bool>>, #[expect(dead_code, reason = "dropped with the guard")] Rc<()>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        let guard = Guard(outside.hung.clone(), alive);
        cx.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        Ok(())
    }
}

impl Handler<HangForever> for Fragile {
    async fn handle(&mut self, _: HangForever, cx: &mut Context<Self>) -> Result<(), Failure> {
        cx.spawn(async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            panic!("a bug in a task");
        });
        std::future::pending::<()>().await;
        Ok(())
    }
}

impl Handler<Add> for Fragile {
    async fn handle(&mut self, _: Add, _: &mut Context<Self>) -> Result<u32, Failure> {
        self.sum += 1;
        Ok(self.sum)
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_failed_handler_gets_its_module_a_fresh_value() {
    let outside = Outside::default();
    let probe = Probe::<Fragile>::new((), outside.clone()).start().await;
    assert_eq!(probe.ask(Add).await, Ok(1));
    assert_eq!(probe.ask(Add).await, Ok(2));
    probe.send(Fail).await;
    assert_eq!(probe.health().state, ModuleState::Restarting);
    assert_eq!(probe.health().last_failure.as_deref(), Some("Fail: the disk is gone"));
    assert_eq!(probe.ask(Add).await, Ok(1), "the fresh value begins at zero");
    assert_eq!(outside.builds.get(), 2);
    assert_eq!((probe.metrics().failed, probe.metrics().restarts), (1, 1));
    assert_eq!(probe.health().state, ModuleState::Running);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_panic_in_a_handler_is_a_failure() {
    let probe = Probe::<Fragile>::new((), Outside::default()).start().await;
    probe.send(Panic).await;
    assert_eq!(probe.health().last_failure.as_deref(), Some("Panic: panicked: a bug"));
    assert_eq!(probe.ask(Add).await, Ok(1));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_panic_in_a_task_fails_the_module_that_owns_it() {
    let probe = Probe::<Fragile>::new((), Outside::default()).start().await;
    assert_eq!(probe.ask(Add).await, Ok(1));
    probe.send(PanicInTask).await;
    assert_eq!(probe.health().last_failure.as_deref(), Some("a task panicked: a bug in a task"));
    assert_eq!(probe.ask(Add).await, Ok(1));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_panic_in_a_task_ends_a_handler_that_hangs() {
    let probe = Probe::<Fragile>::new((), Outside::default()).start().await;
    probe.send(HangForever).await;
    assert_eq!(probe.health().state, ModuleState::Running);
    probe.advance(Duration::from_secs(10)).await;
    assert_eq!(probe.metrics().restarts, 1);
    assert_eq!(probe.ask(Add).await, Ok(1));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_panic_in_a_destructor_does_not_end_the_engine() {
    let outside = Outside::default();
    let probe = Probe::<Fragile>::new((), outside.clone()).start().await;
    outside.drops_panic.set(true);
    probe.send(Fail).await;
    assert_eq!(probe.ask(Add).await, Ok(1));
    assert!(!outside.drops_panic.get(), "the destructor ran");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn tasks_are_gone_before_the_next_value_is_built() {
    let outside = Outside::default();
    let probe = Probe::<Fragile>::new((), outside.clone()).start().await;
    probe.send(SpawnForever).await;
    assert!(outside.hung.get());
    probe.send(Fail).await;
    assert!(!outside.hung.get(), "the old value's task was dropped with it");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn messages_wait_in_the_mailbox_while_the_module_is_rebuilt() {
    let outside = Outside::default();
    let probe = Probe::<Fragile>::new((), outside.clone()).start().await;
    probe.send(Fail).await;
    let bus = probe.bus();
    let answers = futures::future::join3(
        bus.to(GROUP).ask(Add).within(LONG),
        bus.to(GROUP).ask(Add).within(LONG),
        bus.to(GROUP).ask(Add).within(LONG),
    );
    assert_eq!(answers.await, (Ok(1), Ok(2), Ok(3)));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_ask_past_its_deadline_learns_that_the_server_restarts() {
    let slow = Backoff { min: LONG, max: LONG };
    let restart = RestartPolicy { backoff: slow, ..RestartPolicy::default() };
    let probe = Probe::<Fragile>::new((), Outside::default()).restart(restart).start().await;
    probe.send(Fail).await;
    let answer = probe.bus().to(GROUP).ask(Add).within(Duration::from_secs(2)).await;
    assert_eq!(answer, Err(AskError::Restarting { server: Fragile::NAME, request: "Add" }));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_refused_build_and_a_failed_start_are_failures_too() {
    let outside = Outside::default();
    outside.builds_to_refuse.set(2);
    let probe = Probe::<Fragile>::new((), outside.clone()).start().await;
    outside.starts_to_fail.set(1);
    probe.send(Fail).await;
    assert_eq!(probe.ask(Add).await, Ok(1));
    assert_eq!(outside.builds.get(), 5, "one to begin with, two refused, one that did not start, one");
    assert_eq!(probe.metrics().failed, 4);
    probe.stop().await;
}

fn launch(restart: RestartPolicy) -> impl Future<Output = Node> {
    let section = Section { restart: Some(restart), ..Section::default() };
    let sections = Sections::from([("fragile".to_owned(), section)]);
    async move {
        let catalog = Catalog::new().with::<Fragile>(Outside::default());
        Node::launch(catalog, sections, NodeOptions::default()).await.unwrap()
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_last_failure_in_a_row_fails_the_node() {
    let node = launch(RestartPolicy { give_up_after: 3, ..RestartPolicy::default() }).await;
    for _ in 0..3 {
        node.bus().to(GROUP).send(Fail).await.unwrap();
    }
    let waiting = node.bus();
    let waiting = waiting.to(GROUP).ask(Add).within(LONG);
    let (answer, failure) = futures::future::join(waiting, node.failed()).await;
    assert_eq!((failure.module, failure.failures), (Fragile::NAME, 3));
    assert_eq!(
        failure.to_string(),
        "fragile failed 3 times in a row and is given up: Fail: the disk is gone"
    );
    assert_eq!(answer, Err(AskError::Stopped { server: Fragile::NAME }), "nobody waits for the dead");
    assert_eq!(node.health().modules[0].state, ModuleState::Failed);
    node.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn never_means_never() {
    let node = launch(RestartPolicy { when: Restart::Never, ..RestartPolicy::default() }).await;
    node.bus().to(GROUP).send(Fail).await.unwrap();
    assert_eq!(node.failed().await.failures, 1);
    node.stop().await;
}
