//! What the mains of both processes have in common, from the command line to a running node.

use std::error::Error;
use std::future::Future;
use std::process::ExitCode;

use beehive::{Catalog, Node, NodeOptions, Sections};

use crate::Process;
use crate::args::ProcessArgs;
use crate::entropy::random_seed;
use crate::load::Loaded;
use crate::problem::ConfigError;
use crate::shipped::{print, printed};
use crate::start::{Ending, asked_to_end, report};

/// Why a process ends before its node runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It was asked to end.
    #[error("the process was asked to end")]
    Asked,
    /// The configuration is wrong.
    #[error(transparent)]
    Misconfigured(#[from] ConfigError),
    /// What it needs from the machine cannot be had.
    #[error(transparent)]
    Unprepared(Box<dyn Error>),
    /// What it consists of does not work.
    #[error(transparent)]
    Broken(Box<dyn Error>),
}

impl StartError {
    /// Reports it, unless it is no failure, and returns how the process ends.
    fn tell(&self) -> Ending {
        let ending = match self {
            Self::Asked => return Ending::Asked,
            Self::Misconfigured(_) => Ending::Misconfigured,
            Self::Unprepared(_) => Ending::Unprepared,
            Self::Broken(_) => Ending::Broken,
        };
        report(self);
        ending
    }
}

/// Prints what the flags ask for, or else lets the process run to its end.
pub fn execute(
    process: Process,
    args: &ProcessArgs,
    running: impl Future<Output = Result<Ending, StartError>>,
) -> ExitCode {
    if let Some(text) = printed(process, args) {
        return print(text);
    }
    match beehive::block_on(running) {
        Ok(Ok(ending)) => ending.into(),
        Ok(Err(error)) => error.tell().into(),
        Err(error) => {
            report(&error);
            Ending::Unprepared.into()
        }
    }
}

/// Waits for what a node needs of the machine, as long as the process is not asked to end.
///
/// # Errors
///
/// When it cannot be had, or is no longer wanted.
pub async fn prepare<T, E: Into<Box<dyn Error>>>(
    preparing: impl Future<Output = Result<T, E>>,
) -> Result<T, StartError> {
    tokio::select! {
        biased;
        () = asked_to_end() => Err(StartError::Asked),
        prepared = preparing => prepared.map_err(|error| StartError::Unprepared(error.into())),
    }
}

impl Loaded {
    /// Launches the process's node.
    ///
    /// # Errors
    ///
    /// When the sections are not what the catalog's modules take.
    pub async fn launch(
        &self,
        name: String,
        catalog: Catalog,
        sections: Sections,
    ) -> Result<Node, StartError> {
        let seed = random_seed().unwrap_or_default();
        let options = NodeOptions { name, seed, ..NodeOptions::default() };
        let launched = Node::launch(catalog, sections, options).await;
        launched.map_err(|error| StartError::Misconfigured(self.explain(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Problem;

    #[test]
    fn each_reason_for_not_starting_has_its_ending() {
        let problem: Box<dyn Error> = "a disk is full".into();
        assert_eq!(StartError::Unprepared(problem).tell(), Ending::Unprepared);
        assert_eq!(StartError::Broken("a bug".into()).tell(), Ending::Broken);
        let config = ConfigError::from(Problem::new(None, "modules.x", "is unknown"));
        assert_eq!(StartError::from(config).tell(), Ending::Misconfigured);
        assert_eq!(StartError::Asked.tell(), Ending::Asked);
    }

    #[tokio::test]
    async fn what_cannot_be_had_keeps_its_own_words() {
        let prepared = prepare(async { Err::<(), _>("port 10000 is taken") }).await;
        let error = prepared.expect_err("nothing was had");
        assert!(matches!(error, StartError::Unprepared(_)), "{error:?}");
        assert_eq!(error.to_string(), "port 10000 is taken");
        let prepared = prepare(async { Ok::<_, String>(7) }).await;
        assert_eq!(prepared.ok(), Some(7));
    }
}
