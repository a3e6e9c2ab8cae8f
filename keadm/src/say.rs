//! What the operator reads.

use std::io::Write;

/// Prints a line on standard output. Nobody may be reading any more: that is no reason to end.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        tracing::debug!(%error, "standard output is closed");
    }
}

/// Prints a line on standard error, beside what scripts read.
pub(crate) fn warn(line: &str) {
    let mut out = std::io::stderr().lock();
    if let Err(error) = writeln!(out, "{line}") {
        tracing::debug!(%error, "standard error is closed");
    }
}
