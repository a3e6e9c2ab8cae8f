//! The link between the production hubs over slow connections, in virtual time.

mod inventory;
mod museum;
mod shaped;
