//! One service of a runtime, reached over its socket.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Response, Status};

use edged::ports::RuntimeError;

use super::SocketEndpoint;
use super::failure::Failed;

/// The largest answer that is accepted, as kubelet's.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long the socket may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one service. Cloning the client is cheap; each call takes a clone of it.
pub(super) struct Connection<C> {
    endpoint: SocketEndpoint,
    client: C,
}

impl<C: Clone> Connection<C> {
    /// Prepares the connection; it is made when it is first used, and again when it broke.
    pub(super) fn open(endpoint: SocketEndpoint, client: impl FnOnce(Channel) -> C) -> Self {
        let path = endpoint.path().to_owned();
        let connect = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The authority goes into each request's header and names nothing.
        let channel = Endpoint::from_static("http://localhost")
            .connect_timeout(CONNECT_TIMEOUT)
            .connect_with_connector_lazy(connect);
        Self { endpoint, client: client(channel) }
    }

    /// Returns where the service listens.
    pub(super) fn endpoint(&self) -> &SocketEndpoint {
        &self.endpoint
    }

    /// Makes one call that must be answered within `deadline`, which the runtime is told too, so
    /// that it gives up what nobody waits for.
    pub(super) async fn ask<Q, A>(
        &self,
        what: &'static str,
        deadline: Duration,
        message: Q,
        call: impl AsyncFnOnce(C, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, RuntimeError> {
        self.ask_raw(what, deadline, message, call).await.map_err(Failed::into_error)
    }

    /// Does the same and leaves the failure to be interpreted.
    pub(super) async fn ask_raw<Q, A>(
        &self,
        what: &'static str,
        deadline: Duration,
        message: Q,
        call: impl AsyncFnOnce(C, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failed> {
        let mut request = Request::new(message);
        request.set_timeout(deadline);
        match tokio::time::timeout(deadline, call(self.client.clone(), request)).await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => Err(Failed::from_status(&self.endpoint, what, deadline, &status)),
            Err(_elapsed) => Err(Failed::timed_out(&self.endpoint, what, deadline)),
        }
    }
}
