//! Which transport is dialed first, and when the hub comes back to QUIC.

use std::sync::Arc;
use std::time::Duration;

use beehive::{Context, Failure, Handler};
use protocol::NodeName;
use tokio::time::{Instant, timeout};
use wire::link::{Dialed, Transport};

use crate::EdgeHub;
use crate::connect::dial_to;
use crate::messages::{Established, QuicTried, TryQuic};

/// The pause before QUIC is tried again after it failed, and the longest one.
const AVOIDED: (Duration, Duration) = (Duration::from_secs(10 * 60), Duration::from_secs(2 * 3600));

/// What a dial or a session told of QUIC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum QuicSaid {
    /// Nothing.
    #[default]
    Nothing,
    /// It works on this path.
    Works,
    /// It does not, and WebSocket may.
    Fails,
}

/// What is known of the transports on the way to the cloud.
#[derive(Debug, Default)]
pub(crate) struct Transports {
    uses_quic: bool,
    /// What carries the session that takes requests.
    pub(crate) over: Option<Transport>,
    /// How often QUIC failed since it last worked.
    failures: u32,
    /// Until when WebSocket is dialed first.
    avoided_until: Option<Instant>,
    /// Whether [`TryQuic`] is to come or a trial is under way: there is one at most.
    is_to_try: bool,
    /// A link that a trial brought, for the next session.
    proven: Option<Dialed>,
}

impl Transports {
    pub(crate) fn new(uses_quic: bool) -> Self {
        Self { uses_quic, ..Self::default() }
    }

    /// Returns what to dial, the first one first. The second is for when the first is not reached.
    pub(crate) fn order(&self, now: Instant) -> Vec<Transport> {
        let avoids = self.avoided_until.is_some_and(|until| now < until);
        match (self.uses_quic, avoids) {
            (false, _) => vec![Transport::WebSocket],
            (true, false) => vec![Transport::Quic, Transport::WebSocket],
            (true, true) => vec![Transport::WebSocket, Transport::Quic],
        }
    }

    /// Takes the link that a trial brought.
    pub(crate) fn take_proven(&mut self) -> Option<Dialed> {
        self.proven.take()
    }

    /// Notes what was told of QUIC; `roll` is the dice, uniform over its range.
    pub(crate) fn note(&mut self, said: QuicSaid, now: Instant, roll: u32) {
        match said {
            QuicSaid::Nothing => {}
            QuicSaid::Works => (self.failures, self.avoided_until) = (0, None),
            QuicSaid::Fails => {
                let (first, longest) = AVOIDED;
                let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
                let pause = first.saturating_mul(factor).min(longest);
                self.failures = self.failures.saturating_add(1);
                // Up to half of it more, so that the nodes of a cloud do not come back in step.
                let more = pause.mul_f64(f64::from(roll) / f64::from(u32::MAX) / 2.0);
                self.avoided_until = Some(now + pause + more);
            }
        }
    }

    /// Returns how long to wait until QUIC is tried beside a session over WebSocket; `None` when it is
    /// not, or will be anyway.
    fn pause(&mut self, now: Instant) -> Option<Duration> {
        let until = self.avoided_until.filter(|_| self.uses_quic && !self.is_to_try)?;
        self.is_to_try = true;
        Some(until.saturating_duration_since(now))
    }
}

impl EdgeHub {
    /// Notes how a session came to be, and sees to it that one over WebSocket ends once QUIC works.
    pub(crate) fn note_established(&mut self, established: &Established, cx: &mut Context<Self>) {
        self.transports.over = Some(established.transport);
        if established.quic != QuicSaid::Nothing {
            let roll = rand::Rng::random(cx.rng());
            self.transports.note(established.quic, cx.now(), roll);
        }
        if established.transport == Transport::WebSocket {
            self.plan_trial(cx);
        }
    }

    fn plan_trial(&mut self, cx: &mut Context<Self>) {
        if let Some(pause) = self.transports.pause(cx.now()) {
            cx.after(pause, TryQuic);
        }
    }
}

impl Handler<TryQuic> for EdgeHub {
    async fn handle(&mut self, _: TryQuic, cx: &mut Context<Self>) -> Result<(), Failure> {
        let now = cx.now();
        let is_early = self.transports.avoided_until.is_some_and(|until| now < until);
        if is_early || self.transports.over != Some(Transport::WebSocket) {
            // Another failure came in between, or the next dial begins with QUIC by itself.
            self.transports.is_to_try = false;
            if self.transports.over == Some(Transport::WebSocket) {
                self.plan_trial(cx);
            }
            return Ok(());
        }
        let node = NodeName::parse(cx.node()).map_err(Failure::because)?;
        let to = dial_to(&self.config, &node, Transport::Quic);
        let (dialer, me) = (Arc::clone(&self.ports.dialer), cx.me());
        cx.spawn(async move {
            let dialed = match timeout(to.handshake_timeout, dialer.dial(to)).await {
                Ok(Ok(dialed)) => Some(dialed),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "QUIC does not work yet");
                    None
                }
                Err(_) => None,
            };
            if me.send(QuicTried(dialed)).await.is_err() {
                tracing::debug!("the hub stopped while QUIC was tried");
            }
        });
        Ok(())
    }
}

impl Handler<QuicTried> for EdgeHub {
    async fn handle(&mut self, QuicTried(dialed): QuicTried, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.transports.is_to_try = false;
        let is_on_websocket = self.transports.over == Some(Transport::WebSocket);
        match dialed {
            Some(dialed) => {
                tracing::info!("the cloud is reached over QUIC again");
                // It has yet to show that it carries a session: what failed before is not forgotten.
                self.transports.avoided_until = None;
                if is_on_websocket {
                    self.transports.proven = Some(dialed);
                    self.end_session();
                }
            }
            None => {
                let roll = rand::Rng::random(cx.rng());
                self.transports.note(QuicSaid::Fails, cx.now(), roll);
                if is_on_websocket {
                    self.plan_trial(cx);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Transport; 2] = [Transport::Quic, Transport::WebSocket];
    const AVOIDING: [Transport; 2] = [Transport::WebSocket, Transport::Quic];

    #[test]
    fn quic_comes_first_except_for_a_while_after_it_failed() {
        let now = Instant::now();
        let mut transports = Transports::new(true);
        assert_eq!(transports.order(now), BOTH);
        transports.note(QuicSaid::Fails, now, 0);
        assert_eq!(transports.order(now + AVOIDED.0 / 2), AVOIDING);
        assert_eq!(transports.order(now + AVOIDED.0), BOTH);
        transports.note(QuicSaid::Nothing, now, 0);
        assert_eq!(transports.order(now), AVOIDING);
        transports.note(QuicSaid::Works, now, 0);
        assert_eq!(transports.order(now), BOTH);
        assert_eq!(Transports::new(false).order(now), [Transport::WebSocket]);
    }

    #[test]
    fn it_is_avoided_for_longer_each_time_it_fails_until_it_works() {
        let now = Instant::now();
        let mut transports = Transports::new(true);
        let mut fails = |said: QuicSaid, roll: u32| {
            transports.note(said, now, roll);
            transports.avoided_until.map(|until| (until - now).as_secs() / 60)
        };
        let minutes: Vec<_> = (0..7).filter_map(|_| fails(QuicSaid::Fails, 0)).collect();
        assert_eq!(minutes, [10, 20, 40, 80, 120, 120, 120]);
        assert_eq!(fails(QuicSaid::Fails, u32::MAX), Some(180), "the dice add up to a half");
        assert_eq!(fails(QuicSaid::Works, 0), None);
        assert_eq!(fails(QuicSaid::Fails, 0), Some(10));
    }

    #[test]
    fn one_trial_is_planned_at_a_time() {
        let now = Instant::now();
        let mut transports = Transports::new(true);
        assert_eq!(transports.pause(now), None, "QUIC did not fail");
        transports.note(QuicSaid::Fails, now, 0);
        assert_eq!(transports.pause(now), Some(AVOIDED.0));
        assert_eq!(transports.pause(now), None, "it is planned");
    }
}
