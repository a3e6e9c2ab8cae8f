//! What a mapper takes from the machine that it runs on.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

/// A text that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, to be used and not to be shown.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a mapper takes from the machine that it runs on.
#[derive(Debug, Clone)]
pub struct Host {
    /// The token of InfluxDB 2; the variable `TOKEN`.
    pub token: Option<Secret>,
    now: fn() -> Duration,
}

impl Host {
    /// Takes the machine's clock and this process's environment.
    #[must_use]
    pub fn of_process() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a mapper's credentials are in its environment, as KubeEdge's are"
        )]
        let token = std::env::var("TOKEN").ok().map(Secret::new);
        Self { token, now: machine_time }
    }

    /// Takes another time since 1970, for tests.
    #[must_use]
    pub const fn with_time(mut self, now: fn() -> Duration) -> Self {
        self.now = now;
        self
    }

    /// Returns milliseconds of Unix time.
    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from((self.now)().as_millis()).unwrap_or(i64::MAX)
    }
}

#[expect(clippy::disallowed_methods, reason = "a mapper is a program of its own: this is its clock")]
fn machine_time() -> Duration {
    std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
