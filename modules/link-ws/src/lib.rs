//! What both ends of a link over WebSocket and TLS have in common.
//!
//! The cloud listens and the edge dials; each has its own handshake. What they share is here: the
//! frames over an established WebSocket, the certificates of an end, and the headers by which an
//! edge asks for the upgrade.

#[cfg(feature = "test-util")]
pub mod authority;
mod certificates;
mod frames;
pub mod header;

pub use certificates::{LinkCertificates, certificates, fingerprint, private_key};
pub use frames::{link, settings};
