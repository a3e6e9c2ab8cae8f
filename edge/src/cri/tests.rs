//! The adapter against a server that does as the test says.

mod calls;
mod fake;
mod lists;
mod specs;

use std::time::Duration;

use super::Deadlines;

/// Deadlines that no answer misses.
const PATIENT: Deadlines = Deadlines {
    query: Duration::from_secs(60),
    change: Duration::from_secs(60),
    sandbox: Duration::from_secs(60),
    pull: Duration::from_secs(60),
};
