//! The mapper as a program.

use std::process::ExitCode;

use mapper_modbus::Modbus;

fn main() -> ExitCode {
    mapper_sdk::main_with(Modbus)
}
