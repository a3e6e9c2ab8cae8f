//! The edge process.

use std::process::ExitCode;

fn main() -> ExitCode {
    edgecore::main_with(edgecore::catalog)
}
