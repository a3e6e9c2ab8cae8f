//! Who asks, and what they may do.

pub(crate) mod bootstrap;
pub(crate) mod identity;
pub(crate) mod impersonate;
pub(crate) mod rbac;
pub(crate) mod token;

pub use identity::{Identity, StaticToken};
pub use token::SigningKey;
