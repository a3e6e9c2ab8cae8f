//! Calls into sled.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

/// Lets panics in sled's own code be told by the errors that they become, and by nothing else.
///
/// For the start of a process: it wraps the panic hook, which is one for all of it.
pub fn hush_panics() {
    let before = take_hook();
    set_hook(Box::new(move |panic| {
        let is_sled_s = panic.location().is_some_and(|location| location.file().contains("/sled-0."));
        if !is_sled_s {
            before(panic);
        }
    }));
}

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
            Err(format!("sled gave up: {}", text.unwrap_or("no message")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        let outcome = guarded(|| -> sled::Result<()> { panic!("segment {}", 7) });
        assert_eq!(outcome, Err("sled gave up: segment 7".to_owned()));
    }
}
