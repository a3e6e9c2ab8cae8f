//! The hubs of both ends alone, with a link between them that is as slow as real ones.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use beehive::{NodeOptions, Probe};
use edgehub::{CodecChoice, EdgeHub, EdgeHubConfig};
use protocol::edge::{KeepChange, ListHeld};
use protocol::{Object, group};
use store::MemoryStore;

use crate::shaped::Shaped;

/// Makes an object whose content resembles no other's.
pub(crate) fn object(name: &str, bytes: usize) -> Object {
    let mut seed = name.bytes().fold(1_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'a' + u8::try_from((seed >> 33) % 26).expect("a letter"))
    });
    let noise: String = noise.take(bytes).collect();
    let text = format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"default","resourceVersion":"1"}},"spec":"{noise}"}}"#
    );
    Object::parse(text).expect("an object")
}

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
