//! Binds pods to nodes
