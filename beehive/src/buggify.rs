//! Things that go wrong on purpose.

/// Decides where things go wrong on purpose. Only simulations give one to a node.
///
/// A point is a place in a module where something that is rare can be made to happen: a queue that is
/// full, a pause, a message that comes late. Nothing that may not happen without it.
pub trait Buggify: Send + Sync {
    /// Tells whether something is to go wrong at this point of a module of `node`.
    fn strikes(&self, node: &str, point: &'static str) -> bool;
}
