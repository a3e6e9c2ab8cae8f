//! What the module needs from outside: the way to mappers and from them.
//!
//! The messages are DMI's own, `v1beta1`; how they travel is the adapter's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dmi_proto::v1beta1::{
    CreateDeviceModelRequest, MapperRegisterRequest, MapperRegisterResponse, RegisterDeviceRequest,
    RemoveDeviceModelRequest, RemoveDeviceRequest, ReportDeviceStatesRequest, ReportDeviceStatusRequest,
    UpdateDeviceModelRequest, UpdateDeviceRequest,
};
use store::SharedMedium;
use tokio::sync::oneshot;

/// The module's ports.
#[derive(Clone)]
pub struct Ports {
    /// Keeps which mappers there are, and what they were told.
    pub store: SharedMedium,
    /// Reaches mappers. Without it, as on a node without device twins, the module does nothing.
    pub mappers: Option<Arc<dyn Mappers>>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").field("mappers", &self.mappers.is_some()).finish_non_exhaustive()
    }
}

/// Says why mappers cannot be listened to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ListenError(pub String);

/// Why a mapper's call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// What it says is not allowed.
    Invalid,
    /// There is no such device.
    NotFound,
    /// It comes too often.
    TooMany,
    /// It could be taken later.
    Unavailable,
}

/// Says why a mapper's call is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// What kind of refusal it is.
    pub cause: Cause,
    /// What is wrong, and what to do.
    pub text: String,
}

impl Refusal {
    /// Refuses a call.
    #[must_use]
    pub fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self { cause, text: text.into() }
    }

    /// Says that nobody answered.
    #[must_use]
    pub fn unanswered() -> Self {
        Self::new(Cause::Unavailable, "the edge is not serving mappers now: try again later")
    }
}

/// The way an answer takes back to a mapper. One that is dropped says that the call is not served now.
#[derive(Debug)]
pub struct Answer<T>(oneshot::Sender<Result<T, Refusal>>);

impl<T> Answer<T> {
    /// Makes an answer and what waits for it.
    #[must_use]
    pub fn new() -> (Self, oneshot::Receiver<Result<T, Refusal>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Answers. A mapper that left misses nothing.
    pub fn reply(self, answer: Result<T, Refusal>) {
        drop(self.0.send(answer));
    }
}

/// A call of a mapper.
#[derive(Debug)]
pub enum Call {
    /// `MapperRegister`: it is there.
    Register(MapperRegisterRequest, Answer<MapperRegisterResponse>),
    /// `ReportDeviceStatus`: values of a device.
    ReportStatus(ReportDeviceStatusRequest, Answer<()>),
    /// `ReportDeviceStates`: the state of a device.
    ReportState(ReportDeviceStatesRequest, Answer<()>),
}

/// What mappers call.
#[async_trait]
pub trait Calls: Send {
    /// Returns the next call.
    ///
    /// Dropping the returned future loses no call. An adapter holds a bounded number of calls, and their
    /// mappers wait.
    async fn next(&mut self) -> Result<Call, ListenError>;
}

/// A call of a mapper's service.
#[derive(Debug, Clone, PartialEq)]
pub enum MapperCall {
    /// A model is new to it.
    CreateModel(CreateDeviceModelRequest),
    /// A model that it has is different.
    UpdateModel(UpdateDeviceModelRequest),
    /// A model is gone.
    RemoveModel(RemoveDeviceModelRequest),
    /// A device is new to it.
    RegisterDevice(RegisterDeviceRequest),
    /// A device that it has is different.
    UpdateDevice(UpdateDeviceRequest),
    /// A device is gone.
    RemoveDevice(RemoveDeviceRequest),
}

/// Says why a mapper did not do what it was called for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It is not there, or did not answer in time. It may have acted.
    #[error("the mapper is not reached: {0}")]
    Unreachable(String),
    /// It is there, and says no.
    #[error("the mapper refused: {0}")]
    Refused(String),
    /// It is there, and does not know such calls.
    #[error("the mapper does not serve this call")]
    Unserved,
}

/// Reaches mappers.
#[async_trait]
pub trait Mappers: Send + Sync {
    /// Begins to take calls of mappers. When what it returns is dropped, nobody is listened to any more.
    async fn listen(&self) -> Result<Box<dyn Calls>, ListenError>;

    /// Says why an address that a mapper announced is of no use, if it is.
    fn check_address(&self, address: &[u8]) -> Result<(), String>;

    /// Calls the mapper at an address, which has so long to answer.
    async fn call(&self, address: &[u8], call: MapperCall, timeout: Duration) -> Result<(), CallError>;
}
