//! Timers are messages: in order, never piling up, gone with the value that set them.

use std::time::Duration;

use beehive::{
    BuildError, Context, Failure, Group, Handler, Message, Module, ModuleName, Probe, TimerKey, Wiring,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Message)]
struct Tick;
#[derive(Debug, Clone, Message)]
struct Alarm;
#[derive(Debug, Clone, Message)]
struct Cancel;
#[derive(Debug, Clone, Message)]
struct Fail;
#[derive(Debug, Clone, Message)]
struct Flood(u32);
/// Returns the times, in milliseconds since the start, at which messages came.
#[derive(Debug, Clone, Message)]
#[reply(Vec<(&'static str, u128)>)]
struct Log;

struct Clockwork {
    slow: Duration,
    begun: Option<tokio::time::Instant>,
    timer: Option<TimerKey>,
    log: Vec<(&'static str, u128)>,
}

impl Clockwork {
    fn note(&mut self, what: &'static str, cx: &Context<Self>) {
        let begun = self.begun.expect("started has run");
        self.log.push((what, (cx.now() - begun).as_millis()));
    }
}

impl Module for Clockwork {
    const NAME: ModuleName = ModuleName::new("clockwork");
    const GROUP: Group = Group::new("clockworks");
    type Config = ();
    type Ports = Duration;

    fn build((): (), slow: Duration) -> Result<Self, BuildError> {
        Ok(Self { slow, begun: None, timer: None, log: Vec::new() })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Tick>().handles::<Alarm>().handles::<Cancel>().handles::<Fail>();
        wiring.handles::<Log>().handles::<Flood>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.begun = Some(cx.now());
        self.timer = Some(cx.every(SECOND, Tick));
        cx.after(2500 * MS, Alarm);
        Ok(())
    }
}

impl Handler<Tick> for Clockwork {
    async fn handle(&mut self, _: Tick, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.note("tick", cx);
        tokio::time::sleep(self.slow).await;
        Ok(())
    }
}

impl Handler<Alarm> for Clockwork {
    async fn handle(&mut self, _: Alarm, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.note("alarm", cx);
        Ok(())
    }
}

impl Handler<Cancel> for Clockwork {
    async fn handle(&mut self, _: Cancel, cx: &mut Context<Self>) -> Result<(), Failure> {
        if let Some(timer) = self.timer {
            cx.cancel(timer);
            cx.cancel(timer);
        }
        Ok(())
    }
}

impl Handler<Fail> for Clockwork {
    async fn handle(&mut self, _: Fail, _: &mut Context<Self>) -> Result<(), Failure> {
        Err(Failure::new("on demand"))
    }
}

impl Handler<Flood> for Clockwork {
    async fn handle(&mut self, Flood(left): Flood, cx: &mut Context<Self>) -> Result<(), Failure> {
        tokio::time::advance(MS).await;
        if left > 0 {
            cx.me().try_send(Flood(left - 1)).map_err(Failure::because)?;
        }
        Ok(())
    }
}

impl Handler<Log> for Clockwork {
    async fn handle(&mut self, _: Log, _: &mut Context<Self>) -> Result<Vec<(&'static str, u128)>, Failure> {
        Ok(std::mem::take(&mut self.log))
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn timers_come_at_their_times_and_in_their_order() {
    let probe = Probe::<Clockwork>::new((), Duration::ZERO).start().await;
    probe.advance(3200 * MS).await;
    let log = probe.ask(Log).await.unwrap();
    assert_eq!(log, [("tick", 1000), ("tick", 2000), ("alarm", 2500), ("tick", 3000)]);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_slow_module_skips_the_ticks_that_it_missed() {
    let probe = Probe::<Clockwork>::new((), 2300 * MS).start().await;
    probe.advance(8100 * MS).await;
    let log = probe.ask(Log).await.unwrap();
    let ticks: Vec<_> = log.into_iter().filter(|(what, _)| *what == "tick").map(|(_, at)| at).collect();
    assert_eq!(ticks, [1000, 3300, 5600, 7900], "one for each free moment, none for the past");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_cancelled_timer_is_silent() {
    let probe = Probe::<Clockwork>::new((), Duration::ZERO).start().await;
    probe.advance(1500 * MS).await;
    probe.send(Cancel).await;
    probe.advance(5 * SECOND).await;
    assert_eq!(probe.ask(Log).await.unwrap(), [("tick", 1000), ("alarm", 2500)]);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn timers_end_with_the_value_that_set_them() {
    let probe = Probe::<Clockwork>::new((), Duration::ZERO).start().await;
    probe.advance(900 * MS).await;
    probe.send(Fail).await;
    probe.advance(4 * SECOND).await;
    let log = probe.ask(Log).await.unwrap();
    assert_eq!(log.first(), Some(&("tick", 1000)), "a second after the new start, not after the old one");
    assert_eq!(log.iter().filter(|(what, _)| *what == "tick").count(), 3);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_full_mailbox_does_not_starve_timers() {
    let probe = Probe::<Clockwork>::new((), Duration::ZERO).start().await;
    probe.send(Flood(3000)).await;
    let log = probe.ask(Log).await.unwrap();
    assert_eq!(log.len(), 4, "{log:?}");
    probe.stop().await;
}
