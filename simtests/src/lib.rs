//! Checks of the repository and of whole processes; see `tests/`.
