//! The link between the production hubs over slow connections, in virtual time.

mod museum;
mod shaped;
