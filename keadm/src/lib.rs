//! The operator's tool of Beehive
