//! The cloud process.

use std::process::ExitCode;

fn main() -> ExitCode {
    cloudcore::main_with(cloudcore::catalog)
}
