//! The vocabulary that Beehive's modules share: who they are grouped as, the
//! nouns they speak of, and the messages they exchange on the bus.
//!
//! Nothing here does IO, and no message can be serialized: bytes exist only in
//! `wire`, in stores and in adapters.

pub mod group;
mod inventory;
mod name;
mod object;
mod status;

pub mod cloud;
pub mod device;
pub mod edge;
pub mod filter;
pub mod request;
pub mod rules;

pub use device::DeviceId;
pub use inventory::{Buckets, Digest, Inventory};
pub use name::{NameError, Namespace, NodeName, ObjectName, ResourceType, ResourceVersion, Uid};
pub use object::{ChangeKind, Held, Kept, Object, ObjectChange, ObjectError, ObjectKey, ObjectMeta};
pub use request::{Lease, NodeReply, NodeRequest};
pub use status::ApiStatus;
