//! Who may take a lease, without a clock or a client.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::ObjectMeta;
use tokio::time::Instant;

use super::{LEASE, lease, micro};

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Another holds the lease.
    Wait,
    /// There is none.
    Create(Lease),
    /// It is this one's, or nobody's any longer.
    Replace(Lease),
}

/// What one participant knows of the lease.
#[derive(Debug)]
pub(super) struct Race {
    me: String,
    lasts: Duration,
    /// The lease as it was last seen to change, and when that was.
    seen: Option<(Lease, Instant)>,
}

impl Race {
    pub(super) fn new(me: String, lasts: Duration) -> Self {
        Self { me, lasts, seen: None }
    }

    pub(super) fn holder(&self) -> Option<&str> {
        let spec = self.seen.as_ref()?.0.spec.as_ref()?;
        spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    fn is_held(&self) -> bool {
        self.holder() == Some(self.me.as_str())
    }

    /// Remembers what the lease is.
    pub(super) fn saw(&mut self, lease: &Lease, now: Instant) {
        let is_news = self.seen.as_ref().is_none_or(|(seen, _)| seen.spec != lease.spec);
        let since = match &self.seen {
            Some((_, since)) if !is_news => *since,
            _ => now,
        };
        self.seen = Some((lease.clone(), since));
    }

    /// Decides by what was found. `now` is a steady clock's, by which a lease ends; `wall` is what is written.
    pub(super) fn step(&mut self, found: Option<Lease>, now: Instant, wall: Timestamp) -> Step {
        let Some(found) = found else {
            self.seen = None;
            let metadata = ObjectMeta {
                name: Some(LEASE.1.to_owned()),
                namespace: Some(LEASE.0.to_owned()),
                ..ObjectMeta::default()
            };
            return Step::Create(lease(self.spec(None, wall), metadata));
        };
        self.saw(&found, now);
        let Some((_, since)) = &self.seen else { return Step::Wait };
        let lasts = found.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let lasts =
            lasts.and_then(|seconds| u64::try_from(seconds).ok()).map_or(self.lasts, Duration::from_secs);
        let has_ended = now.saturating_duration_since(*since) >= lasts.max(self.lasts);
        if self.holder().is_some() && !self.is_held() && !has_ended {
            return Step::Wait;
        }
        Step::Replace(lease(self.spec(found.spec.as_ref(), wall), found.metadata))
    }

    /// Returns the lease as it is to be when this one goes.
    pub(super) fn released(&self, wall: Timestamp) -> Option<Lease> {
        let (seen, _) = self.seen.as_ref().filter(|_| self.is_held())?;
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(micro(wall)),
            ..seen.spec.clone().unwrap_or_default()
        };
        Some(lease(spec, seen.metadata.clone()))
    }

    fn spec(&self, before: Option<&LeaseSpec>, wall: Timestamp) -> LeaseSpec {
        let was_mine = before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(self.me.as_str()));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        let acquired = before.and_then(|spec| spec.acquire_time.clone()).filter(|_| was_mine);
        LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: Some(i32::try_from(self.lasts.as_secs().max(1)).unwrap_or(i32::MAX)),
            acquire_time: Some(acquired.unwrap_or_else(|| micro(wall))),
            renew_time: Some(micro(wall)),
            lease_transitions: Some(if was_mine || before.is_none() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(15);

    fn race(me: &str) -> Race {
        Race::new(me.to_owned(), LASTS)
    }

    fn wall(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn written(step: Step) -> Lease {
        match step {
            Step::Create(lease) | Step::Replace(lease) => lease,
            Step::Wait => panic!("it is not free"),
        }
    }

    #[test]
    fn the_first_takes_it_and_others_wait_for_as_long_as_it_changes() {
        let (mut a, mut b, start) = (race("a"), race("b"), Instant::now());
        let mut lease = written(a.step(None, start, wall(0)));
        for second in 1..60 {
            let now = start + Duration::from_secs(second);
            assert_eq!(b.step(Some(lease.clone()), now, wall(0)), Step::Wait, "{second}");
            lease = written(a.step(Some(lease), now, wall(i64::try_from(second).expect("small"))));
        }
        assert_eq!(lease.spec.as_ref().and_then(|spec| spec.lease_transitions), Some(0));
    }

    #[test]
    fn a_lease_that_stands_is_taken_over_after_its_time_by_the_own_clock_whatever_it_says() {
        let (mut a, mut b, start) = (race("a"), race("b"), Instant::now());
        // The holder's clock is a year behind.
        let lease = written(a.step(None, start, wall(-31_536_000)));
        assert_eq!(b.step(Some(lease.clone()), start, wall(0)), Step::Wait);
        assert_eq!(b.step(Some(lease.clone()), start + LASTS / 2, wall(7)), Step::Wait);
        let taken = written(b.step(Some(lease), start + LASTS, wall(15)));
        let spec = taken.spec.clone().expect("it says something");
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("b"), Some(1)));
        b.saw(&taken, start + LASTS);
        assert!(b.is_held());
        assert_eq!(a.step(Some(taken), start + LASTS, wall(15)), Step::Wait, "a has lost it");
    }

    #[test]
    fn one_that_was_released_is_free_at_once() {
        let (mut a, mut b, start) = (race("a"), race("b"), Instant::now());
        let lease = written(a.step(None, start, wall(0)));
        assert!(a.released(wall(1)).is_none(), "it is not known to be written");
        a.saw(&lease, start);
        assert_eq!(b.step(Some(lease), start, wall(0)), Step::Wait);
        let released = a.released(wall(1)).expect("it was held");
        let taken = written(b.step(Some(released), start, wall(1)));
        assert_eq!(taken.spec.and_then(|spec| spec.holder_identity).as_deref(), Some("b"));
    }

    #[test]
    fn a_lease_that_somebody_deleted_is_made_again() {
        let (mut a, start) = (race("a"), Instant::now());
        let lease = written(a.step(None, start, wall(0)));
        a.saw(&lease, start);
        assert!(matches!(a.step(None, start, wall(2)), Step::Create(_)));
    }
}
