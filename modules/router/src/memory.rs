//! REST in memory, for tests and simulations: clients that ask, and endpoints that answer as they are told.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use protocol::rules::Headers;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::ports::{
    EndpointAnswer, EndpointCall, EndpointError, ListenError, ListenOn, RestAnswer, RestCall, RestCalls,
    RestClient, RestListener, RestRequest,
};

/// How an endpoint behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// It answers with this status and body.
    Answers(u16, Bytes),
    /// Nobody listens there.
    IsDown,
    /// It never answers.
    IsSlow,
    /// Its answer is larger than anybody reads.
    SaysTooMuch,
}

/// A network with REST clients and endpoints. Clones are the same.
#[derive(Clone, Default)]
pub struct MemoryRest(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The way to whoever listens.
    calls: Option<mpsc::Sender<RestCall>>,
    listened: Option<ListenOn>,
    endpoints: BTreeMap<String, Behaviour>,
    received: Vec<EndpointCall>,
}

impl fmt::Debug for MemoryRest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryRest")
    }
}

impl MemoryRest {
    /// Makes a network without endpoints.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the endpoint of a URL behave like this from here on. Where nothing was said, nobody listens.
    pub fn endpoint(&self, url: &str, behaviour: Behaviour) {
        self.state().endpoints.insert(url.to_owned(), behaviour);
    }

    /// Returns what endpoints were sent since this was last called, also by those that were down.
    #[must_use]
    pub fn received(&self) -> Vec<EndpointCall> {
        std::mem::take(&mut self.state().received)
    }

    /// Returns where the router listens, if it ever did.
    #[must_use]
    pub fn listened(&self) -> Option<ListenOn> {
        self.state().listened.clone()
    }

    /// Asks as a REST client does; `None` while nobody listens, or if nobody answers.
    pub async fn ask(&self, method: &str, uri: &str, body: impl Into<Bytes>) -> Option<RestAnswer> {
        let (answer, answered) = oneshot::channel();
        let headers = [("host", "cloud"), ("x-test", "y")];
        let headers: Headers = headers.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).into();
        let (method, uri, body) = (method.to_owned(), uri.to_owned(), body.into());
        let request = RestRequest { method, uri, headers, body };
        let calls = self.state().calls.clone()?;
        calls.send(RestCall { request, answer }).await.ok()?;
        answered.await.ok()
    }
}

#[async_trait]
impl RestListener for MemoryRest {
    async fn listen(&self, on: ListenOn) -> Result<Box<dyn RestCalls>, ListenError> {
        let (calls, called) = mpsc::channel(64);
        let mut state = self.state();
        (state.calls, state.listened) = (Some(calls), Some(on));
        Ok(Box::new(MemoryCalls(called)))
    }
}

struct MemoryCalls(mpsc::Receiver<RestCall>);

#[async_trait]
impl RestCalls for MemoryCalls {
    async fn next(&mut self) -> Result<RestCall, ListenError> {
        self.0.recv().await.ok_or_else(|| ListenError("another one listens".to_owned()))
    }
}

#[async_trait]
impl RestClient for MemoryRest {
    async fn post(&self, call: EndpointCall) -> Result<EndpointAnswer, EndpointError> {
        // A connection takes time, which others may use.
        tokio::task::yield_now().await;
        let (within, max) = (call.within, call.answer_bytes_max);
        let behaviour = {
            let mut state = self.state();
            let behaviour = state.endpoints.get(&call.url).cloned();
            state.received.push(call);
            behaviour.unwrap_or(Behaviour::IsDown)
        };
        match behaviour {
            Behaviour::Answers(status, body) => Ok(EndpointAnswer { status, body }),
            Behaviour::IsDown => Err(EndpointError::Unreachable("connection refused".to_owned())),
            Behaviour::IsSlow => {
                let never = std::future::pending();
                timeout(within, never).await.unwrap_or(Err(EndpointError::TimedOut(within)))
            }
            Behaviour::SaysTooMuch => Err(EndpointError::TooLarge(max)),
        }
    }
}
