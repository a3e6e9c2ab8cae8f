//! What both `keadm join` and `keadm doctor` look at. Each check says what was seen and what to do.

pub(crate) mod certificate;
pub(crate) mod cgroups;
pub(crate) mod clock;
pub(crate) mod cloud;
pub(crate) mod config;
pub(crate) mod disk;
pub(crate) mod dns;
pub(crate) mod kernel;
pub(crate) mod process;
pub(crate) mod runtime;
pub(crate) mod store;
pub(crate) mod time;
