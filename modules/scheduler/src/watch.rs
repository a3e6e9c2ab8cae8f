//! Watching the Kubernetes API.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher::{self, Config, Error, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

/// How long the API server keeps one watch open, in seconds; a dead connection is found a little later.
const WATCH_SECONDS: u32 = 60;

/// The shortest and the longest pause before a watch that failed is begun again.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// What a watch tells.
#[derive(Debug)]
pub(crate) enum Told<K> {
    /// Something of the type happened.
    Event(Event<K>),
    /// The API server cannot be reached: nothing is known until the next list.
    Lost,
}

/// Watches a type and hands what happens to `tell`, until that says that nobody listens any more.
///
/// After a failure, which is logged, all is listed anew. `spread`, from 0 to 1, keeps many from
/// trying at one time.
pub(crate) async fn watch<K>(api: Api<K>, what: &str, spread: f64, tell: impl AsyncFn(Told<K>) -> bool)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut failures = 0_u32;
    loop {
        let config = Config::default().timeout(WATCH_SECONDS);
        let mut events = pin!(watcher::watcher(api.clone(), config));
        while let Some(event) = events.next().await {
            let error = match event {
                Ok(event) => {
                    if failures > 0 && !matches!(event, Event::Init) {
                        tracing::info!(what, failures, "the Kubernetes API is watched again");
                        failures = 0;
                    }
                    if !tell(Told::Event(event)).await {
                        return;
                    }
                    continue;
                }
                Err(error) => error,
            };
            failures = failures.saturating_add(1);
            let pause = pause(failures, spread);
            report(what, &error, failures, pause);
            if !tell(Told::Lost).await {
                return;
            }
            tokio::time::sleep(pause).await;
            break;
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

fn pause(failures: u32, spread: f64) -> Duration {
    let pause = PAUSE_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSE_MAX);
    pause + pause.mul_f64(spread / 2.0)
}

/// Tells whether the version from which a watch was to go on is too old: that is no outage.
fn is_expired(error: &Error) -> bool {
    match error {
        Error::WatchError(status) => status.code == 410,
        Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 410,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let pauses: Vec<u128> = (1..8).map(|failures| pause(failures, 0.0).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 15000, 15000]);
        assert_eq!(pause(u32::MAX, 1.0), Duration::from_millis(22_500));
    }
}
