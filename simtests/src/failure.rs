//! Why a run failed.

use std::time::Duration;

use crate::check::Violation;
use crate::trace::Divergence;

/// Why a run failed. Each class has an exit code of its own in the soak program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The scenario itself is wrong: a configuration, a name.
    #[error("the scenario is wrong: {0}")]
    Setup(String),
    /// Something panicked where nobody supervises it.
    #[error("crash: {0}")]
    Crash(String),
    /// Something that had to come true did not.
    #[error("liveness: {what} did not come true within {waited:?}")]
    Liveness {
        /// What was waited for.
        what: String,
        /// For how long.
        waited: Duration,
    },
    /// An invariant is broken.
    #[error("correctness: {0}")]
    Correctness(Violation),
    /// Two runs of the same seed went apart.
    #[error("determinism: {0}")]
    Determinism(Divergence),
}

impl Failure {
    /// Returns the exit code that stands for the class.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Setup(_) => 2,
            Self::Crash(_) => 3,
            Self::Liveness { .. } => 4,
            Self::Correctness(_) => 5,
            Self::Determinism(_) => 6,
        }
    }
}
