//! Derive macro of the beehive bus
