//! Listens for clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use eventbus::ports::{MqttError, ServeOn, Serving};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

use super::connection::{self, CONNECT_TIMEOUT, Hall};
use super::core::Rules;
use super::frames::Budget;
use super::shared::Shared;
use super::tls::Certificates;

/// Clients at a time.
const CONNECTIONS_MAX: usize = 256;
/// What all of them may hold of large packets that are not complete.
const BUDGET_BYTES: usize = 8 << 20;
/// How often silent and slow clients are looked for.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// The pause after the system refused to hand out a connection, as when files run out.
const PAUSE: Duration = Duration::from_millis(100);

/// A broker that serves. It ends its connections when it is dropped.
struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Ends with this.
    _tasks: JoinSet<()>,
}

impl Serving for Server {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.with(|core| core.stop(Instant::now()));
        self.shared.set_serving(false);
    }
}

/// Begins to listen.
pub(super) async fn serve(shared: &Arc<Shared>, on: ServeOn) -> Result<Box<dyn Serving>, MqttError> {
    let ServeOn { address, tls, user, queue_max, packet_bytes_max } = on;
    let mut tasks = JoinSet::new();
    let certificates = match tls {
        Some(files) => {
            let (certificates, keeping_up) = Certificates::read(files).await?;
            tasks.spawn(keeping_up);
            Some(certificates)
        }
        None => None,
    };
    let unusable = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => "; another program has this port",
            _ => "",
        };
        MqttError::Local(format!("cannot listen on {address}: {error}{hint}"))
    };
    let listener = TcpListener::bind(address).await.map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    if shared.set_serving(true) {
        return Err(MqttError::Local("the broker of this process serves already".to_owned()));
    }
    shared.with(|core| core.set_rules(Rules { user, queue_max }));
    let budget = Budget::new(BUDGET_BYTES, packet_bytes_max);
    let hall = Hall { shared: Arc::clone(shared), budget, packet_bytes_max };
    tasks.spawn(look_around(Arc::clone(shared)));
    tasks.spawn(accept(listener, hall, certificates));
    Ok(Box::new(Server { address, shared: Arc::clone(shared), _tasks: tasks }))
}

async fn look_around(shared: Arc<Shared>) {
    let mut times = interval(LOOK_PERIOD);
    loop {
        times.tick().await;
        shared.with(|core| core.look_around(Instant::now()));
    }
}

async fn accept(listener: TcpListener, hall: Hall, certificates: Option<Certificates>) {
    let mut connections = JoinSet::new();
    let mut refused = 0_u64;
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            refused += 1;
            if refused.is_power_of_two() {
                tracing::warn!(%address, refused, max = CONNECTIONS_MAX, "there are too many MQTT clients: one is turned away");
            }
            continue;
        }
        connections.spawn(enter(hall.clone(), stream, address, certificates.clone()));
    }
}

async fn enter(hall: Hall, stream: TcpStream, address: SocketAddr, certificates: Option<Certificates>) {
    if let Err(error) = stream.set_nodelay(true) {
        return tracing::debug!(%address, %error, "the connection of an MQTT client failed");
    }
    let Some(certificates) = certificates else { return connection::serve(hall, stream, address).await };
    match timeout(CONNECT_TIMEOUT, certificates.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => connection::serve(hall, stream, address).await,
        Ok(Err(error)) => tracing::info!(%address, %error, "TLS with an MQTT client failed"),
        Err(_) => tracing::info!(%address, "TLS with an MQTT client took too long"),
    }
}
