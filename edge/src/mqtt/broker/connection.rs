//! One client at the other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::core::{End, Origin, Step};
use super::encode::{Refusal, ToClient};
use super::frames::{Budget, Fault, Frames};
use super::packet::{Connect, FromClient, Malformed};
use super::shared::{Presence, Shared, Waker};

/// How long a client may take to introduce itself.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a wrong password is answered late, so that trying all takes long.
const WRONG_PASSWORD_PAUSE: Duration = Duration::from_millis(500);
/// How long a packet may take from its first byte to its last.
const PACKET_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may take none of what it is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the end of a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes that are ready to be sent. Beyond these nothing is read.
const OUT_BYTES_MAX: usize = 64 << 10;

/// What all connections share.
#[derive(Debug, Clone)]
pub(super) struct Hall {
    pub(super) shared: Arc<Shared>,
    pub(super) budget: Budget,
    pub(super) packet_bytes_max: usize,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
enum Over {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    #[error("it did not introduce itself within {CONNECT_TIMEOUT:?}")]
    Unknown,
    #[error("it began with something else than CONNECT")]
    Impolite,
    #[error("a packet was not complete within {PACKET_TIMEOUT:?}")]
    Unfinished,
    #[error("it took nothing of what it was sent for {WRITE_TIMEOUT:?}")]
    Stalled,
    #[error(transparent)]
    Ended(End),
}

impl Over {
    /// Tells whether this is how connections end.
    fn is_ordinary(&self) -> bool {
        matches!(self, Self::Ended(End::Asked | End::Stopped) | Self::Fault(Fault::Closed | Fault::Io(_)))
    }
}

/// Serves a client until its connection is over.
pub(super) async fn serve(hall: Hall, stream: impl AsyncRead + AsyncWrite + Send, address: SocketAddr) {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut frames = Frames::new(reader, hall.packet_bytes_max, hall.budget.clone());
    let over = match introduce(&hall, &mut frames, address).await {
        Ok((presence, notify)) => {
            let mut line = Line { presence, notify, frames, writer, out: BytesMut::new() };
            let over = line.run().await;
            writer = line.writer;
            over
        }
        Err(over) => {
            if let Some(refusal) = refusal(&over) {
                refuse(&mut writer, refusal).await;
            }
            over
        }
    };
    if over.is_ordinary() {
        tracing::debug!(%address, why = %over, "an MQTT client is gone");
    } else {
        tracing::info!(%address, why = %over, "the connection of an MQTT client is ended");
    }
    if timeout(CLOSE_TIMEOUT, writer.shutdown()).await.is_err() {
        tracing::trace!(%address, "the client does not take the end of its connection");
    }
}

/// Waits for a client's CONNECT, and lets it in.
async fn introduce<R: AsyncRead + Unpin>(
    hall: &Hall,
    frames: &mut Frames<R>,
    address: SocketAddr,
) -> Result<(Presence, Arc<Notify>), Over> {
    let first = timeout(CONNECT_TIMEOUT, frames.next()).await.map_err(|_| Over::Unknown)??;
    let FromClient::Connect(connect) = first else { return Err(Over::Impolite) };
    let Connect { client_id, is_clean, .. } = &connect;
    tracing::debug!(%address, client_id, is_clean, "an MQTT client comes");
    let notify = Arc::new(Notify::new());
    let connected = hall.shared.connect(connect, Origin::Network, Waker::Network(Arc::clone(&notify)));
    if let Err(Refusal::Password | Refusal::NotAuthorized) = connected {
        sleep(WRONG_PASSWORD_PAUSE).await;
    }
    let (presence, _) = connected?;
    Ok((presence, notify))
}

/// Returns what a client that is not let in is told. Of what is no MQTT nothing is said.
fn refusal(over: &Over) -> Option<Refusal> {
    match over {
        Over::Refused(refusal) => Some(*refusal),
        Over::Fault(Fault::Malformed(Malformed::Version(_))) => Some(Refusal::Version),
        _ => None,
    }
}

async fn refuse(writer: &mut (impl AsyncWrite + Unpin), refusal: Refusal) {
    let mut out = BytesMut::new();
    ToClient::Refused(refusal).write(&mut out);
    let telling = async {
        writer.write_all(&out).await?;
        writer.flush().await
    };
    if !matches!(timeout(CLOSE_TIMEOUT, telling).await, Ok(Ok(()))) {
        tracing::trace!("a client did not wait to hear why it is refused");
    }
}

/// Writes some of what is ready, and returns how much; what was written before is sent once nothing is. Either
/// is done or not when the future is dropped.
async fn push(writer: &mut (impl AsyncWrite + Unpin), out: &[u8]) -> std::io::Result<usize> {
    if out.is_empty() {
        return writer.flush().await.map(|()| 0);
    }
    match writer.write(out).await? {
        0 => Err(std::io::ErrorKind::WriteZero.into()),
        bytes => Ok(bytes),
    }
}

/// A client that was let in.
struct Line<S> {
    presence: Presence,
    notify: Arc<Notify>,
    frames: Frames<tokio::io::ReadHalf<S>>,
    writer: WriteHalf<S>,
    out: BytesMut,
}

impl<S: AsyncRead + AsyncWrite> Line<S> {
    /// Moves packets until the connection is over.
    async fn run(&mut self) -> Over {
        let (mut waiting, mut must_flush) = (None, false);
        let mut progress = Instant::now();
        loop {
            if let Some(packet) = waiting.take() {
                waiting = self.presence.handle(packet);
            }
            let was_idle = self.out.is_empty() && !must_flush;
            if let Some(end) = self.fill() {
                return Over::Ended(end);
            }
            if was_idle {
                progress = Instant::now();
            }
            let is_writing = !self.out.is_empty() || must_flush;
            let may_read = waiting.is_none() && self.out.len() < OUT_BYTES_MAX;
            let unfinished = self.frames.began().filter(|_| may_read).map(|began| began + PACKET_TIMEOUT);
            tokio::select! {
                biased;
                pushed = push(&mut self.writer, &self.out), if is_writing => match pushed {
                    Ok(bytes) => {
                        self.out.advance(bytes);
                        (must_flush, progress) = (bytes > 0, Instant::now());
                    }
                    Err(error) => return Over::Fault(error.into()),
                },
                () = self.notify.notified() => {}
                packet = self.frames.next(), if may_read => match packet {
                    Ok(packet) => waiting = Some(packet),
                    Err(fault) => return self.fail(fault),
                },
                () = sleep_until(progress + WRITE_TIMEOUT), if is_writing => return Over::Stalled,
                () = sleep_until(unfinished.unwrap_or(progress)), if unfinished.is_some() => {
                    return Over::Unfinished;
                }
            }
        }
    }

    /// Makes ready what is to be sent. Returns why the connection is to end, if it is.
    fn fill(&mut self) -> Option<End> {
        while self.out.len() < OUT_BYTES_MAX {
            match self.presence.step() {
                Step::Send(packet) => packet.write(&mut self.out),
                Step::Wait => break,
                Step::End(end) => return Some(end),
            }
        }
        if self.out.is_empty() && self.out.capacity() > OUT_BYTES_MAX {
            self.out = BytesMut::new();
        }
        None
    }

    fn fail(&self, fault: Fault) -> Over {
        if let Fault::Malformed(malformed) = &fault {
            self.presence.end(End::Broken(*malformed));
        }
        Over::Fault(fault)
    }
}
