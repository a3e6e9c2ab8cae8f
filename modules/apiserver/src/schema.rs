//! What objects look like and what they may say: types, field checks, defaults and validation.

mod error;
pub mod types;

pub use error::{FieldError, FieldErrors, Reason};
