//! Which opening of a medium is in force, and who waits for the next one.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Resolves when an opening is over.
pub type Over = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The openings of one medium, counted. Clones are the same.
///
/// Those who wait are woken in the order in which they began to.
#[derive(Debug, Clone, Default)]
pub struct Openings {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    newest: u64,
    waiting: Vec<Waker>,
}

impl Openings {
    /// Returns the number of the opening that is in force.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.lock().newest
    }

    /// Begins an opening and returns its number. All earlier ones are over.
    pub fn begin(&self) -> u64 {
        let mut state = self.lock();
        state.newest += 1;
        let (newest, waiting) = (state.newest, std::mem::take(&mut state.waiting));
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        newest
    }

    /// Waits until the opening `number` is over.
    #[must_use]
    pub fn end_of(&self, number: u64) -> Over {
        let openings = self.clone();
        Box::pin(poll_fn(move |cx| {
            let mut state = openings.lock();
            if state.newest > number {
                return Poll::Ready(());
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
