//! Mappers in memory, for tests and simulations.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dmi_proto::v1beta1::{
    MapperRegisterRequest, MapperRegisterResponse, ReportDeviceStatesRequest, ReportDeviceStatusRequest,
};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::ports::{Answer, Call, CallError, Calls, ListenError, MapperCall, Mappers, Refusal};

/// Calls that wait for the edge.
const WAITING_MAX: usize = 16;

/// How a mapper in memory answers calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// It does what it is called for.
    Willing,
    /// It refuses with this text.
    Refusing(String),
    /// It does not know such calls.
    Unserving,
    /// It never answers.
    Stalling,
}

/// Says why a mapper's call had no good end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapperError {
    /// The edge is not there.
    #[error("the edge is not reached")]
    Unreachable,
    /// The edge refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A node's mappers in memory. Clones are the same.
#[derive(Clone, Default)]
pub struct MemoryMappers(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Why nobody can be listened to.
    broken: Option<String>,
    calls: Option<mpsc::Sender<Call>>,
    served: BTreeMap<Vec<u8>, Served>,
}

struct Served {
    manner: Manner,
    heard: Vec<MapperCall>,
}

impl fmt::Debug for MemoryMappers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryMappers")
    }
}

impl MemoryMappers {
    /// Makes a node without mappers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes listening fail, or work again.
    pub fn break_listening(&self, why: Option<&str>) {
        self.state().broken = why.map(ToOwned::to_owned);
    }

    /// Serves calls at an address from now on, as a mapper does that runs.
    pub fn serve(&self, address: &[u8], manner: Manner) {
        let mut state = self.state();
        let served = state
            .served
            .entry(address.to_vec())
            .or_insert(Served { manner: Manner::Willing, heard: Vec::new() });
        served.manner = manner;
    }

    /// Serves an address no longer, as when its mapper ends. What it heard is forgotten.
    pub fn stop(&self, address: &[u8]) {
        self.state().served.remove(address);
    }

    /// Returns what the mapper at an address was called for since this was last called.
    #[must_use]
    pub fn heard(&self, address: &[u8]) -> Vec<MapperCall> {
        self.state()
            .served
            .get_mut(address)
            .map(|served| std::mem::take(&mut served.heard))
            .unwrap_or_default()
    }

    /// Registers a mapper.
    ///
    /// # Errors
    ///
    /// When the edge is not there, or refuses.
    pub async fn register(
        &self,
        request: MapperRegisterRequest,
    ) -> Result<MapperRegisterResponse, MapperError> {
        self.call(|answer| Call::Register(request, answer)).await
    }

    /// Reports values of a device.
    ///
    /// # Errors
    ///
    /// When the edge is not there, or refuses.
    pub async fn report_status(&self, request: ReportDeviceStatusRequest) -> Result<(), MapperError> {
        self.call(|answer| Call::ReportStatus(request, answer)).await
    }

    /// Reports the state of a device.
    ///
    /// # Errors
    ///
    /// When the edge is not there, or refuses.
    pub async fn report_state(&self, request: ReportDeviceStatesRequest) -> Result<(), MapperError> {
        self.call(|answer| Call::ReportState(request, answer)).await
    }

    async fn call<T>(&self, call: impl FnOnce(Answer<T>) -> Call) -> Result<T, MapperError> {
        let calls = self.state().calls.clone().ok_or(MapperError::Unreachable)?;
        let (answer, answered) = Answer::new();
        calls.send(call(answer)).await.map_err(|_| MapperError::Unreachable)?;
        match answered.await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Refusal::unanswered().into()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct MemoryCalls(mpsc::Receiver<Call>);

#[async_trait]
impl Calls for MemoryCalls {
    async fn next(&mut self) -> Result<Call, ListenError> {
        self.0.recv().await.ok_or_else(|| ListenError("another one listens".to_owned()))
    }
}

#[async_trait]
impl Mappers for MemoryMappers {
    async fn listen(&self) -> Result<Box<dyn Calls>, ListenError> {
        tokio::task::yield_now().await;
        let mut state = self.state();
        if let Some(why) = &state.broken {
            return Err(ListenError(why.clone()));
        }
        let (sender, calls) = mpsc::channel(WAITING_MAX);
        state.calls = Some(sender);
        Ok(Box::new(MemoryCalls(calls)))
    }

    fn check_address(&self, address: &[u8]) -> Result<(), String> {
        if address.is_empty() { Err("the mapper says no address".to_owned()) } else { Ok(()) }
    }

    async fn call(&self, address: &[u8], call: MapperCall, limit: Duration) -> Result<(), CallError> {
        // A call takes time, which others may use.
        tokio::task::yield_now().await;
        let manner = self.state().served.get(address).map(|served| served.manner.clone());
        match manner {
            None => Err(CallError::Unreachable("nobody serves there".to_owned())),
            Some(Manner::Refusing(text)) => Err(CallError::Refused(text)),
            Some(Manner::Unserving) => Err(CallError::Unserved),
            Some(Manner::Stalling) => {
                drop(timeout(limit, sleep(Duration::MAX)).await);
                Err(CallError::Unreachable(format!("no answer within {limit:?}")))
            }
            Some(Manner::Willing) => {
                if let Some(served) = self.state().served.get_mut(address) {
                    served.heard.push(call);
                }
                Ok(())
            }
        }
    }
}
