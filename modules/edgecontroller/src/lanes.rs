//! The order in which the requests of nodes are served.

use std::collections::{BTreeMap, VecDeque};

use protocol::{NodeName, NodeRequest, ObjectKey, ResourceType};

/// How many requests of one node may be served or wait.
const NODE_REQUESTS_MAX: usize = 256;

/// What a request changes. Requests of a node that change the same are served one after the other,
/// all others side by side: a lease never waits behind a status.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Lease,
    Object(ObjectKey),
    /// Nothing that others change: each stands for itself.
    Nothing(u64),
}

/// What came of offering a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission<J> {
    /// Serve it now, and then [`Lanes::finish`] its subject.
    Start(Subject, J),
    /// It waits for those before it.
    Waits,
    /// The node asks for too much at once.
    Refused(J),
}

#[derive(Debug)]
struct NodeLanes<J> {
    count: usize,
    lanes: BTreeMap<Subject, VecDeque<J>>,
}

/// The requests that are served or wait, by node and subject.
#[derive(Debug)]
pub(crate) struct Lanes<J> {
    nodes: BTreeMap<NodeName, NodeLanes<J>>,
    free: u64,
}

impl<J> Default for Lanes<J> {
    fn default() -> Self {
        Self { nodes: BTreeMap::new(), free: 0 }
    }
}

impl<J> Lanes<J> {
    /// Offers a request that changes `subject`, or nothing that others change.
    pub(crate) fn offer(&mut self, node: &NodeName, subject: Option<Subject>, job: J) -> Admission<J> {
        let subject = subject.unwrap_or_else(|| {
            self.free += 1;
            Subject::Nothing(self.free)
        });
        let entry = self.nodes.entry(node.clone()).or_insert(NodeLanes { count: 0, lanes: BTreeMap::new() });
        if entry.count >= NODE_REQUESTS_MAX && subject != Subject::Lease {
            return Admission::Refused(job);
        }
        if let Some(waiting) = entry.lanes.get_mut(&subject) {
            if waiting.len() >= NODE_REQUESTS_MAX {
                return Admission::Refused(job);
            }
            waiting.push_back(job);
            entry.count += 1;
            return Admission::Waits;
        }
        entry.lanes.insert(subject.clone(), VecDeque::new());
        entry.count += 1;
        Admission::Start(subject, job)
    }

    /// Notes that a request was served; returns the next one of its subject.
    pub(crate) fn finish(&mut self, node: &NodeName, subject: &Subject) -> Option<J> {
        let entry = self.nodes.get_mut(node)?;
        let waiting = entry.lanes.get_mut(subject)?;
        entry.count -= 1;
        let next = waiting.pop_front();
        if next.is_none() {
            entry.lanes.remove(subject);
        }
        if entry.count == 0 {
            self.nodes.remove(node);
        }
        next
    }
}

/// Returns what a request changes, if others may change it too.
pub(crate) fn subject(request: &NodeRequest) -> Option<Subject> {
    let own = |object: &protocol::Object, resource| object.key(resource).ok().map(Subject::Object);
    match request {
        NodeRequest::RegisterNode(node) | NodeRequest::UpdateNode(node) => own(node, ResourceType::NODE),
        NodeRequest::PatchNodeStatus { node, .. } => {
            let name = protocol::ObjectName::parse(node.as_str()).ok()?;
            Some(Subject::Object(ObjectKey { resource: ResourceType::NODE, namespace: None, name }))
        }
        NodeRequest::PatchPodStatus { namespace, pod, .. }
        | NodeRequest::DeletePod { namespace, pod, .. } => {
            let namespace = Some(namespace.clone());
            Some(Subject::Object(ObjectKey { resource: ResourceType::POD, namespace, name: pod.clone() }))
        }
        NodeRequest::CreatePod(pod) => own(pod, ResourceType::POD),
        NodeRequest::Lease(_) => Some(Subject::Lease),
        NodeRequest::RecordEvent(event) | NodeRequest::PatchEvent { event, .. } => {
            own(event, ResourceType::EVENT)
        }
        NodeRequest::Query(_)
        | NodeRequest::Token { .. }
        | NodeRequest::CreateCsr(_)
        | NodeRequest::KubernetesCa
        | NodeRequest::ReportTwins { .. }
        | NodeRequest::ReportDeviceState { .. }
        | NodeRequest::Upload { .. }
        | NodeRequest::CallUrl { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::parse(name).expect("a valid name")
    }

    fn pod(name: &str) -> Option<Subject> {
        let name = protocol::ObjectName::parse(name).expect("a valid name");
        Some(Subject::Object(ObjectKey { resource: ResourceType::POD, namespace: None, name }))
    }

    fn starts<J: std::fmt::Debug>(admission: Admission<J>) -> J {
        match admission {
            Admission::Start(_, job) => job,
            other => panic!("{other:?} does not start"),
        }
    }

    #[test]
    fn requests_for_one_object_keep_their_order_and_others_do_not_wait() {
        let (mut lanes, n) = (Lanes::default(), node("n"));
        assert_eq!(starts(lanes.offer(&n, pod("a"), 1)), 1);
        assert_eq!(lanes.offer(&n, pod("a"), 2), Admission::Waits);
        assert_eq!(lanes.offer(&n, pod("a"), 3), Admission::Waits);
        assert_eq!(starts(lanes.offer(&n, pod("b"), 4)), 4);
        assert_eq!(starts(lanes.offer(&node("m"), pod("a"), 5)), 5);
        assert_eq!(starts(lanes.offer(&n, None, 6)), 6);
        assert_eq!(starts(lanes.offer(&n, None, 7)), 7);
        let a = pod("a").expect("a subject");
        assert_eq!(lanes.finish(&n, &a), Some(2));
        assert_eq!(lanes.finish(&n, &a), Some(3));
        assert_eq!(lanes.finish(&n, &a), None);
        assert_eq!(starts(lanes.offer(&n, pod("a"), 8)), 8);
    }

    #[test]
    fn a_node_that_asks_too_much_is_refused_but_for_its_lease() {
        let (mut lanes, n) = (Lanes::default(), node("n"));
        for job in 0..NODE_REQUESTS_MAX {
            starts(lanes.offer(&n, None, job));
        }
        assert_eq!(lanes.offer(&n, pod("a"), 7), Admission::Refused(7));
        assert_eq!(starts(lanes.offer(&n, Some(Subject::Lease), 8)), 8);
        assert_eq!(starts(lanes.offer(&node("m"), None, 9)), 9);
        for free in 1..=NODE_REQUESTS_MAX {
            let free = u64::try_from(free).expect("a small number");
            assert_eq!(lanes.finish(&n, &Subject::Nothing(free)), None);
        }
        assert_eq!(lanes.finish(&n, &Subject::Lease), None);
        assert_eq!(lanes.nodes.len(), 1, "nothing is kept of a node that waits for nothing");
    }
}
