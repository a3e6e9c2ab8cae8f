//! How the writer tells the keeper of the medium that a write failed.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the keeper waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing within the time.
    Nothing,
    /// A write failed.
    Failure,
    /// The medium is closed.
    Closing,
}

/// An alarm that stays raised until it is quieted.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_raised: bool,
    is_closing: bool,
}

impl Alarm {
    /// Says that a write failed.
    pub(crate) fn raise(&self) {
        self.lock().is_raised = true;
        self.changed.notify_all();
    }

    /// Forgets the failure.
    pub(crate) fn quiet(&self) {
        self.lock().is_raised = false;
    }

    /// Says that the medium is closed.
    pub(crate) fn close(&self) {
        self.lock().is_closing = true;
        self.changed.notify_all();
    }

    /// Waits for a failure, without a bound if there is no `limit`.
    pub(crate) fn listen(&self, limit: Option<Duration>) -> Heard {
        self.wait(limit, |state| state.is_raised || state.is_closing)
    }

    /// Waits for `pause`, and tells whether the medium was closed meanwhile.
    pub(crate) fn is_closed_within(&self, pause: Duration) -> bool {
        self.wait(Some(pause), |state| state.is_closing) == Heard::Closing
    }

    fn wait(&self, limit: Option<Duration>, is_over: impl Fn(&State) -> bool) -> Heard {
        let state = self.lock();
        let goes_on = |state: &mut State| !is_over(state);
        let state = match limit {
            None => self.changed.wait_while(state, goes_on).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                let waited = self.changed.wait_timeout_while(state, limit, goes_on);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        match &*state {
            State { is_closing: true, .. } => Heard::Closing,
            State { is_raised: true, .. } => Heard::Failure,
            _ => Heard::Nothing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
