//! What the failures of a connection mean.

use quinn::{ApplicationClose, ConnectionClose, ConnectionError, TransportErrorCode};
use rustls::AlertDescription;
use wire::link::LinkError;

use crate::opening::Refusal;

/// The most that is repeated of what a peer said.
const REASON_CHARS_MAX: usize = 200;

/// How TLS ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alert {
    /// The peer did.
    Received(AlertDescription),
    /// This end did.
    Sent(AlertDescription),
}

/// Returns the alert of TLS that ended a connection, if that was it.
#[must_use]
pub fn alert(error: &ConnectionError) -> Option<Alert> {
    match error {
        ConnectionError::ConnectionClosed(close) => description(close.error_code).map(Alert::Received),
        ConnectionError::TransportError(error) => description(error.code).map(Alert::Sent),
        _ => None,
    }
}

/// The codes from 0x100 to 0x1ff are TLS's alerts.
fn description(code: TransportErrorCode) -> Option<AlertDescription> {
    let code = u64::from(code);
    let alert = code.checked_sub(0x100).and_then(|alert| u8::try_from(alert).ok())?;
    Some(AlertDescription::from(alert))
}

/// Says what it means for the link that a connection ended.
///
/// What is about who trusts whom, and what the peer said of it, is a failed handshake: another transport
/// would meet the same. All else is the transport's.
#[must_use]
pub fn link_error(error: &ConnectionError) -> LinkError {
    match error {
        ConnectionError::ApplicationClosed(close) => of_peer(close),
        ConnectionError::LocallyClosed => LinkError::Closed,
        ConnectionError::TimedOut => LinkError::Transport("the peer does not answer".to_owned()),
        ConnectionError::VersionMismatch => {
            LinkError::Transport("the peer speaks no version of QUIC that is known here".to_owned())
        }
        error => match alert(error) {
            // Something else than a cloud of ours listens there.
            None | Some(Alert::Received(AlertDescription::NoApplicationProtocol)) => {
                LinkError::Transport(text(error))
            }
            Some(_) => LinkError::Handshake(text(error)),
        },
    }
}

fn of_peer(close: &ApplicationClose) -> LinkError {
    let code = close.error_code;
    let reason = said(&close.reason);
    if code == Refusal::Malformed.code() || code == Refusal::Forbidden.code() {
        return LinkError::Handshake(format!("the cloud refused the link: {reason}"));
    }
    match code.into_inner() {
        0 => LinkError::Closed,
        code => LinkError::Transport(format!("the peer closed the link: {reason} ({code})")),
    }
}

fn text(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionClosed(ConnectionClose { reason, .. }) => match alert(error) {
            Some(Alert::Received(alert)) => format!("received fatal alert: {alert:?}"),
            _ => format!("{error}: {}", said(reason)),
        },
        ConnectionError::TransportError(error) => error.reason.clone(),
        error => error.to_string(),
    }
}

fn said(reason: &[u8]) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    String::from_utf8_lossy(reason).trim().chars().take(REASON_CHARS_MAX).map(visible).collect()
}
