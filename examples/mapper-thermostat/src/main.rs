//! The mapper as a program.

use std::process::ExitCode;

use mapper_thermostat::Thermostats;

fn main() -> ExitCode {
    mapper_sdk::main_with(Thermostats)
}
