//! The link between the production hubs over slow connections, in virtual time.

mod hubs;
mod idle;
mod inventory;
mod shaped;
