//! The only place that reads and writes the texts of topics.

use protocol::NodeName;
use protocol::device::{DeviceCall, DeviceId, LocalTopic};

/// What the event bus subscribes to for devices, in this order, before the topics of the configuration.
pub(crate) const OF_DEVICES: [&str; 3] = [
    "$hw/events/device/+/+/state/update",
    "$hw/events/device/+/+/twin/+",
    "$hw/events/node/+/membership/get",
];
/// What it subscribes to for the rules of the cloud, before the topics of the configuration and of the
/// rules.
pub(crate) const FOR_CLOUD: [&str; 3] = ["$hw/events/upload/#", "SYS/dis/upload_records", "+/user/#"];

const DEVICE: &str = "$hw/events/device/";
const NODE: &str = "$hw/events/node/";

/// What a message of a local client is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Devices of this node.
    Device(DeviceCall),
    /// Whatever is passed to the rules of the cloud.
    Cloud,
    /// Looks like a device's or a node's, and is neither.
    Unknown,
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
            return Self::Cloud;
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

/// Tells whether a filter is for what devices say.
pub(crate) fn is_of_devices(filter: &str) -> bool {
    filter.starts_with(DEVICE) || filter.starts_with(NODE)
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
        for topic in [
            "$hw/events/upload/x",
            "SYS/dis/upload_records",
            "x/user/a/b",
            "default/test",
            "$hw/events/device",
            "",
        ] {
            assert_eq!(Topic::parse(topic), Topic::Cloud, "{topic}");
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
            let echoes = OF_DEVICES.iter().chain(&FOR_CLOUD).any(|filter| matches(filter, &written));
            assert!(!echoes, "{written} comes back to the event bus");
        }
    }

    #[test]
    fn the_subscriptions_are_filters() {
        assert!(OF_DEVICES.iter().chain(&FOR_CLOUD).all(|filter| is_filter(filter)));
        assert!(OF_DEVICES.iter().all(|filter| is_of_devices(filter)));
        assert!(!FOR_CLOUD.iter().any(|filter| is_of_devices(filter)));
    }
}
