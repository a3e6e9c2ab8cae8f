//! The bus next to raw tokio channels: each pair does the same work, on one thread, in one run.
//!
//! `cargo bench -p beehive`; the ratio of a pair is what counts, not its figures.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's")]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use beehive::{
    BuildError, Catalog, Context, Failure, Group, Handler, Message, Module, ModuleName, Node, NodeOptions,
    Sections, Wiring,
};
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, timeout};

const SINKS: Group = Group::new("sinks");
const DEADLINE: Duration = Duration::from_secs(5);
const MAILBOX: usize = 1024;
const FAN: u64 = 5;

/// A message of the size that most have: a few words and a pointer or two.
#[derive(Debug, Clone, Message)]
struct Event {
    number: u64,
    _payload: [u64; 7],
}

const fn event(number: u64) -> Event {
    Event { number, _payload: [0; 7] }
}

#[derive(Debug, Clone, Message)]
#[reply(u64)]
struct Double(u64);

/// Counts down to the end of a round.
#[derive(Clone, Default)]
struct Round(Rc<(Cell<u64>, Notify)>);

impl Round {
    fn begin(&self, messages: u64) {
        self.0.0.set(messages);
    }

    fn count(&self) {
        let left = self.0.0.get().wrapping_sub(1);
        self.0.0.set(left);
        if left == 0 {
            self.0.1.notify_one();
        }
    }

    async fn over(&self) {
        self.0.1.notified().await;
    }
}

macro_rules! sink {
    ($name:ident, $text:literal) => {
        struct $name(Round);

        impl Module for $name {
            const NAME: ModuleName = ModuleName::new($text);
            const GROUP: Group = SINKS;
            type Config = ();
            type Ports = Round;

            fn build((): (), round: Round) -> Result<Self, BuildError> {
                Ok(Self(round))
            }

            fn wire(wiring: &mut Wiring<Self>) {
                wiring.handles::<Event>();
            }
        }

        impl Handler<Event> for $name {
            async fn handle(&mut self, event: Event, _: &mut Context<Self>) -> Result<(), Failure> {
                std::hint::black_box(event.number);
                self.0.count();
                Ok(())
            }
        }
    };
}

sink!(Sink1, "sink-1");
sink!(Sink2, "sink-2");
sink!(Sink3, "sink-3");
sink!(Sink4, "sink-4");
sink!(Sink5, "sink-5");

struct Doubler;

impl Module for Doubler {
    const NAME: ModuleName = ModuleName::new("doubler");
    const GROUP: Group = Group::new("doublers");
    type Config = ();
    type Ports = ();

    fn build((): (), (): ()) -> Result<Self, BuildError> {
        Ok(Self)
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Double>();
    }
}

impl Handler<Double> for Doubler {
    async fn handle(&mut self, Double(number): Double, _: &mut Context<Self>) -> Result<u64, Failure> {
        Ok(number * 2)
    }
}

struct Bench {
    runtime: Runtime,
    local: LocalSet,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, local: LocalSet::new() }
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.local.block_on(&self.runtime, future)
    }

    fn launch(&self, catalog: Catalog, mailbox: usize) -> Node {
        let options = NodeOptions { mailbox, ..NodeOptions::default() };
        self.run(Node::launch(catalog, Sections::new(), options)).unwrap()
    }

    /// Starts a task that does with each message what the sinks do.
    fn raw_sink(&self, round: &Round, mailbox: usize) -> mpsc::Sender<Event> {
        let (sender, mut receiver) = mpsc::channel::<Event>(mailbox);
        let round = round.clone();
        self.local.spawn_local(async move {
            while let Some(event) = receiver.recv().await {
                std::hint::black_box(event.number);
                round.count();
            }
        });
        sender
    }
}

fn send(c: &mut Criterion) {
    let mut group = c.benchmark_group("send");
    let (bench, round) = (Bench::new(), Round::default());
    let node = bench.launch(Catalog::new().with::<Sink1>(round.clone()), MAILBOX);
    let bus = node.bus();
    group.bench_function("bus", |b| {
        b.iter_custom(|messages| {
            bench.run(async {
                let begun = Instant::now();
                round.begin(messages);
                for number in 0..messages {
                    bus.to(SINKS).send(event(number)).await.unwrap();
                }
                round.over().await;
                begun.elapsed()
            })
        });
    });
    let sender = bench.raw_sink(&round, MAILBOX);
    group.bench_function("raw", |b| {
        b.iter_custom(|messages| {
            bench.run(async {
                let begun = Instant::now();
                round.begin(messages);
                for number in 0..messages {
                    sender.send(event(number)).await.unwrap();
                }
                round.over().await;
                begun.elapsed()
            })
        });
    });
}

fn ask(c: &mut Criterion) {
    let mut group = c.benchmark_group("ask");
    let bench = Bench::new();
    let node = bench.launch(Catalog::new().with::<Doubler>(()), MAILBOX);
    let bus = node.bus();
    group.bench_function("bus", |b| {
        b.iter_custom(|messages| {
            bench.run(async {
                let begun = Instant::now();
                for number in 0..messages {
                    let answer = bus.to(Doubler::GROUP).ask(Double(number)).within(DEADLINE).await;
                    assert_eq!(answer, Ok(number * 2));
                }
                begun.elapsed()
            })
        });
    });
    let (sender, mut receiver) = mpsc::channel::<(u64, oneshot::Sender<u64>)>(MAILBOX);
    bench.local.spawn_local(async move {
        while let Some((number, reply)) = receiver.recv().await {
            reply.send(number * 2).unwrap();
        }
    });
    group.bench_function("raw", |b| {
        b.iter_custom(|messages| {
            bench.run(async {
                let begun = Instant::now();
                for number in 0..messages {
                    let (reply, answer) = oneshot::channel();
                    sender.send((number, reply)).await.unwrap();
                    assert_eq!(answer.await, Ok(number * 2));
                }
                begun.elapsed()
            })
        });
    });
    group.bench_function("raw_with_deadline", |b| {
        b.iter_custom(|messages| {
            bench.run(async {
                let begun = Instant::now();
                for number in 0..messages {
                    let (reply, answer) = oneshot::channel();
                    sender.send((number, reply)).await.unwrap();
                    assert_eq!(timeout(DEADLINE, answer).await, Ok(Ok(number * 2)));
                }
                begun.elapsed()
            })
        });
    });
}

fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan_out_to_5");
    let (bench, round) = (Bench::new(), Round::default());
    let catalog = Catalog::new()
        .with::<Sink1>(round.clone())
        .with::<Sink2>(round.clone())
        .with::<Sink3>(round.clone())
        .with::<Sink4>(round.clone())
        .with::<Sink5>(round.clone());
    let node = bench.launch(catalog, MAILBOX);
    let bus = node.bus();
    group.bench_function("bus", |b| {
        b.iter_custom(|messages| {
            bench.run(async {
                let begun = Instant::now();
                round.begin(messages * FAN);
                for number in 0..messages {
                    let delivered = bus.publish(event(number)).await.unwrap();
                    assert_eq!(delivered.receivers as u64, FAN);
                }
                round.over().await;
                begun.elapsed()
            })
        });
    });
    let senders: Vec<_> = (0..FAN).map(|_| bench.raw_sink(&round, MAILBOX)).collect();
    group.bench_function("raw", |b| {
        b.iter_custom(|messages| {
            bench.run(async {
                let begun = Instant::now();
                round.begin(messages * FAN);
                for number in 0..messages {
                    let event = event(number);
                    for sender in &senders {
                        sender.send(event.clone()).await.unwrap();
                    }
                }
                round.over().await;
                begun.elapsed()
            })
        });
    });
}

fn back_pressure(c: &mut Criterion) {
    const PRODUCERS: u64 = 4;
    const ROOM: usize = 16;
    let mut group = c.benchmark_group("back_pressure_4_into_16");
    let (bench, round) = (Bench::new(), Round::default());
    let node = bench.launch(Catalog::new().with::<Sink1>(round.clone()), ROOM);
    let bus = node.bus();
    group.bench_function("bus", |b| {
        b.iter_custom(|messages| {
            bench.run(async {
                let begun = Instant::now();
                round.begin(messages * PRODUCERS);
                let mut producers = JoinSet::new();
                for _ in 0..PRODUCERS {
                    let bus = bus.clone();
                    producers.spawn_local(async move {
                        for number in 0..messages {
                            bus.to(SINKS).send(event(number)).await.unwrap();
                        }
                    });
                }
                round.over().await;
                begun.elapsed()
            })
        });
    });
    let sender = bench.raw_sink(&round, ROOM);
    group.bench_function("raw", |b| {
        b.iter_custom(|messages| {
            bench.run(async {
                let begun = Instant::now();
                round.begin(messages * PRODUCERS);
                let mut producers = JoinSet::new();
                for _ in 0..PRODUCERS {
                    let sender = sender.clone();
                    producers.spawn_local(async move {
                        for number in 0..messages {
                            sender.send(event(number)).await.unwrap();
                        }
                    });
                }
                round.over().await;
                begun.elapsed()
            })
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = send, ask, fan_out, back_pressure
}
criterion_main!(benches);
