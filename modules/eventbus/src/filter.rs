//! Topic names and filters.

pub(crate) use protocol::filter::{is_filter, is_topic, matches};
