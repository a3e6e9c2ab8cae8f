//! What can be done with objects.

pub(crate) mod admission;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod devices;
pub(crate) mod negotiate;
pub(crate) mod patch;
pub(crate) mod pods;
pub(crate) mod read;
pub(crate) mod render;
pub(crate) mod services;
pub(crate) mod update;
pub(crate) mod virtual_objects;
pub(crate) mod watch;
