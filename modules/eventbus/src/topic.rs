//! The only place that reads and writes the texts of topics.

use protocol::NodeName;
use protocol::device::{DeviceCall, DeviceId, LocalTopic};

/// What the event bus subscribes to, in this order, before the topics of the configuration.
pub(crate) const SUBSCRIPTIONS: [&str; 6] = [
    "$hw/events/upload/#",
    "$hw/events/device/+/+/state/update",
    "$hw/events/device/+/+/twin/+",
    "$hw/events/node/+/membership/get",
    "SYS/dis/upload_records",
    "+/user/#",
];

const DEVICE: &str = "$hw/events/device/";
const NODE: &str = "$hw/events/node/";

/// What a message of a local client is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Devices of this node.
    Device(DeviceCall),
    /// What upstream passes to the rules of the cloud.
    Cloud(CloudTopic),
    /// Looks like a device's or a node's, and is neither.
    Unknown,
}

/// What a message for the cloud was published as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CloudTopic {
    /// `$hw/events/upload/...`.
    Upload,
    /// `SYS/dis/upload_records`.
    Records,
    /// `<anything>/user/...`.
    User,
    /// A topic of the configuration.
    Custom,
}

impl Topic {
    pub(crate) fn parse(text: &str) -> Self {
        let call = if let Some(rest) = text.strip_prefix(DEVICE) {
            device_call(rest)
        } else if let Some(rest) = text.strip_prefix(NODE) {
            // The node's name is not looked at, as upstream's edge does not.
            let path = rest.split_once('/').map(|(_, path)| path);
            (path == Some("membership/get")).then_some(DeviceCall::GetMembership)
        } else {
            return Self::Cloud(cloud_topic(text));
        };
        call.map_or(Self::Unknown, Self::Device)
    }
}

fn device_call(rest: &str) -> Option<DeviceCall> {
    let (namespace, rest) = rest.split_once('/')?;
    let (name, path) = rest.split_once('/')?;
    let call = match path {
        "twin/update" => DeviceCall::UpdateTwins,
        "twin/get" => DeviceCall::GetTwins,
        "twin/cloud_updated" => DeviceCall::SyncTwins,
        "state/update" => DeviceCall::UpdateState,
        "updated" => DeviceCall::UpdateAttributes,
        _ => return None,
    };
    DeviceId::parse(namespace, name).ok().map(call)
}

fn cloud_topic(text: &str) -> CloudTopic {
    if text.starts_with("$hw/events/upload/") {
        CloudTopic::Upload
    } else if text == "SYS/dis/upload_records" {
        CloudTopic::Records
    } else if text.split('/').nth(1) == Some("user") {
        CloudTopic::User
    } else {
        CloudTopic::Custom
    }
}

/// Returns the device that a call is about, if it is about one.
pub(crate) fn device(call: &DeviceCall) -> Option<&DeviceId> {
    match call {
        DeviceCall::UpdateTwins(device)
        | DeviceCall::GetTwins(device)
        | DeviceCall::SyncTwins(device)
        | DeviceCall::UpdateState(device)
        | DeviceCall::UpdateAttributes(device) => Some(device),
        DeviceCall::GetMembership => None,
    }
}

/// Returns a topic's text.
pub(crate) fn text(topic: LocalTopic, node: &NodeName) -> String {
    match topic {
        LocalTopic::TwinResult(Some(device)) => format!("{DEVICE}{device}/twin/update/result"),
        LocalTopic::TwinResult(None) => format!("{DEVICE}/twin/update/result"),
        LocalTopic::TwinDocument(device) => format!("{DEVICE}{device}/twin/update/document"),
        LocalTopic::TwinDelta(device) => format!("{DEVICE}{device}/twin/update/delta"),
        LocalTopic::TwinGetResult(device) => format!("{DEVICE}{device}/twin/get/result"),
        LocalTopic::StateResult(device) => format!("{DEVICE}{device}/state/update/result"),
        LocalTopic::AttributesUpdated(device) => format!("{DEVICE}{device}/updated"),
        LocalTopic::MembershipUpdated => format!("{NODE}{node}/membership/updated"),
        LocalTopic::MembershipResult => format!("{NODE}{node}/membership/get/result"),
        LocalTopic::Other(topic) => topic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{is_filter, is_topic, matches};

    fn id(namespace: &str, name: &str) -> DeviceId {
        DeviceId::parse(namespace, name).expect("a device")
    }

    #[test]
    fn what_devices_say_is_told_by_its_topic() {
        let device = id("default", "temp-1");
        let check = |path: &str, expect: Topic| {
            assert_eq!(Topic::parse(&format!("$hw/events/device/default/temp-1/{path}")), expect, "{path}");
        };
        check("twin/update", Topic::Device(DeviceCall::UpdateTwins(device.clone())));
        check("twin/get", Topic::Device(DeviceCall::GetTwins(device.clone())));
        check("twin/cloud_updated", Topic::Device(DeviceCall::SyncTwins(device.clone())));
        check("state/update", Topic::Device(DeviceCall::UpdateState(device.clone())));
        check("updated", Topic::Device(DeviceCall::UpdateAttributes(device)));
        for path in
            ["state/get", "twin", "twin/", "twin/update/result", "twin/other", "", "/updated", "updated/"]
        {
            check(path, Topic::Unknown);
        }
    }

    #[test]
    fn a_namespace_that_stands_in_the_prefix_is_one_as_any_other() {
        for namespace in ["dev", "device", "event", "events", "hw", "e", "v", "twin", "update"] {
            let topic = format!("$hw/events/device/{namespace}/update/twin/update");
            let expect = Topic::Device(DeviceCall::UpdateTwins(id(namespace, "update")));
            assert_eq!(Topic::parse(&topic), expect);
        }
        for node in ["node", "events", "membership", "edge-1"] {
            let topic = format!("$hw/events/node/{node}/membership/get");
            assert_eq!(Topic::parse(&topic), Topic::Device(DeviceCall::GetMembership));
        }
    }

    #[test]
    fn names_that_are_none_and_half_topics_are_unknown() {
        for topic in [
            "$hw/events/device/",
            "$hw/events/device/default",
            "$hw/events/device/default/d",
            "$hw/events/device//d/twin/update",
            "$hw/events/device/default//twin/update",
            "$hw/events/device/../d/twin/update",
            "$hw/events/device/a b/d/twin/update",
            "$hw/events/device/a%2f/d/twin/update",
            "$hw/events/node/",
            "$hw/events/node/n",
            "$hw/events/node/n/membership/updated",
            "$hw/events/node/n/membership/get/x",
        ] {
            assert_eq!(Topic::parse(topic), Topic::Unknown, "{topic}");
        }
    }

    #[test]
    fn all_else_is_for_the_cloud() {
        for (topic, expect) in [
            ("$hw/events/upload/x", CloudTopic::Upload),
            ("SYS/dis/upload_records", CloudTopic::Records),
            ("x/user/a/b", CloudTopic::User),
            ("default/test", CloudTopic::Custom),
            ("$hw/events/device", CloudTopic::Custom),
            ("", CloudTopic::Custom),
        ] {
            assert_eq!(Topic::parse(topic), Topic::Cloud(expect), "{topic}");
        }
    }

    #[test]
    fn every_topic_is_written_as_upstream_s_edge_writes_it() {
        let (device, node) = (id("default", "temp-1"), NodeName::parse("edge-1").expect("a name"));
        for (topic, expect) in [
            (
                LocalTopic::TwinResult(Some(device.clone())),
                "$hw/events/device/default/temp-1/twin/update/result",
            ),
            (LocalTopic::TwinResult(None), "$hw/events/device//twin/update/result"),
            (
                LocalTopic::TwinDocument(device.clone()),
                "$hw/events/device/default/temp-1/twin/update/document",
            ),
            (LocalTopic::TwinDelta(device.clone()), "$hw/events/device/default/temp-1/twin/update/delta"),
            (LocalTopic::TwinGetResult(device.clone()), "$hw/events/device/default/temp-1/twin/get/result"),
            (LocalTopic::StateResult(device.clone()), "$hw/events/device/default/temp-1/state/update/result"),
            (LocalTopic::AttributesUpdated(device), "$hw/events/device/default/temp-1/updated"),
            (LocalTopic::MembershipUpdated, "$hw/events/node/edge-1/membership/updated"),
            (LocalTopic::MembershipResult, "$hw/events/node/edge-1/membership/get/result"),
            (LocalTopic::Other("default/test".to_owned()), "default/test"),
        ] {
            let written = text(topic, &node);
            assert_eq!(written, expect);
            assert!(is_topic(&written));
            let echoes = SUBSCRIPTIONS.iter().any(|filter| matches(filter, &written));
            assert!(!echoes, "{written} comes back to the event bus");
        }
    }

    #[test]
    fn the_subscriptions_are_filters() {
        assert!(SUBSCRIPTIONS.iter().all(|filter| is_filter(filter)));
    }
}
