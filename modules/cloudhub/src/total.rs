//! The memory that waits for all nodes together.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use protocol::{Object, ObjectChange};

/// What a change costs beside its object.
const CHANGE_BYTES: usize = ObjectChange::BYTES_BESIDE;

/// The bytes that wait in all queues. An object that waits for several nodes is in memory once and
/// counts once. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Total(Rc<RefCell<Counted>>);

#[derive(Debug)]
struct Counted {
    bytes: usize,
    /// How many may wait.
    bytes_max: usize,
    /// How many shares there are of each object, by where its bytes lie. Nothing follows from the order.
    shares: BTreeMap<Place, usize>,
}

/// Where the bytes of an object lie, and how many they are.
type Place = (usize, usize);

/// One queue's share of what waits. It counts until it is dropped, which must be before its object is:
/// another could lie there afterwards.
#[derive(Debug)]
pub(crate) struct Share {
    total: Total,
    place: Place,
}

impl Total {
    /// Counts from nothing; so many bytes may wait.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Rc::new(RefCell::new(Counted { bytes: 0, bytes_max, shares: BTreeMap::new() })))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.borrow().bytes
    }

    /// Tells whether more waits than may.
    pub(crate) fn is_exceeded(&self) -> bool {
        let counted = self.0.borrow();
        counted.bytes > counted.bytes_max
    }

    /// Tells whether so much waits that those who can had better wait.
    pub(crate) fn is_in_need(&self) -> bool {
        let counted = self.0.borrow();
        counted.bytes > counted.bytes_max / 2
    }

    /// Counts a change of an object.
    pub(crate) fn share(&self, object: &Object) -> Share {
        let place = (object.raw().as_ptr().addr(), object.raw().len());
        let mut counted = self.0.borrow_mut();
        let shares = counted.shares.entry(place).or_default();
        *shares += 1;
        let object_bytes = if *shares == 1 { place.1 } else { 0 };
        counted.bytes += CHANGE_BYTES + object_bytes;
        Share { total: self.clone(), place }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counted = self.total.0.borrow_mut();
        counted.bytes -= CHANGE_BYTES;
        let Some(shares) = counted.shares.get_mut(&self.place) else { return };
        *shares -= 1;
        if *shares == 0 {
            counted.shares.remove(&self.place);
            counted.bytes -= self.place.1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> Object {
        Object::parse(format!(r#"{{"metadata":{{"name":"{name}"}}}}"#)).expect("it is an object")
    }

    #[test]
    fn what_waits_for_several_nodes_counts_once() {
        let (total, first, second) = (Total::new(1 << 20), object("first"), object("second"));
        let bytes = first.raw().len();
        let one = total.share(&first);
        assert_eq!(total.bytes(), CHANGE_BYTES + bytes);
        let two = total.clone().share(&first.clone());
        assert_eq!(total.bytes(), 2 * CHANGE_BYTES + bytes);
        let other = total.share(&second);
        assert_eq!(total.bytes(), 3 * CHANGE_BYTES + bytes + second.raw().len());
        drop(one);
        drop(other);
        assert_eq!(total.bytes(), CHANGE_BYTES + bytes);
        drop(two);
        assert_eq!(total.bytes(), 0);
        assert!(total.0.borrow().shares.is_empty());
    }

    #[test]
    fn equal_objects_that_are_in_memory_twice_count_twice() {
        let (total, first, second) = (Total::new(1 << 20), object("same"), object("same"));
        let _shares = [total.share(&first), total.share(&second)];
        assert_eq!(total.bytes(), 2 * (CHANGE_BYTES + first.raw().len()));
    }
}
