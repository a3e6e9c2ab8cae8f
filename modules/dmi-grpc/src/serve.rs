//! Serving on a socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use tokio::sync::Semaphore;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::connection::Connection;
use crate::socket::Socket;

/// The largest message that either end takes: what grpc-go takes, with which KubeEdge's mappers are made.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Connections at a time. KubeEdge's mappers open one for each report.
const CONNECTIONS_MAX: usize = 256;
/// Requests at a time on one connection.
const REQUESTS_MAX: u32 = 64;
/// The pause after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a request may take, whatever its client would wait.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves until `stop` resolves, and then finishes the requests that are under way.
///
/// # Errors
///
/// When the socket can be listened on no longer.
pub async fn serve(
    socket: Socket,
    services: Routes,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = stream::unfold((socket, places), |(socket, places)| async move {
        let connection = accept(&socket, &places).await;
        Some((connection, (socket, places)))
    });
    Server::builder()
        .max_concurrent_streams(REQUESTS_MAX)
        .timeout(REQUEST_TIMEOUT)
        .add_routes(services)
        .serve_with_incoming_shutdown(connections, stop)
        .await
}

async fn accept(socket: &Socket, places: &Arc<Semaphore>) -> io::Result<Connection> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    match socket.listener.accept().await {
        Ok((stream, _)) => Ok(Connection::new(stream, place)),
        Err(error) => {
            // Such as no more files: it passes, and meanwhile nothing is gained by trying again at once.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(PAUSE).await;
            Err(error)
        }
    }
}
