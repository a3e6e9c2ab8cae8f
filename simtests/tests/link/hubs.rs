//! The hubs of both ends alone, with a link between them that is as slow as real ones.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use beehive::{NodeOptions, Probe};
use edgehub::{CodecChoice, EdgeHub, EdgeHubConfig};
use protocol::edge::{KeepChange, ListHeld};
use protocol::group;
use store::MemoryStore;

use crate::shaped::Shaped;

/// The hub of an edge, whose other modules keep every change at once and count it.
pub(crate) async fn edge(
    name: &str,
    codec: CodecChoice,
    dialer: Shaped,
    kept: &Rc<Cell<usize>>,
) -> Probe<EdgeHub> {
    let kept = Rc::clone(kept);
    let ports = edgehub::Ports { dialer: Arc::new(dialer), store: Arc::new(MemoryStore::new()) };
    Probe::new(EdgeHubConfig { codec, ..EdgeHubConfig::default() }, ports)
        .serve::<ListHeld>(group::META, |_| Ok(Vec::new()))
        .serve::<KeepChange>(group::META, move |_| {
            kept.set(kept.get() + 1);
            Ok(())
        })
        .options(NodeOptions { name: name.to_owned(), ..NodeOptions::default() })
        .start()
        .await
}
