//! An embedded Kubernetes API server: the REST API over a durable store, callable in-process as a
//! `tower::Service` or behind a listener.

mod auth;
pub mod discovery;
mod lifecycle;
pub mod openapi;
pub mod patch;
mod plain;
mod ports;
pub mod protobuf;
pub mod registry;
pub mod schema;
mod select;
mod server;
mod storage;
mod subresource;
pub mod table;
mod verbs;

pub use auth::{Identity, SigningKey, StaticToken};
pub use lifecycle::Upkeep;
pub use ports::{NoNodeLogs, NodeLogs, WallClock};
pub use server::body::ResponseBody;
pub use server::error::ApiError;
pub use server::service::ClientService;
pub use server::{ApiServer, OpenError, Options, ServiceRange};
pub use storage::HistoryLimits;
