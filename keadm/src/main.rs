//! The operator's tool of Beehive.

use std::process::ExitCode;

fn main() -> ExitCode {
    keadm::main()
}
