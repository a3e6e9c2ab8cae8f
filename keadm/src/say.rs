//! What the operator reads on standard output.

use std::io::Write;

/// Prints a line. Nobody may be reading any more: that is no reason to end.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        tracing::debug!(%error, "standard output is closed");
    }
}
