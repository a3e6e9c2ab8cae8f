//! What becomes of a failed module: a pure state machine.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::config::duration;

/// When a failed module is rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Restart {
    /// After a failure, until `give_up_after` failures in a row.
    #[default]
    Failure,
    /// After a failure, without end.
    Always,
    /// The first failure is the last.
    Never,
}

/// How long a failed module waits before it is rebuilt: twice as long each time, between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub min: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { min: Duration::from_secs(1), max: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// Returns the wait after so many failures in a row, before jitter.
    #[must_use]
    pub fn after(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        self.min.saturating_mul(1 << doublings).min(self.max)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is no range of durations such as 1s..30s");
        let (min, max) = text.split_once("..").ok_or_else(expected)?;
        let min = duration::parse(min).map_err(|error| error.to_string())?;
        let max = duration::parse(max).map_err(|error| error.to_string())?;
        if min > max {
            return Err(format!("{text:?} begins with the longer duration"));
        }
        Ok(Self { min, max })
    }
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", duration::format(self.min), duration::format(self.max))
    }
}

impl Serialize for Backoff {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Backoff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// How a module is supervised; `restart:` in its section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RestartPolicy {
    /// When it is rebuilt.
    pub when: Restart,
    /// How long it waits before that.
    pub backoff: Backoff,
    /// After how many failures in a row it is given up, and the node with it.
    pub give_up_after: u32,
    /// How long a handler may wait, for something other than another module, before that counts as a
    /// failure. Zero: as long as it likes.
    #[serde(with = "duration")]
    pub stuck_for: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            when: Restart::Failure,
            backoff: Backoff::default(),
            give_up_after: 10,
            stuck_for: Duration::from_secs(300),
        }
    }
}

/// What is to be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Wait, then rebuild the module.
    Restart {
        /// How long to wait.
        after: Duration,
    },
    /// The module is beyond repair.
    GiveUp,
}

/// Counts a module's failures and judges each.
#[derive(Debug)]
pub struct Supervisor {
    policy: RestartPolicy,
    failures: u32,
}

impl Supervisor {
    /// Makes the supervisor of a module that never failed.
    #[must_use]
    pub const fn new(policy: RestartPolicy) -> Self {
        Self { policy, failures: 0 }
    }

    /// Returns how long a handler may wait before that counts as a failure.
    #[must_use]
    pub const fn stuck_for(&self) -> Duration {
        self.policy.stuck_for
    }

    /// Returns how often the module failed in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Judges a failure of a module that ran for `ran`. `jitter`, between 0 and 1, shortens the wait
    /// by up to a quarter, so that modules that failed together do not come back together.
    ///
    /// A module that ran for at least the longest backoff was healthy: its count begins anew.
    pub fn failed(&mut self, ran: Duration, jitter: f64) -> Verdict {
        if ran >= self.policy.backoff.max && !ran.is_zero() {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let beyond = match self.policy.when {
            Restart::Never => true,
            Restart::Always => false,
            Restart::Failure => self.failures >= self.policy.give_up_after.max(1),
        };
        if beyond {
            return Verdict::GiveUp;
        }
        let wait = self.policy.backoff.after(self.failures);
        Verdict::Restart { after: wait.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let mut supervisor = Supervisor::new(RestartPolicy::default());
        let waits: Vec<u64> = (0..7)
            .map(|_| match supervisor.failed(Duration::ZERO, 0.0) {
                Verdict::Restart { after } => after.as_secs(),
                Verdict::GiveUp => 0,
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn jitter_only_shortens_the_wait() {
        let mut supervisor = Supervisor::new(RestartPolicy::default());
        assert_eq!(
            supervisor.failed(Duration::ZERO, 1.0),
            Verdict::Restart { after: Duration::from_millis(750) }
        );
    }

    #[test]
    fn the_last_failure_in_a_row_gives_up() {
        let policy = RestartPolicy { give_up_after: 3, ..RestartPolicy::default() };
        let mut supervisor = Supervisor::new(policy);
        assert_ne!(supervisor.failed(seconds(1), 0.0), Verdict::GiveUp);
        assert_ne!(supervisor.failed(seconds(1), 0.0), Verdict::GiveUp);
        assert_eq!(supervisor.failed(seconds(1), 0.0), Verdict::GiveUp);
    }

    #[test]
    fn a_healthy_time_forgives_earlier_failures() {
        let policy = RestartPolicy { give_up_after: 2, ..RestartPolicy::default() };
        let mut supervisor = Supervisor::new(policy);
        for _ in 0..20 {
            assert_ne!(supervisor.failed(seconds(30), 0.0), Verdict::GiveUp);
        }
    }

    #[test]
    fn never_and_always_ignore_the_count() {
        let never = RestartPolicy { when: Restart::Never, ..RestartPolicy::default() };
        assert_eq!(Supervisor::new(never).failed(seconds(99), 0.0), Verdict::GiveUp);
        let always = RestartPolicy { when: Restart::Always, give_up_after: 1, ..RestartPolicy::default() };
        let mut supervisor = Supervisor::new(always);
        for _ in 0..50 {
            assert_ne!(supervisor.failed(Duration::ZERO, 0.0), Verdict::GiveUp);
        }
    }

    #[test]
    fn a_policy_reads_and_writes_its_section() {
        let text = r#"{"when":"always","backoff":"500ms..1m","giveUpAfter":4,"stuckFor":"1m30s"}"#;
        let policy: RestartPolicy = serde_json::from_str(text).unwrap();
        assert_eq!(policy.backoff, Backoff { min: Duration::from_millis(500), max: seconds(60) });
        assert_eq!(policy.stuck_for, seconds(90));
        assert_eq!(serde_json::to_string(&policy).unwrap(), text);
        for wrong in ["1s", "30s..1s", "1s..", "a..b"] {
            assert!(Backoff::parse(wrong).is_err(), "{wrong}");
        }
    }
}
