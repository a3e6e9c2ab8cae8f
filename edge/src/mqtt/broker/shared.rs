//! The broker as its connections share it: a lock, and whom to wake.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::core::{Core, End, Origin, Rules, Step};
use super::encode::Refusal;
use super::local::LocalLink;
use super::packet::{Connect, FromClient};
use super::session::LinkId;

/// The broker.
#[derive(Debug)]
pub(super) struct Shared(Mutex<State>);

#[derive(Debug)]
struct State {
    core: Core,
    wakers: BTreeMap<LinkId, Waker>,
    is_serving: bool,
}

/// Who is told that there is something to do.
#[derive(Debug, Clone)]
pub(super) enum Waker {
    Network(Arc<Notify>),
    Local(Arc<LocalLink>),
}

impl Shared {
    pub(super) fn new(rules: Rules) -> Self {
        let state = State { core: Core::new(rules), wakers: BTreeMap::new(), is_serving: false };
        Self(Mutex::new(state))
    }

    /// Does something with the broker, and wakes all that it concerns. Nobody waits while it is done.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { core, wakers, .. } = &mut *state;
        let done = act(core);
        loop {
            let dirty = core.take_dirty();
            if dirty.is_empty() {
                return done;
            }
            for id in dirty {
                match wakers.get(&id) {
                    Some(Waker::Network(notify)) => notify.notify_one(),
                    Some(Waker::Local(local)) => answer(core, id, local),
                    None => {}
                }
            }
        }
    }

    /// Lets a client in, and wakes it by `waker` from now on.
    pub(super) fn connect(
        self: &Arc<Self>,
        connect: Connect,
        origin: Origin,
        waker: Waker,
    ) -> Result<(Presence, bool), Refusal> {
        let (id, is_resumed) = self.with(|core| core.connect(connect, origin, Instant::now()))?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wakers.insert(id, waker);
        Ok((Presence { id, shared: Arc::clone(self) }, is_resumed))
    }

    /// Notes whether it serves clients outside of this process, and returns whether it did.
    pub(super) fn set_serving(&self, is_serving: bool) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut state.is_serving, is_serving)
    }
}

/// Passes on what a client within the process is answered.
fn answer(core: &mut Core, id: LinkId, local: &LocalLink) {
    loop {
        match core.answer(id) {
            Step::Send(packet) => {
                if let Some(further) = local.answer(packet) {
                    core.handle(id, further, Instant::now());
                }
            }
            Step::Wait => break,
            Step::End(_) => {
                local.close();
                break;
            }
        }
    }
    local.arrived.notify_one();
}

/// A client that is there. It leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Presence {
    pub(super) id: LinkId,
    shared: Arc<Shared>,
}

impl Presence {
    /// Returns what is to be sent next.
    pub(super) fn step(&self) -> Step {
        self.shared.with(|core| core.step(self.id))
    }

    /// Hands a packet over, or gets it back if it has to wait.
    pub(super) fn handle(&self, packet: FromClient) -> Option<FromClient> {
        self.shared.with(|core| core.handle(self.id, packet, Instant::now()))
    }

    /// Ends the connection.
    pub(super) fn end(&self, why: End) {
        self.shared.with(|core| core.end(self.id, why, Instant::now()));
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.end(End::Lost);
        self.shared.with(|core| core.remove(self.id));
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).wakers.remove(&self.id);
    }
}
