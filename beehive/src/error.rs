//! What can go wrong, one type for each place where it can.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::name::{Group, ModuleName};
use crate::problem::Problems;

/// Says why an ask has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No running module of the group serves the request.
    #[error("nobody in group {group} serves {request}")]
    NobodyServes {
        /// The request.
        request: &'static str,
        /// The group that was asked.
        group: Group,
    },
    /// The asking module did not declare in `wire` that it asks this.
    #[error("{module} did not declare that it asks {group} for {request}")]
    NotWired {
        /// The asking module.
        module: ModuleName,
        /// The request.
        request: &'static str,
        /// The group that was asked.
        group: Group,
    },
    /// The deadline passed. The server may have acted, or may act yet.
    #[error("{server} did not answer {request} within {within:?}")]
    TimedOut {
        /// The server.
        server: ModuleName,
        /// The request.
        request: &'static str,
        /// The deadline.
        within: Duration,
    },
    /// The server failed and is being rebuilt. It may have acted.
    #[error("{server} is restarting and did not answer {request}")]
    Restarting {
        /// The server.
        server: ModuleName,
        /// The request.
        request: &'static str,
    },
    /// The server's mailbox had no room within the deadline. The server did not see the request.
    #[error("the mailbox of {server} had no room for {request} within {within:?}")]
    Full {
        /// The server.
        server: ModuleName,
        /// The request.
        request: &'static str,
        /// The deadline.
        within: Duration,
    },
    /// The server let the request go without an answer.
    #[error("{server} dropped {request} unanswered")]
    Dropped {
        /// The server.
        server: ModuleName,
        /// The request.
        request: &'static str,
    },
    /// The ask would wait for a module that waits for the asker: nobody would ever go on.
    #[error("asking for {request} would wait in a circle: {chain}")]
    Cycle {
        /// The request.
        request: &'static str,
        /// Who waits for whom.
        chain: Chain,
    },
    /// Several modules of the group serve the request; `ask_all` asks them all.
    #[error("{} modules of group {group} serve {request}", servers.len())]
    Ambiguous {
        /// The request.
        request: &'static str,
        /// The group that was asked.
        group: Group,
        /// The modules that serve it.
        servers: Vec<ModuleName>,
    },
    /// The server, or the whole node, has stopped.
    #[error("{server} has stopped")]
    Stopped {
        /// The server.
        server: ModuleName,
    },
}

/// Says why a one-way message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No running module of the group handles the message.
    #[error("nobody in group {group} handles {message}")]
    NobodyServes {
        /// The message.
        message: &'static str,
        /// The group.
        group: Group,
    },
    /// The sending module did not declare in `wire` that it asks this.
    #[error("{module} did not declare that it asks {group} for {message}")]
    NotWired {
        /// The sending module.
        module: ModuleName,
        /// The message.
        message: &'static str,
        /// The group.
        group: Group,
    },
    /// The receiver's mailbox has no room.
    #[error("the mailbox of {receiver} has no room for {message}")]
    Full {
        /// The receiver.
        receiver: ModuleName,
        /// The message.
        message: &'static str,
    },
    /// Waiting for room would wait for a module that waits for the sender.
    #[error("sending {message} would wait in a circle: {chain}")]
    Cycle {
        /// The message.
        message: &'static str,
        /// Who waits for whom.
        chain: Chain,
    },
    /// Several modules of the group handle the message; `publish` reaches them all.
    #[error("{} modules of group {group} handle {message}", receivers.len())]
    Ambiguous {
        /// The message.
        message: &'static str,
        /// The group.
        group: Group,
        /// The modules that handle it.
        receivers: Vec<ModuleName>,
    },
    /// The receiver has stopped.
    #[error("{receiver} has stopped")]
    Stopped {
        /// The receiver.
        receiver: ModuleName,
    },
}

/// Says why an event was not published to everyone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The publishing module did not declare in `wire` that it publishes this.
    #[error("{module} did not declare that it publishes {event}")]
    NotWired {
        /// The publishing module.
        module: ModuleName,
        /// The event.
        event: &'static str,
    },
    /// Waiting for room in a receiver's mailbox would wait for a module that waits for the publisher.
    /// Receivers before it, in order of name, have the event.
    #[error("publishing {event} would wait in a circle: {chain}")]
    Cycle {
        /// The event.
        event: &'static str,
        /// Who waits for whom.
        chain: Chain,
    },
}

/// Modules that wait for one another, first to first again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain(pub Vec<ModuleName>);

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, module) in self.0.iter().enumerate() {
            let arrow = if at == 0 { "" } else { " -> " };
            write!(f, "{arrow}{module}")?;
        }
        Ok(())
    }
}

/// What a publication reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "receivers may have had no room"]
pub struct Delivered {
    /// How many mailboxes took the event.
    pub receivers: usize,
    /// The receivers without room, in order of name. Always empty where the publisher waits.
    pub full: Vec<ModuleName>,
}

/// The wish of a module to be restarted, and why.
///
/// It has no conversion from other errors, so that `?` cannot restart a module by accident.
#[derive(Debug)]
pub struct Failure(Box<dyn Error + Send + Sync>);

impl Failure {
    /// Makes a failure of a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Box::from(text.into()))
    }

    /// Makes a failure of an error, which stays its source.
    #[must_use]
    pub fn because(cause: impl Error + Send + Sync + 'static) -> Self {
        Self(Box::new(cause))
    }

    /// Returns the cause.
    #[must_use]
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.0.as_ref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_sources(self.0.as_ref()))
    }
}

/// Says why a module could not be built from its section and its ports.
#[derive(Debug)]
pub struct BuildError(Box<dyn Error + Send + Sync>);

impl BuildError {
    /// Makes a build error of a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Box::from(text.into()))
    }

    /// Makes a build error of an error, which stays its source.
    #[must_use]
    pub fn because(cause: impl Error + Send + Sync + 'static) -> Self {
        Self(Box::new(cause))
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_sources(self.0.as_ref()))
    }
}

/// Writes an error and its sources in one line.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// Says everything that keeps a node from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchError {
    /// All that was found, in order of path.
    pub problems: Problems,
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("the node cannot start:")?,
            count => write!(f, "the node cannot start, for {count} reasons:")?,
        }
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl Error for LaunchError {}

/// A module that is beyond repair, and with it the node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{module} failed {failures} times in a row and is given up: {cause}")]
pub struct NodeFailure {
    /// The module.
    pub module: ModuleName,
    /// How often it failed without a healthy time between.
    pub failures: u32,
    /// The last failure's text.
    pub cause: String,
}
