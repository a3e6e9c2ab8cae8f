//! What objects look like and what they may say: types, field checks, defaults and validation.

mod default;
mod edit;
mod error;
mod parse;
mod prepare;
mod prune;
mod quantity;
pub mod types;
mod validate;

pub use default::default;
pub use error::{FieldError, FieldErrors, Reason};
pub use parse::{Parsed, parse_json};
pub use prepare::prepare;
pub use prune::{check_types, prune, strict_error};
pub use validate::{validate, warnings};
