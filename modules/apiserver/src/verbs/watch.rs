//! Watching: a stream of the changes of a resource.
//!
//! A watcher owns no queue. It is a cursor in the resource's history; one that falls out of the
//! history is told so and ended.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use futures::stream;
use serde_json::{Value, json};
use tokio::time::{Sleep, sleep};

use crate::registry::Resource;
use crate::select::Selection;
use crate::server::ApiServer;
use crate::server::call::{Call, Wanted};
use crate::server::error::ApiError;
use crate::server::query::{forbidden_match, version};
use crate::server::reply::{JSON, Reply};
use crate::storage::history::Event;
use crate::storage::object::{Key, Stored};
use crate::storage::{Range, Space, Storage};
use crate::table;
use crate::verbs::negotiate::{self, Form};
use crate::verbs::{read, render};

const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// How long a watch lasts when the client does not say: this much, up to twice as long.
const TIMEOUT_SECONDS_MIN: u32 = 1800;
const CHUNK_EVENTS: usize = 64;

pub(crate) fn watch(call: &Call, wanted: &Wanted) -> Result<Reply, ApiError> {
    let form = negotiate::form(call)?;
    let mut selection = read::selection(call, wanted)?;
    if let Some(name) = &wanted.path.name {
        selection = selection.named(name);
    }
    let start = Start::of(call)?;
    let server = &call.server;
    let slot = Slot::take(server)?;
    let space = Arc::clone(&wanted.resource.storage);
    let storage = Arc::clone(&server.0.storage);
    // Subscribed before anything is read, so that no change falls in between.
    let signal = storage.subscribe(&space);
    let namespace: Option<Arc<str>> = wanted.path.namespace.as_deref().map(Into::into);
    let (initial, cursor) = match start {
        Start::After(version) => {
            if version > storage.version() {
                return Err(ApiError::version_ahead(version, storage.version()));
            }
            (Vec::new(), version)
        }
        Start::Now => (Vec::new(), storage.version()),
        Start::State { .. } => {
            let range = Range { namespace: namespace.clone(), ..Range::default() };
            let snapshot = storage.list(&space, &range, None, |key, object| selection.matches(key, object));
            let snapshot = snapshot.map_err(|_| ApiError::internal("the latest state is never forgotten"))?;
            (snapshot.objects, snapshot.version)
        }
    };
    let bookmarks = call.query.flag("allowWatchBookmarks");
    let seconds = match call.query.number("timeoutSeconds")?.filter(|seconds| *seconds > 0) {
        Some(seconds) => seconds.min(24 * 3600),
        None => u64::from(TIMEOUT_SECONDS_MIN + server.random_below(TIMEOUT_SECONDS_MIN)),
    };
    let watcher = Watcher {
        storage,
        server: server.clone(),
        resource: Arc::clone(&wanted.resource),
        space,
        namespace,
        selection,
        form,
        signal,
        cursor,
        initial: initial.into_iter(),
        ends_initial: bookmarks && matches!(start, Start::State { marked: true }),
        bookmarks,
        columns: true,
        deadline: Box::pin(sleep(Duration::from_secs(seconds))),
        bookmark_due: Box::pin(sleep(BOOKMARK_PERIOD)),
        ended: false,
        _slot: slot,
    };
    Ok(Reply::stream(JSON, stream::unfold(watcher, Watcher::next).boxed()))
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// With every object as it is, and a mark after the last if it is wanted.
    State { marked: bool },
    /// With what changes from here on.
    Now,
    /// After a version.
    After(u64),
}

impl Start {
    fn of(call: &Call) -> Result<Self, ApiError> {
        let matching = call.query.filled("resourceVersionMatch");
        let version = version(&call.query)?.filter(|version| *version > 0);
        if call.query.filled("sendInitialEvents").is_none() {
            if matching.is_some() {
                return Err(forbidden_match(
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
            }
            return Ok(version.map_or(Self::State { marked: false }, Self::After));
        }
        if matching != Some("NotOlderThan") {
            return Err(forbidden_match(
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        if !call.query.flag("sendInitialEvents") {
            return Ok(version.map_or(Self::Now, Self::After));
        }
        match version {
            Some(asked) if asked > call.server.0.storage.version() => {
                Err(ApiError::version_ahead(asked, call.server.0.storage.version()))
            }
            _ => Ok(Self::State { marked: true }),
        }
    }
}

/// One of the watches that may be open at once.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(server: &ApiServer) -> Result<Self, ApiError> {
        let slot = Self(Arc::clone(&server.0.watches));
        if slot.0.fetch_add(1, Ordering::Relaxed) >= server.0.options.watches_max {
            return Err(ApiError::too_many_requests("too many watches are open"));
        }
        Ok(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Watcher {
    storage: Arc<Storage>,
    server: ApiServer,
    resource: Arc<Resource>,
    space: Space,
    namespace: Option<Arc<str>>,
    selection: Selection,
    form: Form,
    signal: beehive::latest::Receiver<u64>,
    /// All changes up to this version were sent.
    cursor: u64,
    initial: std::vec::IntoIter<(Key, Arc<Stored>)>,
    /// A mark has to follow the initial objects.
    ends_initial: bool,
    bookmarks: bool,
    /// The next table carries the column definitions.
    columns: bool,
    deadline: Pin<Box<Sleep>>,
    bookmark_due: Pin<Box<Sleep>>,
    ended: bool,
    _slot: Slot,
}

impl Watcher {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if self.ended {
            return None;
        }
        if let Some(chunk) = self.next_initial() {
            return Some((chunk, self));
        }
        loop {
            // Asked for first, so that a busy resource does not keep a watch open for ever.
            if futures::poll!(self.deadline.as_mut()).is_ready() {
                self.ended = true;
                return self.bookmarks.then(|| (self.bookmark(false), self));
            }
            self.signal.mark_seen();
            match self.storage.changes(&self.space, self.cursor, CHUNK_EVENTS) {
                Err(forgotten) => {
                    self.ended = true;
                    let message = format!("too old resource version: {} ({})", self.cursor, forgotten.floor);
                    let chunk = line("ERROR", ApiError::expired(message).status().to_string().as_bytes());
                    return Some((chunk, self));
                }
                Ok((events, upto)) => {
                    self.cursor = upto;
                    let chunk = self.render(&events);
                    if !chunk.is_empty() {
                        return Some((chunk, self));
                    }
                    if events.len() == CHUNK_EVENTS {
                        continue;
                    }
                }
            }
            tokio::select! {
                biased;
                changed = self.signal.changed() => {
                    if changed.is_err() {
                        return None;
                    }
                }
                () = self.deadline.as_mut() => {}
                () = self.bookmark_due.as_mut(), if self.bookmarks => {
                    self.bookmark_due = Box::pin(sleep(BOOKMARK_PERIOD));
                    return Some((self.bookmark(false), self));
                }
            }
        }
    }

    fn next_initial(&mut self) -> Option<Bytes> {
        let objects: Vec<_> = self.initial.by_ref().take(CHUNK_EVENTS).collect();
        let mut chunk = BytesMut::new();
        for (_, object) in &objects {
            chunk.put(self.event("ADDED", object));
        }
        if chunk.is_empty() && self.ends_initial {
            self.ends_initial = false;
            return Some(self.bookmark(true));
        }
        (!chunk.is_empty()).then(|| chunk.freeze())
    }

    fn render(&mut self, events: &[Arc<Event>]) -> Bytes {
        let mut chunk = BytesMut::new();
        for event in events {
            if self.namespace.as_ref().is_some_and(|namespace| *namespace != event.key.namespace) {
                continue;
            }
            let wanted = |object: &Stored| self.selection.matches(&event.key, object);
            let before = event.before.as_ref().filter(|object| wanted(object)).cloned();
            let after = Some(&event.after).filter(|object| !event.deleted && wanted(object)).cloned();
            let line = match (before, after) {
                (None, None) => continue,
                (None, Some(object)) => self.event("ADDED", &object),
                (Some(_), Some(object)) => self.event("MODIFIED", &object),
                (Some(_), None) if event.deleted => self.event("DELETED", &event.after.clone()),
                // It lives on but is out of sight: the last state that was in sight, at this version.
                (Some(last), None) => match Stored::new(last.bare_value(), event.version) {
                    Ok(last) => self.event("DELETED", &last),
                    Err(_) => continue,
                },
            };
            chunk.put(line);
        }
        chunk.freeze()
    }

    fn event(&mut self, kind: &str, object: &Stored) -> Bytes {
        match &self.form {
            Form::Plain => line(kind, &render::json(&self.resource, object)),
            Form::Table(request) => {
                let value = render::value(&self.resource, object);
                let now = self.server.now();
                let table =
                    table::object(&self.resource, &value, request, now, std::mem::take(&mut self.columns));
                line(kind, table.to_string().as_bytes())
            }
            Form::Metadata(version) => {
                let value = table::partial_metadata(&render::value(&self.resource, object), *version);
                line(kind, value.to_string().as_bytes())
            }
        }
    }

    fn bookmark(&self, ends_initial: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": self.cursor.to_string(), "creationTimestamp": null});
        if ends_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object: Value = match &self.form {
            Form::Table(request) => {
                json!({"kind": "Table", "apiVersion": request.version.api_version(), "metadata": metadata,
                                     "columnDefinitions": null, "rows": []})
            }
            Form::Metadata(version) => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": version.api_version(),
                                              "metadata": metadata})
            }
            Form::Plain => json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(),
                                  "metadata": metadata}),
        };
        line("BOOKMARK", object.to_string().as_bytes())
    }
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    let mut line = BytesMut::with_capacity(object.len() + kind.len() + 24);
    line.put_slice(b"{\"type\":\"");
    line.put_slice(kind.as_bytes());
    line.put_slice(b"\",\"object\":");
    line.put_slice(object);
    line.put_slice(b"}\n");
    line.freeze()
}
