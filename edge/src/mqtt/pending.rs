//! Who waits for which answer of the broker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use eventbus::ports::MqttError;
use tokio::sync::oneshot;

/// What a waiting request gets; nothing when the connection ends.
pub(super) type Answer = oneshot::Receiver<Result<(), MqttError>>;
type Waiting = oneshot::Sender<Result<(), MqttError>>;

/// The requests of one connection that have no answer. The library numbers a request when it sends it,
/// which it tells in the order in which they were made.
#[derive(Default)]
pub(super) struct Pending(Mutex<State>);

#[derive(Default)]
struct State {
    is_closed: bool,
    publishing: VecDeque<Waiting>,
    subscribing: VecDeque<Waiting>,
    unsubscribing: VecDeque<Waiting>,
    sent: BTreeMap<u16, Waiting>,
    closing: Vec<oneshot::Sender<()>>,
}

impl Pending {
    /// Makes a publication with `request`, which tells whether it was taken.
    pub(super) fn publish(&self, request: impl FnOnce() -> bool) -> Result<Answer, MqttError> {
        self.ask(|state| &mut state.publishing, request)
    }

    /// Makes a subscription with `request`, which tells whether it was taken.
    pub(super) fn subscribe(&self, request: impl FnOnce() -> bool) -> Result<Answer, MqttError> {
        self.ask(|state| &mut state.subscribing, request)
    }

    /// Makes the end of a subscription with `request`, which tells whether it was taken.
    pub(super) fn unsubscribe(&self, request: impl FnOnce() -> bool) -> Result<Answer, MqttError> {
        self.ask(|state| &mut state.unsubscribing, request)
    }

    fn ask(
        &self,
        queue: impl FnOnce(&mut State) -> &mut VecDeque<Waiting>,
        request: impl FnOnce() -> bool,
    ) -> Result<Answer, MqttError> {
        // Held over the request, so that the order of those that wait is that of the requests.
        let mut state = self.state();
        if state.is_closed {
            return Err(MqttError::Closed);
        }
        if !request() {
            return Err(MqttError::Transport("the client cannot take the request".to_owned()));
        }
        let (sender, answer) = oneshot::channel();
        queue(&mut state).push_back(sender);
        Ok(answer)
    }

    /// Notes that the oldest publication was sent. Without a number it gets no answer and is done.
    pub(super) fn published(&self, id: u16) {
        let mut state = self.state();
        match state.publishing.pop_front() {
            Some(waiting) if id == 0 => reply(waiting, Ok(())),
            Some(waiting) => {
                state.sent.insert(id, waiting);
            }
            None => {}
        }
    }

    /// Notes that the oldest subscription was sent.
    pub(super) fn subscribed(&self, id: u16) {
        let mut state = self.state();
        if let Some(waiting) = state.subscribing.pop_front() {
            state.sent.insert(id, waiting);
        }
    }

    /// Notes that the oldest end of a subscription was sent.
    pub(super) fn unsubscribed(&self, id: u16) {
        let mut state = self.state();
        if let Some(waiting) = state.unsubscribing.pop_front() {
            state.sent.insert(id, waiting);
        }
    }

    /// Passes on what the broker answered.
    pub(super) fn answer(&self, id: u16, outcome: Result<(), MqttError>) {
        if let Some(waiting) = self.state().sent.remove(&id) {
            reply(waiting, outcome);
        }
    }

    /// Notes that the connection is over: nobody waits any longer.
    pub(super) fn close(&self) {
        *self.state() = State { is_closed: true, ..State::default() };
    }

    /// Resolves when the connection is over.
    pub(super) fn closed(&self) -> impl Future<Output = ()> + use<> {
        let (sender, closed) = oneshot::channel();
        let mut state = self.state();
        if !state.is_closed {
            state.closing.push(sender);
        }
        async move {
            // The sender is dropped with all else.
            drop(closed.await);
        }
    }

    /// Says why a request was not taken.
    pub(super) fn why_not(&self) -> MqttError {
        match self.state().is_closed {
            true => MqttError::Closed,
            false => MqttError::Transport("the client cannot take the request".to_owned()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that have left miss nothing.
fn reply(waiting: Waiting, outcome: Result<(), MqttError>) {
    drop(waiting.send(outcome));
}
