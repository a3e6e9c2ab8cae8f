//! Watching one type.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher::{self, Config, Error, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::pace::Pace;

/// How long the API server keeps one watch open, in seconds; a dead connection is found a little later.
const WATCH_SECONDS: u32 = 60;
/// The shortest and the longest pause before a watch that failed is begun again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// What a watch tells.
#[derive(Debug)]
pub enum Told<K> {
    /// Something of the type happened.
    Event(Event<K>),
    /// The API server cannot be reached, or the watch fell behind: until more is told, what is known
    /// may be out of date.
    Lost,
}

/// How a watch goes on after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// From the last version that was seen; only if that is too old, all is listed anew.
    FromLast,
    /// With a list of all.
    Anew,
}

/// A watch of one type, to be run.
#[derive(Debug)]
pub struct Watch<K> {
    api: Api<K>,
    config: Config,
    what: String,
    resume: Resume,
    pace: Pace,
}

impl<K> Watch<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// Makes a watch of what `api` and `config` choose, which logs call `what`. The random bytes keep
    /// it from trying again together with others.
    #[must_use]
    pub fn new(api: Api<K>, config: Config, what: &str, resume: Resume, random: [u8; 16]) -> Self {
        let config = config.timeout(WATCH_SECONDS);
        Self { api, config, what: what.to_owned(), resume, pace: Pace::new(PAUSE.0, PAUSE.1, random) }
    }

    /// Hands what happens to `tell`, until that says by `false` that nobody listens any more. A
    /// failure is logged, told and tried again.
    pub async fn run(mut self, tell: impl AsyncFn(Told<K>) -> bool) {
        let mut failures = 0_u32;
        loop {
            let mut events = pin!(watcher::watcher(self.api.clone(), self.config.clone()));
            while let Some(event) = events.next().await {
                let error = match event {
                    Ok(event) => {
                        if failures > 0 && !matches!(event, Event::Init) {
                            tracing::info!(what = self.what, failures, "the Kubernetes API is watched again");
                            failures = 0;
                            self.pace.reset();
                        }
                        if !tell(Told::Event(event)).await {
                            return;
                        }
                        continue;
                    }
                    Err(error) => error,
                };
                failures = failures.saturating_add(1);
                let pause = self.pace.delay();
                report(&self.what, &error, failures, pause);
                if !tell(Told::Lost).await {
                    return;
                }
                tokio::time::sleep(pause).await;
                if self.resume == Resume::Anew || is_expired(&error) {
                    break;
                }
            }
        }
    }
}

fn report(what: &str, error: &Error, failures: u32, pause: Duration) {
    match failures {
        _ if is_expired(error) => tracing::debug!(what, %error, "the watch fell behind and begins anew"),
        1 => tracing::warn!(what, %error, retry_in = ?pause, "cannot watch the Kubernetes API"),
        _ => {
            tracing::debug!(what, %error, failures, retry_in = ?pause, "still cannot watch the Kubernetes API")
        }
    }
}

/// Tells whether the version from which a watch was to go on is too old: that is no outage. kube's
/// watcher sees this when it comes as an event, but not when the call itself fails so.
fn is_expired(error: &Error) -> bool {
    match error {
        Error::WatchError(status) => status.code == 410,
        Error::WatchStartFailed(kube::Error::Api(status)) | Error::WatchFailed(kube::Error::Api(status)) => {
            status.code == 410
        }
        Error::NoResourceVersion => true,
        _ => false,
    }
}
