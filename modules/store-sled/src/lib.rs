//! The sled adapter of the store port
