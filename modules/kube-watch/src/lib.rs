//! How controllers watch the Kubernetes API: for as long as somebody listens, through outages and
//! lost versions, at a pace that keeps many from trying at one time.

mod pace;
mod watch;

pub use pace::Pace;
pub use watch::{Resume, Told, Watch};
