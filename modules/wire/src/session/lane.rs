//! The lanes of a link: what goes first.

use protocol::{NodeRequest, ObjectChange, ResourceType};

/// What a frame is about, which decides what it overtakes.
///
/// | Lane | What travels in it |
/// |---|---|
/// | `Liveness` | pings, pongs, leases and the answers to them |
/// | `Status` | acknowledgements; what a node reports of itself and of its pods, and the answers |
/// | `Sync` | changes of objects; what a node asks for, and the answers; what is compared |
/// | `Bulk` | events; what rules route; changes of objects larger than [`BULK_BYTES_MIN`] |
///
/// All requests that change one object travel in one lane, so that they keep their order. Changes
/// of one object keep theirs because only one of them is unacknowledged at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Without it the peer is taken for dead.
    Liveness,
    /// Small, and others wait for it.
    Status,
    /// What the peer is to know.
    Sync,
    /// What can wait.
    Bulk,
}

/// An object of so many bytes lets smaller ones overtake it.
pub const BULK_BYTES_MIN: usize = 16 << 10;

impl Lane {
    /// All lanes, the first one first.
    pub const ALL: [Self; 4] = [Self::Liveness, Self::Status, Self::Sync, Self::Bulk];

    /// Returns the lane of a request and of the answer to it.
    #[must_use]
    pub fn of_request(request: &NodeRequest) -> Self {
        match request {
            NodeRequest::Lease(_) => Self::Liveness,
            NodeRequest::Query(key) if key.resource == ResourceType::LEASE => Self::Liveness,
            NodeRequest::RegisterNode(_)
            | NodeRequest::UpdateNode(_)
            | NodeRequest::PatchNodeStatus { .. }
            | NodeRequest::PatchPodStatus { .. }
            | NodeRequest::CreatePod(_)
            | NodeRequest::DeletePod { .. } => Self::Status,
            NodeRequest::Query(_)
            | NodeRequest::Token { .. }
            | NodeRequest::CreateCsr(_)
            | NodeRequest::ReportDeviceState { .. }
            | NodeRequest::KubernetesCa => Self::Sync,
            NodeRequest::RecordEvent(_)
            | NodeRequest::PatchEvent { .. }
            | NodeRequest::ReportTwins { .. }
            | NodeRequest::Upload { .. }
            | NodeRequest::CallUrl { .. } => Self::Bulk,
        }
    }

    /// Returns the lane of what a node is to do for the rules, or of what came of it, by its size in bytes.
    #[must_use]
    pub const fn of_routed(bytes: usize) -> Self {
        if bytes < BULK_BYTES_MIN { Self::Sync } else { Self::Bulk }
    }

    /// Returns the lane of a change.
    #[must_use]
    pub fn of_change(change: &ObjectChange) -> Self {
        if change.object.raw().len() < BULK_BYTES_MIN { Self::Sync } else { Self::Bulk }
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}
