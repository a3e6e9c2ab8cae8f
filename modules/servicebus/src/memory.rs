//! A node's services and applications in memory, for tests and simulations.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use protocol::rules::{Headers, HttpAnswer};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::ports::{
    AppCall, AppCalls, AppListener, ListenError, ListenOn, ServiceCall, ServiceClient, ServiceError,
};

/// How services behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// They answer with this status and body.
    Answers(u16, Bytes),
    /// Nobody listens.
    IsDown,
    /// They never answer.
    IsSlow,
    /// Their answers are larger than anybody reads.
    SaysTooMuch,
    /// Their answers break off.
    BreaksOff,
}

/// A machine whose services all behave alike, with a port for applications. Clones are the same.
#[derive(Clone)]
pub struct MemoryServices(Arc<Mutex<State>>);

struct State {
    behaviour: Behaviour,
    called: Vec<ServiceCall>,
    is_taken: bool,
    /// The way to whoever listens.
    apps: Option<mpsc::Sender<AppCall>>,
    listened: usize,
}

impl Default for MemoryServices {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryServices")
    }
}

impl MemoryServices {
    /// Makes a machine without services.
    #[must_use]
    pub fn new() -> Self {
        let (behaviour, called) = (Behaviour::IsDown, Vec::new());
        Self(Arc::new(Mutex::new(State { behaviour, called, is_taken: false, apps: None, listened: 0 })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has services behave like this from here on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state().behaviour = behaviour;
    }

    /// Lets another program take the port for applications, or give it back.
    pub fn take_port(&self, is_taken: bool) {
        self.state().is_taken = is_taken;
    }

    /// Returns the calls that came since this was last called.
    #[must_use]
    pub fn called(&self) -> Vec<ServiceCall> {
        std::mem::take(&mut self.state().called)
    }

    /// Returns how often somebody tried to listen.
    #[must_use]
    pub fn listened(&self) -> usize {
        self.state().listened
    }

    /// Tells whether applications find somebody.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.state().apps.as_ref().is_some_and(|apps| !apps.is_closed())
    }

    /// Asks as an application does, with a body or with one that cannot be read; `None` if nobody answers.
    pub async fn app(&self, body: Option<&str>) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        let apps = self.state().apps.clone()?;
        let body = body.map(|text| Bytes::from(text.to_owned()));
        apps.send(AppCall { body, answer }).await.ok()?;
        Some(String::from_utf8_lossy(&answered.await.ok()?).into_owned())
    }
}

#[async_trait]
impl ServiceClient for MemoryServices {
    async fn call(&self, call: ServiceCall) -> Result<HttpAnswer, ServiceError> {
        // A connection takes time, which others may use.
        tokio::task::yield_now().await;
        let (within, max) = (call.within, call.answer_bytes_max);
        let behaviour = {
            let mut state = self.state();
            state.called.push(call);
            state.behaviour.clone()
        };
        match behaviour {
            Behaviour::Answers(status, body) => Ok(HttpAnswer { status, headers: Headers::new(), body }),
            Behaviour::IsDown => Err(ServiceError::Unreachable("connection refused".to_owned())),
            Behaviour::IsSlow => {
                timeout(within, std::future::pending()).await.unwrap_or(Err(ServiceError::TimedOut(within)))
            }
            Behaviour::SaysTooMuch => Err(ServiceError::TooLarge(max)),
            Behaviour::BreaksOff => Err(ServiceError::BrokeOff("unexpected end".to_owned())),
        }
    }
}

struct MemoryCalls(mpsc::Receiver<AppCall>);

#[async_trait]
impl AppCalls for MemoryCalls {
    async fn next(&mut self) -> Result<AppCall, ListenError> {
        self.0.recv().await.ok_or_else(|| ListenError("another one listens".to_owned()))
    }
}

#[async_trait]
impl AppListener for MemoryServices {
    async fn listen(&self, _: ListenOn) -> Result<Box<dyn AppCalls>, ListenError> {
        let (apps, calls) = mpsc::channel(8);
        let mut state = self.state();
        state.listened += 1;
        if state.is_taken {
            return Err(ListenError("the address is in use".to_owned()));
        }
        state.apps = Some(apps);
        Ok(Box::new(MemoryCalls(calls)))
    }
}
