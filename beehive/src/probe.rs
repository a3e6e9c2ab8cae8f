//! Runs one module and plays everyone else.
//!
//! ```
//! # use beehive::{BuildError, Context, Failure, Group, Handler, Message, Module, ModuleName, Probe, Wiring};
//! # use std::time::Duration;
//! const HALL: Group = Group::new("hall");
//!
//! #[derive(Debug, Clone, Message)]
//! struct BellRang;
//! #[derive(Debug, Clone, PartialEq, Message)]
//! struct DoorOpened;
//! #[derive(Debug, Clone, Message)]
//! #[reply(bool)]
//! struct MayEnter;
//!
//! struct Porter;
//! impl Module for Porter {
//!     const NAME: ModuleName = ModuleName::new("porter");
//!     const GROUP: Group = Group::new("staff");
//!     type Config = ();
//!     type Ports = ();
//!     fn build((): (), (): ()) -> Result<Self, BuildError> { Ok(Self) }
//!     fn wire(wiring: &mut Wiring<Self>) {
//!         wiring.handles::<BellRang>().asks::<MayEnter>(HALL).publishes::<DoorOpened>();
//!     }
//! }
//! impl Handler<BellRang> for Porter {
//!     async fn handle(&mut self, _: BellRang, cx: &mut Context<Self>) -> Result<(), Failure> {
//!         if cx.bus().to(HALL).ask(MayEnter).within(Duration::from_secs(1)).await == Ok(true) {
//!             cx.bus().publish(DoorOpened).await.map_err(Failure::because)?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! // In a test: #[tokio::test(flavor = "local", start_paused = true)]
//! beehive::probe::run(async {
//!     let probe = Probe::<Porter>::new((), ()).serve::<MayEnter>(HALL, |_| true).start().await;
//!     probe.send(BellRang).await;
//!     assert_eq!(probe.published::<DoorOpened>(), [DoorOpened]);
//!     assert_eq!(probe.asked::<MayEnter>().len(), 1);
//!     probe.stop().await;
//! });
//! ```

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};

use crate::bus::Bus;
use crate::core::Core;
use crate::error::AskError;
use crate::launch::{Built, Ready};
use crate::mailbox::{Mailbox, Ticket};
use crate::message::Message;
use crate::metrics::{Cell, Gauge, ModuleHealth, ModuleMetrics};
use crate::module::{Handler, Module};
use crate::name::{Group, ModuleName};
use crate::node::{Node, NodeOptions, Stopped};
use crate::parcel::Me;
use crate::reply::Responder;
use crate::route::{Letter, ModuleId, Port, Refused, RoutesBuilder, Sink};
use crate::supervise::RestartPolicy;

/// Who the probe is, to the module.
const EVERYONE: ModuleName = ModuleName::new("everyone-else");
/// How many rounds in a row must be quiet before all is said to be.
const QUIET_ROUNDS: u32 = 16;
/// After so many rounds a module is said never to become quiet.
const ROUNDS_MAX: u32 = 1_000_000;
/// How long the probe waits for an answer of the module.
const ASK_DEADLINE: Duration = Duration::from_secs(3_600);

/// Runs a test on a paused clock and a thread of its own kind, as modules need it. The same as
/// `#[tokio::test(flavor = "local", start_paused = true)]`.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("the system gives a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// Messages that the module under test sent.
#[derive(Default)]
pub(crate) struct Record(Mutex<BTreeMap<TypeId, Vec<Box<dyn Any + Send>>>>);

impl Record {
    fn add<E: Message>(&self, message: E) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(TypeId::of::<E>()).or_default().push(Box::new(message));
    }

    fn take<E: Message>(&self) -> Vec<E> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.remove(&TypeId::of::<E>()).unwrap_or_default();
        found.into_iter().filter_map(|message| message.downcast().ok().map(|message| *message)).collect()
    }
}

/// Adds a receiver for an event that the module publishes.
pub(crate) fn record<E: Message>(routes: &mut RoutesBuilder, record: &Arc<Record>, module: ModuleId) {
    struct Listener(Arc<Record>);
    impl<E: Message> Sink<E> for Listener {
        fn offer(&self, letter: Letter<E>) -> Result<(), Refused<E>> {
            self.0.add(letter.message);
            Ok(())
        }

        fn poll_put(
            &self,
            _: &task::Context<'_>,
            _: &mut Option<Ticket>,
            letter: &mut Option<Letter<E>>,
        ) -> Poll<Result<(), ()>> {
            if let Some(letter) = letter.take() {
                self.0.add(letter.message);
            }
            Poll::Ready(Ok(()))
        }

        fn leave(&self, _: Ticket) {}
    }
    let sink = Box::new(Listener(record.clone()));
    routes.add::<E>(Port { module, group: Group::new("everyone-else"), sink });
}

/// Sets up one of everyone else's answers.
type Server = Box<dyn FnOnce(&mut RoutesBuilder, &Arc<Record>, ModuleId, &mut JoinSet<()>)>;

/// The mailbox of one of everyone else's answers.
struct Desk<Q: Message> {
    mailbox: Mailbox<VecDeque<Letter<Q>>>,
    record: Arc<Record>,
}

impl<Q: Message + Clone> Desk<Q> {
    fn put(&self) -> impl FnOnce(&mut VecDeque<Letter<Q>>, Letter<Q>) {
        |letters, letter| {
            self.record.add(letter.message.clone());
            letters.push_back(letter);
        }
    }
}

impl<Q: Message + Clone> Sink<Q> for Desk<Q> {
    fn offer(&self, letter: Letter<Q>) -> Result<(), Refused<Q>> {
        Ok(self.mailbox.offer(letter, self.put())?)
    }

    fn poll_put(
        &self,
        cx: &task::Context<'_>,
        ticket: &mut Option<Ticket>,
        letter: &mut Option<Letter<Q>>,
    ) -> Poll<Result<(), ()>> {
        self.mailbox.poll_put(cx, ticket, letter, self.put())
    }

    fn leave(&self, ticket: Ticket) {
        self.mailbox.leave(ticket);
    }
}

struct NoMailbox;

impl Gauge for NoMailbox {
    fn depth(&self) -> (usize, usize) {
        (0, 0)
    }
}

/// A module to be probed, and what everyone else will answer.
pub struct ProbeBuilder<M: Module> {
    build: Box<dyn Fn() -> Result<M, String>>,
    servers: Vec<Server>,
    options: NodeOptions,
    restart: RestartPolicy,
    mailbox: usize,
}

impl<M: Module> ProbeBuilder<M> {
    fn new(config: M::Config, ports: M::Ports) -> Self
    where
        M::Config: Clone,
    {
        let build = move || M::build(config.clone(), ports.clone()).map_err(|error| error.to_string());
        let options = NodeOptions { name: "probe".to_owned(), ..NodeOptions::default() };
        let mailbox = options.mailbox;
        let restart = RestartPolicy::default();
        Self { build: Box::new(build), servers: Vec::new(), options, restart, mailbox }
    }

    /// Answers what the module asks or sends of type `Q` to `group`. What nobody answers is answered
    /// with [`AskError::NobodyServes`].
    #[must_use]
    pub fn serve<Q: Message + Clone>(
        self,
        group: Group,
        mut answer: impl FnMut(Q) -> Q::Reply + 'static,
    ) -> Self {
        self.serve_later::<Q>(group, move |question, responder| responder.reply(answer(question)))
    }

    /// Takes what the module asks of type `Q` from `group`, to be answered now, later or never.
    #[must_use]
    pub fn serve_later<Q: Message + Clone>(
        mut self,
        group: Group,
        mut answer: impl FnMut(Q, Responder<Q::Reply>) + 'static,
    ) -> Self {
        self.servers.push(Box::new(move |routes, record, module, tasks| {
            let (mailbox, letters) = Mailbox::<VecDeque<Letter<Q>>>::new(1024);
            routes.add::<Q>(Port { module, group, sink: Box::new(Desk { mailbox, record: record.clone() }) });
            tasks.spawn_local(async move {
                while let Some(letter) = poll_fn(|cx| letters.poll_take(cx, VecDeque::pop_front)).await {
                    consume_budget().await;
                    answer(letter.message, Responder::new(letter.reply));
                }
            });
        }));
        self
    }

    /// Sets the node's options: seed, clock, trace, buggify and so on.
    #[must_use]
    pub fn options(mut self, options: NodeOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets how the module is supervised.
    #[must_use]
    pub const fn restart(mut self, restart: RestartPolicy) -> Self {
        self.restart = restart;
        self
    }

    /// Sets how many messages the module's mailbox holds.
    #[must_use]
    pub const fn mailbox(mut self, mailbox: usize) -> Self {
        self.mailbox = mailbox;
        self
    }

    /// Starts the module and waits until all is quiet.
    ///
    /// # Panics
    ///
    /// When the module cannot be built; [`try_start`](Self::try_start) returns that as an error.
    pub async fn start(self) -> Probe<M> {
        match self.try_start().await {
            Ok(probe) => probe,
            Err(error) => panic!("{} cannot be built: {error}", M::NAME),
        }
    }

    /// Starts the module and waits until all is quiet.
    ///
    /// # Errors
    ///
    /// When the module cannot be built: with the text of the build error.
    pub async fn try_start(self) -> Result<Probe<M>, String> {
        let ready = Ready::<M>::new(self.build, self.restart, self.mailbox)?;
        let me = ready.me(ModuleId::at(0));
        let record = Arc::new(Record::default());
        let everyone = ModuleId::at(1);
        let built: Vec<Box<dyn Built>> = vec![Box::new(ready)];
        let mut tasks = JoinSet::new();
        let node = Node::start(built, &self.options, |built, routes, cells| {
            cells.push(Cell::new(EVERYONE, Group::new("everyone-else"), Box::new(NoMailbox)));
            for module in built {
                module.add_records(routes, &record, everyone);
            }
            for server in self.servers {
                server(routes, &record, everyone, &mut tasks);
            }
        });
        let core = node.core().clone();
        let probe = Probe { node: Some(node), core, me, record, _tasks: tasks, is_stopped: false };
        probe.settle().await;
        Ok(probe)
    }
}

/// A module under test, running.
pub struct Probe<M: Module> {
    node: Option<Node>,
    core: Arc<Core>,
    me: Me<M>,
    record: Arc<Record>,
    _tasks: JoinSet<()>,
    is_stopped: bool,
}

impl<M: Module> Probe<M> {
    /// Prepares a module to be started. The configuration is not validated; each value of the module
    /// gets a copy.
    #[expect(clippy::new_ret_no_self, reason = "a probe has a module, and that is not started yet")]
    #[must_use]
    pub fn new(config: M::Config, ports: M::Ports) -> ProbeBuilder<M>
    where
        M::Config: Clone,
    {
        ProbeBuilder::new(config, ports)
    }

    /// Sends the module a message and waits until all is quiet.
    ///
    /// # Panics
    ///
    /// When the module has stopped.
    pub async fn send<E: Message>(&self, message: E)
    where
        M: Handler<E>,
    {
        if let Err(error) = self.me.send(message).await {
            panic!("the probe cannot send {}: {error}", E::NAME);
        }
        self.settle().await;
    }

    /// Asks the module and waits for the answer, then until all is quiet. On a paused clock, time
    /// passes as the module needs it.
    ///
    /// # Errors
    ///
    /// When there is no answer, as any asker would see it.
    pub async fn ask<Q: Message>(&self, question: Q) -> Result<Q::Reply, AskError> {
        let answer = self.bus().to(M::GROUP).ask(question).within(ASK_DEADLINE).await;
        self.settle().await;
        answer
    }

    /// Returns the bus as an outsider sees it, for questions that are to run beside the test.
    #[must_use]
    pub fn bus(&self) -> Bus {
        Bus::new(self.core.clone(), ModuleId::OUTSIDE)
    }

    /// Returns the events of this type that the module published since this was last called.
    #[must_use]
    pub fn published<E: Message>(&self) -> Vec<E> {
        self.record.take()
    }

    /// Returns the requests of this type that the module asked or sent since this was last called.
    /// Only what the probe serves is kept.
    #[must_use]
    pub fn asked<Q: Message>(&self) -> Vec<Q> {
        self.record.take()
    }

    /// Lets time pass, timer by timer, and waits until all is quiet. Takes that long in earnest if
    /// the clock is not paused.
    pub async fn advance(&self, by: Duration) {
        let until = Instant::now() + by;
        self.settle().await;
        sleep_until(until).await;
        self.settle().await;
    }

    /// Waits until nothing more happens unless time passes.
    pub async fn settle(&self) {
        let mut quiet = 0;
        let mut before = self.core.activity.get();
        for _ in 0..ROUNDS_MAX {
            tokio::task::yield_now().await;
            let activity = self.core.activity.get();
            quiet = if activity == before { quiet + 1 } else { 0 };
            before = activity;
            if quiet == QUIET_ROUNDS {
                return;
            }
        }
        panic!("{} never becomes quiet: it works without end and without waiting", M::NAME);
    }

    /// Returns how the module is. After a stop, how it ended.
    #[must_use]
    pub fn health(&self) -> ModuleHealth {
        self.core.cell(ModuleId::at(0)).health()
    }

    /// Returns the module's figures.
    #[must_use]
    pub fn metrics(&self) -> ModuleMetrics {
        self.core.cell(ModuleId::at(0)).metrics()
    }

    /// Stops the module gracefully and waits until all is quiet. Returns whether it ended in time.
    pub async fn stop(mut self) -> Stopped {
        let stopped = match self.node.take() {
            Some(node) => node.stop().await,
            None => Stopped::default(),
        };
        self.settle().await;
        self.is_stopped = true;
        stopped
    }
}

impl<M: Module> Drop for Probe<M> {
    /// Panics if the module was stopped and a task of it is still there.
    fn drop(&mut self) {
        let tasks = self.core.tasks.load(Ordering::Relaxed);
        assert!(
            !self.is_stopped || tasks == 0 || std::thread::panicking(),
            "{} has stopped and still owns {tasks} tasks",
            M::NAME
        );
    }
}
