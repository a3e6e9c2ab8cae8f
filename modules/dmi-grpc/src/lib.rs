//! What edgecore and mappers have in common: DMI's services over gRPC on Unix sockets.
//!
//! Edgecore serves [`services::device_manager_service_server`] and calls each mapper's
//! [`services::device_mapper_service_client`]; a mapper does the reverse. Each end [`serve`]s a socket that
//! only its own user may open, and reaches the other's through a [`channel`].

mod authority;
mod connection;
mod dial;
mod hpack;
mod serve;
mod socket;

/// The services that `build.rs` generates.
pub mod services {
    tonic::include_proto!("v1beta1");
}

pub use dial::{channel, socket_path};
pub use serve::{MESSAGE_BYTES_MAX, serve};
pub use socket::{BindError, Socket};
