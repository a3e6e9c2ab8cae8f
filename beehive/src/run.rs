//! Where a `main` begins.

/// Runs a future, and with it the nodes that it launches, on this thread.
///
/// # Errors
///
/// When the system gives no runtime: no memory, or no file descriptors.
pub fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(tokio::task::LocalSet::new().block_on(&runtime, future))
}
