//! HTTP as the service bus needs it: a client of the node's services, and a listener for its applications.

mod client;
mod server;

pub use client::LoopbackClient;
pub use server::HttpAppListener;
