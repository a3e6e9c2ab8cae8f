//! The tasks that a module owns.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{self, Poll, ready};

use futures::FutureExt as _;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{Instrument as _, Span};

use crate::core::Core;

/// Names a task of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskKey(u64);

struct Inner {
    set: JoinSet<(TaskKey, Result<(), String>)>,
    handles: BTreeMap<TaskKey, AbortHandle>,
    next: u64,
}

/// The tasks of one value of a module.
pub(crate) struct Tasks {
    inner: RefCell<Inner>,
    core: Arc<Core>,
    span: Span,
}

impl Tasks {
    pub(crate) fn new(core: Arc<Core>, span: Span) -> Self {
        let inner = Inner { set: JoinSet::new(), handles: BTreeMap::new(), next: 0 };
        Self { inner: RefCell::new(inner), core, span }
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) -> TaskKey {
        let mut inner = self.inner.borrow_mut();
        let key = TaskKey(inner.next);
        inner.next += 1;
        let task = AssertUnwindSafe(watched(future, Count::new(self.core.clone()))).catch_unwind();
        let task = async move { (key, task.await.map_err(|panic| panic_text(panic.as_ref()))) };
        let handle = inner.set.spawn_local(task.instrument(self.span.clone()));
        inner.handles.insert(key, handle);
        key
    }

    pub(crate) fn abort(&self, key: TaskKey) {
        if let Some(handle) = self.inner.borrow_mut().handles.remove(&key) {
            handle.abort();
        }
    }

    /// Returns the text of the first panic, once there is one.
    pub(crate) fn poll_panic(&self, cx: &mut task::Context<'_>) -> Poll<String> {
        let mut inner = self.inner.borrow_mut();
        // Most modules have no task most of the time.
        while !inner.set.is_empty() {
            match ready!(inner.set.poll_join_next(cx)) {
                Some(Ok((key, done))) => {
                    inner.handles.remove(&key);
                    if let Err(panic) = done {
                        return Poll::Ready(panic);
                    }
                }
                // Aborted, or its destructor panicked.
                Some(Err(error)) if error.is_cancelled() => {}
                Some(Err(error)) => return Poll::Ready(panic_text(error.into_panic().as_ref())),
                None => break,
            }
        }
        Poll::Pending
    }

    /// Drops all tasks, and returns when the last is gone.
    pub(crate) async fn drop_all(&self) {
        let mut set = std::mem::take(&mut self.inner.borrow_mut().set);
        set.shutdown().await;
    }
}

/// Counts one task for as long as it exists.
struct Count(Arc<Core>);

impl Count {
    fn new(core: Arc<Core>) -> Self {
        core.tasks.fetch_add(1, Ordering::Relaxed);
        Self(core)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.tasks.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs a task and reports each of its polls.
async fn watched(future: impl Future<Output = ()>, count: Count) {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        count.0.stir();
        future.as_mut().poll(cx)
    })
    .await;
}

/// Returns what a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_else(|| "no text".to_owned()))
}
