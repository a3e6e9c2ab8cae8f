//! The files that are shipped, printed by `--defaultconfig` and `--minconfig`.

use std::io::Write;
use std::process::ExitCode;

use crate::Process;
use crate::args::ProcessArgs;
use crate::start::Ending;

/// Returns the file that the flags ask to print, if they do.
pub(crate) fn printed(process: Process, args: &ProcessArgs) -> Option<&'static str> {
    match (args.defaultconfig, args.minconfig) {
        (true, _) => Some(process.default_config()),
        (false, true) => Some(process.minimal_config()),
        (false, false) => None,
    }
}

/// Prints a text for people or for a file.
#[must_use]
pub fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_closed) => Ending::Broken.into(),
    }
}

impl Process {
    /// Returns the shipped file with every key that has an effect, its default and its meaning.
    #[must_use]
    pub fn default_config(self) -> &'static str {
        match self {
            Self::CloudCore => include_str!("../cloudcore.yaml"),
            Self::EdgeCore => include_str!("../edgecore.yaml"),
        }
    }

    /// Returns the shipped file with the keys that are usually changed.
    #[must_use]
    pub fn minimal_config(self) -> &'static str {
        match self {
            Self::CloudCore => include_str!("../cloudcore.min.yaml"),
            Self::EdgeCore => include_str!("../edgecore.min.yaml"),
        }
    }
}
