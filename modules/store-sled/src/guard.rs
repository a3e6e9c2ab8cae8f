//! Calls into sled.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls into sled and turns its error or its panic into a text.
///
/// sled's structures stay usable after a panic only for closing; callers give the store up.
pub(crate) fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            Err(format!("sled panicked: {}", text.unwrap_or("no message")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        let outcome = guarded(|| -> sled::Result<()> { panic!("segment {}", 7) });
        assert_eq!(outcome, Err("sled panicked: segment 7".to_owned()));
    }
}
