//! Time, randomness and names are given to a module, and decided by its node's options.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use beehive::{
    Buggify, BuildError, Clock, Context, Failure, Group, Handler, Message, Module, ModuleName, NodeOptions,
    Probe, Wiring,
};

/// Returns what the module was given.
#[derive(Debug, Clone, Message)]
#[reply(Given)]
struct Tell;
#[derive(Debug, Clone, Message)]
struct Fail;

#[derive(Debug, Clone, PartialEq)]
struct Given {
    uuid: [u8; 16],
    wall_clock: SystemTime,
    node: String,
    strikes: usize,
}

struct Curious;

impl Module for Curious {
    const NAME: ModuleName = ModuleName::new("curious");
    const GROUP: Group = Group::new("minds");
    type Config = ();
    type Ports = ();

    fn build((): (), (): ()) -> Result<Self, BuildError> {
        Ok(Self)
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Tell>().handles::<Fail>();
    }
}

impl Handler<Tell> for Curious {
    async fn handle(&mut self, _: Tell, cx: &mut Context<Self>) -> Result<Given, Failure> {
        assert_eq!(cx.name(), Self::NAME);
        let strikes = (0..1000).filter(|_| cx.buggify("point")).count();
        Ok(Given { uuid: cx.uuid(), wall_clock: cx.wall_clock(), node: cx.node().to_owned(), strikes })
    }
}

impl Handler<Fail> for Curious {
    async fn handle(&mut self, _: Fail, _: &mut Context<Self>) -> Result<(), Failure> {
        Err(Failure::new("on demand"))
    }
}

struct Noon;

impl Clock for Noon {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(12 * 3600)
    }
}

/// Strikes every so many times.
struct Often(u64, AtomicU64);

impl Buggify for Often {
    fn strikes(&self, node: &str, point: &'static str) -> bool {
        assert_eq!((node, point), ("n-1", "point"));
        self.1.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.0)
    }
}

async fn given(seed: u64, buggify: Option<Arc<dyn Buggify>>) -> Vec<Given> {
    let options = NodeOptions {
        name: "n-1".to_owned(),
        seed,
        clock: Arc::new(Noon),
        buggify,
        ..NodeOptions::default()
    };
    let probe = Probe::<Curious>::new((), ()).options(options).start().await;
    let mut all = Vec::new();
    for _ in 0..2 {
        all.extend(probe.ask(Tell).await);
        probe.send(Fail).await;
        probe.advance(Duration::from_secs(60)).await;
    }
    probe.stop().await;
    all
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_same_seed_gives_the_same_and_another_seed_another() {
    let first = given(1, None).await;
    assert_eq!(first, given(1, None).await);
    let other = given(2, None).await;
    assert_eq!(first.len(), 2);
    assert_ne!(first[0].uuid, first[1].uuid, "a fresh value does not repeat the last one's");
    assert_ne!(first[0].uuid, other[0].uuid);
    assert_eq!((first[0].uuid[6] >> 4, first[0].uuid[8] >> 6), (4, 2), "version and variant");
    assert_eq!(first[0].wall_clock, Noon.now());
    assert_eq!(first[0].node, "n-1");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nothing_goes_wrong_on_purpose_unless_asked_for() {
    assert_eq!(given(1, None).await[0].strikes, 0);
    let often: Arc<dyn Buggify> = Arc::new(Often(10, AtomicU64::new(0)));
    assert_eq!(given(1, Some(often)).await[0].strikes, 100);
}
