//! A graceful stop: last started first, mailboxes emptied, a goodbye, a deadline.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use beehive::{
    BuildError, Catalog, Context, Failure, Group, Handler, Message, Module, ModuleName, ModuleState, Node,
    NodeOptions, Sections, Wiring,
};

const CREW: Group = Group::new("crew");

#[derive(Debug, Clone, Message)]
struct Work(u32);
#[derive(Debug, Clone, Message)]
struct Hang;

#[derive(Clone, Default)]
struct Outside {
    log: Rc<RefCell<Vec<String>>>,
    tasks: Rc<Cell<u32>>,
}

/// Counts a task for as long as it exists.
struct Alive(Rc<Cell<u32>>);

impl Alive {
    fn new(tasks: &Rc<Cell<u32>>) -> Self {
        tasks.set(tasks.get() + 1);
        Self(tasks.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

macro_rules! sailor {
    ($name:ident, $text:literal) => {
        struct $name(Outside);

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.log.borrow_mut().push(format!("{} dropped", $text));
            }
        }

        impl Module for $name {
            const NAME: ModuleName = ModuleName::new($text);
            const GROUP: Group = CREW;
            type Config = ();
            type Ports = Outside;

            fn build((): (), outside: Outside) -> Result<Self, BuildError> {
                Ok(Self(outside))
            }

            fn wire(wiring: &mut Wiring<Self>) {
                wiring.handles::<Work>().handles::<Hang>();
            }

            async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
                self.0.log.borrow_mut().push(format!("{} started", $text));
                let alive = Alive::new(&self.0.tasks);
                cx.spawn(async move {
                    let _alive = alive;
                    std::future::pending::<()>().await;
                });
                Ok(())
            }

            async fn stopping(&mut self, _: &mut Context<Self>) {
                let tasks = self.0.tasks.get();
                self.0.log.borrow_mut().push(format!("{} says goodbye, {tasks} tasks", $text));
            }
        }

        impl Handler<Work> for $name {
            async fn handle(&mut self, Work(number): Work, _: &mut Context<Self>) -> Result<(), Failure> {
                tokio::time::sleep(Duration::from_millis(10)).await;
                self.0.log.borrow_mut().push(format!("{} did {number}", $text));
                Ok(())
            }
        }

        impl Handler<Hang> for $name {
            async fn handle(&mut self, _: Hang, _: &mut Context<Self>) -> Result<(), Failure> {
                std::future::pending().await
            }
        }
    };
}

sailor!(Captain, "captain");
sailor!(Mate, "mate");

async fn node(outside: &Outside) -> Node {
    let catalog = Catalog::new().with::<Captain>(outside.clone()).with::<Mate>(outside.clone());
    let node = Node::launch(catalog, Sections::new(), NodeOptions::default()).await.unwrap();
    assert!(node.health().is_healthy());
    node
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_last_started_ends_first_after_its_mailbox_is_empty() {
    let outside = Outside::default();
    let node = node(&outside).await;
    for number in 1..=2 {
        assert_eq!(node.bus().publish(Work(number)).await.unwrap().receivers, 2);
    }
    let stopped = node.stop().await;
    assert!(stopped.overran.is_empty());
    let log = outside.log.borrow().clone();
    let of = |who: &str| log.iter().filter(|line| line.starts_with(who)).cloned().collect::<Vec<_>>();
    assert_eq!(
        of("mate"),
        ["mate started", "mate did 1", "mate did 2", "mate says goodbye, 2 tasks", "mate dropped"]
    );
    assert_eq!(of("captain").last().map(String::as_str), Some("captain dropped"));
    let at = |line: &str| log.iter().position(|other| other == line);
    assert!(at("captain started") < at("mate started"));
    assert!(at("mate dropped") < at("captain says goodbye, 1 tasks"), "{log:?}");
    assert_eq!(outside.tasks.get(), 0, "tasks end with their module");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_module_that_hangs_is_dropped_at_its_share_of_the_deadline() {
    let outside = Outside::default();
    let node = node(&outside).await;
    assert_eq!(node.bus().publish(Hang).await.unwrap().receivers, 2);
    let begun = tokio::time::Instant::now();
    let stopped = node.stop().await;
    assert_eq!(stopped.overran, [Mate::NAME, Captain::NAME]);
    assert!(begun.elapsed() <= Duration::from_millis(10_010), "{:?}", begun.elapsed());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(outside.tasks.get(), 0);
    let log = outside.log.borrow().clone();
    assert!(log.contains(&"mate dropped".to_owned()) && log.contains(&"captain dropped".to_owned()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn dropping_a_node_drops_its_modules_at_once() {
    let outside = Outside::default();
    let node = node(&outside).await;
    let bus = node.bus();
    assert_eq!(bus.publish(Work(1)).await.unwrap().receivers, 2);
    drop(node);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(outside.tasks.get(), 0);
    let log = outside.log.borrow().clone();
    assert_eq!(log.iter().filter(|line| line.ends_with("dropped")).count(), 2, "{log:?}");
    assert!(!log.iter().any(|line| line.contains("goodbye")));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn two_nodes_of_the_same_modules_live_in_one_process() {
    let (one, two) = (Outside::default(), Outside::default());
    let (first, second) = (node(&one).await, node(&two).await);
    assert_eq!(first.bus().publish(Work(1)).await.unwrap().receivers, 2);
    first.stop().await;
    assert!(one.log.borrow().contains(&"mate did 1".to_owned()));
    assert_eq!(two.log.borrow().len(), 2, "the other node heard nothing");
    assert!(second.health().modules.iter().all(|module| module.state == ModuleState::Running));
    second.stop().await;
}
