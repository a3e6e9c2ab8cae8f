//! A value of which many want the newest.
//!
//! It does what `tokio::sync::watch` does, but for the order in which it wakes those who wait: tokio's
//! spreads them over eight lists at random, this one keeps the order in which they began to wait. Where
//! more than one task waits, only this one lets a seed decide what happens next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Debug)]
struct State<T> {
    value: T,
    version: u64,
    is_closed: bool,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that nobody will change the value any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value will not change any longer")]
pub struct Closed;

/// The one end that changes the value. Dropping it ends the others' waits.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Makes a value that nobody watches yet.
    #[must_use]
    pub fn new(value: T) -> Self {
        let state = Mutex::new(State { value, version: 0, is_closed: false });
        Self(Arc::new(Shared { state, changed: Notify::new() }))
    }

    /// Changes the value and wakes all who wait. Returns the value that it had.
    pub fn replace(&self, value: T) -> T {
        let mut before = None;
        self.modify(|current| before = Some(std::mem::replace(current, value)));
        before.expect("the change has run")
    }

    /// Changes the value in place and wakes all who wait.
    pub fn modify(&self, change: impl FnOnce(&mut T)) {
        let mut state = self.0.lock();
        change(&mut state.value);
        state.version += 1;
        drop(state);
        self.0.changed.notify_waiters();
    }

    /// Returns an end that watches the value. It has seen the present one.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        let seen = self.0.lock().version;
        Receiver { shared: self.0.clone(), seen }
    }
}

impl<T: Clone> Sender<T> {
    /// Returns the value.
    #[must_use]
    pub fn get(&self) -> T {
        self.0.lock().value.clone()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_waiters();
    }
}

/// An end that watches the value.
#[derive(Debug, Clone)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

impl<T> Receiver<T> {
    /// Waits until the value is another than the one seen last.
    ///
    /// # Errors
    ///
    /// When it never will be.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            let changed = self.shared.changed.notified();
            {
                let state = self.shared.lock();
                if state.version != self.seen {
                    self.seen = state.version;
                    return Ok(());
                }
                if state.is_closed {
                    return Err(Closed);
                }
            }
            changed.await;
        }
    }

    /// Waits until the value is as wanted.
    ///
    /// # Errors
    ///
    /// When it never will be.
    pub async fn wait_for(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Result<(), Closed> {
        loop {
            {
                let state = self.shared.lock();
                self.seen = state.version;
                if wanted(&state.value) {
                    return Ok(());
                }
            }
            self.changed().await?;
        }
    }

    /// Takes the present value as seen.
    pub fn mark_seen(&mut self) {
        self.seen = self.shared.lock().version;
    }
}

impl<T: Clone> Receiver<T> {
    /// Returns the value.
    #[must_use]
    pub fn get(&self) -> T {
        self.shared.lock().value.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use futures::future::join_all;

    use super::*;

    #[test]
    fn those_who_wait_are_woken_in_the_order_in_which_they_began() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let sender = Sender::new(0);
            let order: Rc<RefCell<Vec<usize>>> = Rc::default();
            let mut waiting = tokio::task::JoinSet::new();
            for number in 0..48 {
                let (mut receiver, order) = (sender.subscribe(), order.clone());
                waiting.spawn_local(async move {
                    receiver.changed().await.expect("the sender lives");
                    order.borrow_mut().push(number);
                });
            }
            tokio::task::yield_now().await;
            sender.replace(1);
            waiting.join_all().await;
            assert_eq!(*order.borrow(), (0..48).collect::<Vec<_>>());
        });
    }

    #[test]
    fn a_change_before_the_wait_is_seen_once_and_the_end_of_the_sender_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let sender = Sender::new(1);
            let (mut early, mut late) = (sender.subscribe(), sender.subscribe());
            assert_eq!(sender.replace(2), 1);
            sender.modify(|value| *value += 1);
            assert_eq!((early.changed().await, early.get()), (Ok(()), 3));
            late.mark_seen();
            assert_eq!(late.wait_for(|value| *value == 3).await, Ok(()));
            drop(sender);
            let ends = [early, late].map(|mut end| async move { end.changed().await });
            assert_eq!(join_all(ends).await, [Err(Closed), Err(Closed)]);
        });
    }
}
