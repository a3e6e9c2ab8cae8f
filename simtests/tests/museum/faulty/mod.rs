//! Parts that behave as the reports say, to be put in the place of ours.

pub(crate) mod api;
pub(crate) mod cloud;
pub(crate) mod edge_hub;
pub(crate) mod hub;
pub(crate) mod meta;
pub(crate) mod runtime;
pub(crate) mod store;
pub(crate) mod tap;
