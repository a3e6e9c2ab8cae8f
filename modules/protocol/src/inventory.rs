//! What a node holds, in sums by which two ends find out whether they know the same.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::name::{ResourceVersion, Uid};
use crate::object::{ChangeKind, Held, ObjectChange, ObjectKey};

/// The smallest parts of an inventory that can be compared by themselves.
const LEAVES: usize = 256;
/// About how many objects a bucket of a summary stands for, where there are enough buckets.
const BUCKET_OBJECTS: usize = 8;

/// Stands for all that an inventory says. Two that differ have the same one by a chance of one in 2^128.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// Reads a digest from its bytes.
    #[must_use]
    pub const fn of_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// Returns the digest's bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Some of the buckets among which the objects of an inventory are spread by their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    of: usize,
    chosen: Vec<u8>,
}

impl Buckets {
    /// Chooses some `of` so many buckets; `None` where there is no such number of buckets or no such
    /// bucket. The number is a power of two up to 256.
    #[must_use]
    pub fn new(of: usize, chosen: Vec<u8>) -> Option<Self> {
        let is_sound = is_number_of_buckets(of) && chosen.iter().all(|bucket| usize::from(*bucket) < of);
        is_sound.then_some(Self { of, chosen })
    }

    /// Returns how many buckets there are.
    #[must_use]
    pub const fn of(&self) -> usize {
        self.of
    }

    /// Returns those that are meant.
    #[must_use]
    pub fn chosen(&self) -> &[u8] {
        &self.chosen
    }

    /// Returns those that are not in `others`.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        let left = self.chosen.iter().filter(|bucket| !others.chosen.contains(bucket));
        Self { of: self.of, chosen: left.copied().collect() }
    }

    fn has(&self, leaf: u8) -> bool {
        self.chosen.iter().any(|bucket| usize::from(*bucket) == usize::from(leaf) % self.of)
    }
}

const fn is_number_of_buckets(number: usize) -> bool {
    number.is_power_of_two() && number <= LEAVES
}

/// What a node is said to hold, and its sums, which are kept up to date.
///
/// An object's part of a sum is the first half of the SHA-256 of its key, its uid and its version; a
/// sum is taken modulo 2^128, so that no order matters. The objects are spread by the SHA-256 of their
/// keys over 256 leaves, and a summary has a power of two of buckets, each with as many leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    held: BTreeMap<ObjectKey, (Option<Uid>, Option<ResourceVersion>)>,
    sums: Box<[u128; LEAVES]>,
}

impl Default for Inventory {
    fn default() -> Self {
        Self { held: BTreeMap::new(), sums: Box::new([0; LEAVES]) }
    }
}

impl FromIterator<Held> for Inventory {
    fn from_iter<T: IntoIterator<Item = Held>>(all: T) -> Self {
        let mut inventory = Self::default();
        all.into_iter().for_each(|held| inventory.insert(held));
        inventory
    }
}

impl Inventory {
    /// Notes what is held of an object.
    pub fn insert(&mut self, held: Held) {
        self.remove(&held.key);
        let (leaf, sum) = place(&held.key, held.uid.as_ref(), held.resource_version.as_ref());
        self.sums[usize::from(leaf)] = self.sums[usize::from(leaf)].wrapping_add(sum);
        self.held.insert(held.key, (held.uid, held.resource_version));
    }

    /// Notes that nothing is held of an object.
    pub fn remove(&mut self, key: &ObjectKey) {
        let Some((uid, version)) = self.held.remove(key) else { return };
        let (leaf, sum) = place(key, uid.as_ref(), version.as_ref());
        self.sums[usize::from(leaf)] = self.sums[usize::from(leaf)].wrapping_sub(sum);
    }

    /// Notes that a change is held.
    pub fn take(&mut self, change: &ObjectChange) {
        match change.kind {
            ChangeKind::Insert | ChangeKind::Update => self.insert(Held {
                key: change.key.clone(),
                uid: change.object.uid(),
                resource_version: change.object.resource_version(),
            }),
            ChangeKind::Delete => self.remove(&change.key),
        }
    }

    /// Returns how many objects are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Tells whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns what stands for all that is held.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(self.sums.iter().fold(0, |all, sum| all.wrapping_add(*sum)))
    }

    /// Returns the sums of buckets, as many as suit the number of objects; the lower half of each.
    #[must_use]
    pub fn summary(&self) -> Vec<u64> {
        let buckets = self.len().div_ceil(BUCKET_OBJECTS).next_power_of_two();
        self.sums_of(buckets.min(LEAVES))
    }

    fn sums_of(&self, buckets: usize) -> Vec<u64> {
        let sum = |bucket| {
            let leaves = self.sums.iter().skip(bucket).step_by(buckets);
            let sum = leaves.fold(0_u128, |all, sum| all.wrapping_add(*sum));
            u64::try_from(sum & u128::from(u64::MAX)).expect("the lower half of the sum")
        };
        (0..buckets).map(sum).collect()
    }

    /// Returns the buckets in which this differs from what has the summary; `None` if it is none.
    #[must_use]
    pub fn differing(&self, summary: &[u64]) -> Option<Buckets> {
        let of = summary.len();
        if !is_number_of_buckets(of) {
            return None;
        }
        let own = self.sums_of(of);
        let differs = |bucket: &u8| own.get(usize::from(*bucket)) != summary.get(usize::from(*bucket));
        let last = u8::try_from(of - 1).expect("at most 256 buckets");
        Buckets::new(of, (0..=last).filter(differs).collect())
    }

    /// Lists all that is held, in the order of the keys.
    #[must_use]
    pub fn list(&self) -> Vec<Held> {
        self.iter().collect()
    }

    /// Lists what is held in some buckets, bucket by bucket, until they have `objects_max` objects or
    /// more; returns also the buckets that are listed, which is at least one.
    #[must_use]
    pub fn list_in(&self, wanted: &Buckets, objects_max: usize) -> (Buckets, Vec<Held>) {
        let mut by_bucket: BTreeMap<u8, Vec<Held>> =
            wanted.chosen.iter().map(|bucket| (*bucket, Vec::new())).collect();
        for held in self.iter() {
            let bucket = u8::try_from(usize::from(leaf(&held.key)) % wanted.of).expect("at most 256 buckets");
            if let Some(listed) = by_bucket.get_mut(&bucket) {
                listed.push(held);
            }
        }
        let (mut chosen, mut listed) = (Vec::new(), Vec::new());
        for (bucket, held) in by_bucket {
            if !chosen.is_empty() && listed.len() + held.len() > objects_max {
                break;
            }
            chosen.push(bucket);
            listed.extend(held);
        }
        (Buckets { of: wanted.of, chosen }, listed)
    }

    /// Takes `held` for all that is held in some buckets. What is listed and lies in none of them is
    /// passed over.
    pub fn replace(&mut self, buckets: &Buckets, held: Vec<Held>) {
        let gone: Vec<ObjectKey> = self.held.keys().filter(|key| buckets.has(leaf(key))).cloned().collect();
        gone.iter().for_each(|key| self.remove(key));
        held.into_iter().filter(|held| buckets.has(leaf(&held.key))).for_each(|held| self.insert(held));
    }

    fn iter(&self) -> impl Iterator<Item = Held> {
        self.held.iter().map(|(key, (uid, version))| Held {
            key: key.clone(),
            uid: uid.clone(),
            resource_version: version.clone(),
        })
    }
}

fn keyed(key: &ObjectKey) -> Sha256 {
    let mut hasher = Sha256::new();
    write(&mut hasher, Some(key.resource.as_str()));
    write(&mut hasher, key.namespace.as_ref().map(|namespace| namespace.as_str()));
    write(&mut hasher, Some(key.name.as_str()));
    hasher
}

fn leaf(key: &ObjectKey) -> u8 {
    keyed(key).finalize()[0]
}

/// Returns the leaf of an object and its part of the sum.
fn place(key: &ObjectKey, uid: Option<&Uid>, version: Option<&ResourceVersion>) -> (u8, u128) {
    let mut hasher = keyed(key);
    let leaf = hasher.clone().finalize()[0];
    write(&mut hasher, uid.map(Uid::as_str));
    write(&mut hasher, version.map(ResourceVersion::as_str));
    let mut half = [0; 16];
    half.copy_from_slice(&hasher.finalize()[..16]);
    (leaf, u128::from_be_bytes(half))
}

/// Writes a text so that no two lists of texts write the same: its length in bytes, then its bytes;
/// what is absent as the greatest length.
fn write(hasher: &mut Sha256, text: Option<&str>) {
    let length = text.map_or(u32::MAX, |text| u32::try_from(text.len()).unwrap_or(u32::MAX - 1));
    hasher.update(length.to_be_bytes());
    hasher.update(text.unwrap_or_default());
}

#[cfg(test)]
mod tests;
