//! The edge process with one module more: everything else is `edgecore`.

use std::process::ExitCode;

use offline_alarm::OfflineAlarm;

fn main() -> ExitCode {
    edgecore::main_with(|ports| edgecore::catalog(ports).with::<OfflineAlarm>(()))
}
