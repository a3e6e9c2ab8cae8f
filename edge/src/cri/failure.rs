//! What a failed call means to edged.

use std::error::Error;
use std::io;
use std::time::Duration;

use edged::ports::RuntimeError;
use tonic::{Code, Status, TimeoutExpired};

use super::SocketEndpoint;

/// What the reference parser that all runtimes share says of a name that it cannot parse.
const INVALID_NAME_MARKS: [&str; 5] = [
    "invalid reference format",
    "invalid tag format",
    "invalid digest format",
    "repository name must",
    "unsupported digest algorithm",
];

/// A call that failed, before it is known what the caller makes of that.
#[derive(Debug)]
pub(super) enum Failed {
    /// The runtime was not reached, or is not ready to serve.
    Unreachable(String),
    /// The deadline passed without an answer.
    TimedOut(String),
    /// The runtime answered with an error.
    Answered { code: Code, message: String },
}

impl Failed {
    /// Interprets a status that the client gave.
    pub(super) fn from_status(
        endpoint: &SocketEndpoint,
        what: &'static str,
        deadline: Duration,
        status: &Status,
    ) -> Self {
        // The runtime's own statuses have no source; the transport's have.
        if let Some(source) = status.source() {
            return match find::<TimeoutExpired>(source) {
                Some(_) => Self::timed_out(endpoint, what, deadline),
                None => Self::Unreachable(unusable(
                    endpoint,
                    "is not answering",
                    &transport_cause(source),
                    "start it",
                )),
            };
        }
        let message = status.message();
        if status.code() == Code::Unimplemented && message.contains("unknown service") {
            let (cause, remedy) = no_cri(endpoint);
            return Self::Unreachable(unusable(endpoint, "does not serve CRI v1", cause, remedy));
        }
        if message.contains("not initialized yet") {
            return Self::Unreachable(unusable(endpoint, "is starting", message, "wait for it"));
        }
        Self::Answered { code: status.code(), message: message.to_owned() }
    }

    /// Says that nothing came in time.
    pub(super) fn timed_out(endpoint: &SocketEndpoint, what: &'static str, deadline: Duration) -> Self {
        Self::TimedOut(format!("{what}: no answer from {endpoint} within {deadline:?}"))
    }

    /// Returns what it means for an ordinary call.
    pub(super) fn into_error(self) -> RuntimeError {
        match self {
            Self::Unreachable(why) => RuntimeError::Unavailable(why),
            Self::TimedOut(why) => RuntimeError::TimedOut(why),
            Self::Answered { code: Code::NotFound, message } => RuntimeError::NotFound(message),
            Self::Answered { code: Code::DeadlineExceeded, message } => RuntimeError::TimedOut(message),
            Self::Answered { code: Code::Unavailable, message } => RuntimeError::Unavailable(message),
            Self::Answered { code, message } if message.is_empty() => {
                RuntimeError::Failed(format!("the container runtime failed: {code}"))
            }
            Self::Answered { message, .. } => RuntimeError::Failed(message),
        }
    }

    /// Returns what it means for a question about the image `reference`.
    pub(super) fn into_image_error(self, reference: &str) -> RuntimeError {
        match self {
            Self::Answered { message, .. } if is_invalid_name(&message) => {
                RuntimeError::InvalidImageName { image: reference.to_owned(), message }
            }
            other => other.into_error(),
        }
    }

    /// Returns what it means for the fetching of `reference`: any error in the answer is the
    /// registry's or the network's behind the runtime, not the runtime's own.
    pub(super) fn into_pull_error(self, reference: &str) -> RuntimeError {
        match self {
            Self::Answered { message, .. } if !is_invalid_name(&message) => RuntimeError::PullFailed(message),
            other => other.into_image_error(reference),
        }
    }
}

fn is_invalid_name(message: &str) -> bool {
    INVALID_NAME_MARKS.iter().any(|mark| message.contains(mark))
}

/// Takes the absence of what is to be stopped or removed for success.
pub(super) fn gone_is_done(result: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
    match result {
        Err(RuntimeError::NotFound(_)) => Ok(()),
        other => other,
    }
}

fn unusable(endpoint: &SocketEndpoint, what: &str, cause: &str, remedy: &str) -> String {
    let name = endpoint.runtime_name();
    format!("{name} at {endpoint} {what}: {cause}; {remedy} or choose --runtime hollow")
}

/// Returns why a runtime that listens does not serve CRI v1, and what to do about it.
fn no_cri(endpoint: &SocketEndpoint) -> (&'static str, &'static str) {
    match endpoint.runtime_name() {
        "containerd" => (
            "it is older than 1.6, or its config.toml disables the plugin",
            "take \"cri\" out of disabled_plugins and restart it,",
        ),
        _ => ("it is too old, or no runtime for pods", "upgrade it"),
    }
}

/// Returns the innermost cause, in words where it is a common one.
fn transport_cause(error: &(dyn Error + 'static)) -> String {
    if let Some(cause) = find::<io::Error>(error) {
        return match cause.kind() {
            io::ErrorKind::NotFound => "there is no such socket".to_owned(),
            io::ErrorKind::ConnectionRefused => "nothing listens on the socket".to_owned(),
            io::ErrorKind::PermissionDenied => "no permission to use the socket (be root)".to_owned(),
            _ => cause.to_string(),
        };
    }
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
