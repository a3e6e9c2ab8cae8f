//! Between the versions of KubeEdge's devices and their models, which are kept as
//! `devices.kubeedge.io/v1beta1`.
//!
//! KubeEdge up to 1.14 had `v1alpha2`, whose manifests its tutorials print: protocols are typed there, the
//! node is a selector, and what is wanted stands in the status. KubeEdge itself converts nothing: what is
//! written in one version is served in the other with the fields that both happen to have.
//!
//! What `v1beta1` has no field for stands in an annotation. It counts as long as it says what the kept
//! object says: an object that was changed since in its newer version is shown as that says.

use serde_json::{Map, Value, json};

use super::Resource;
use super::parts::{annotate, take, take_annotation};

type Object = Map<String, Value>;

const GROUP: &str = "devices.kubeedge.io";
const OLDER: &str = "v1alpha2";
const KEPT_AS: &str = "v1beta1";
/// The annotation that holds a spec as it was written.
const WRITTEN: &str = "beehive.kubeedge.io/v1alpha2-spec";

/// The protocols that the older version has types for, and the name that mappers know each by.
const PROTOCOLS: [&str; 3] = ["modbus", "opcua", "bluetooth"];
/// The older version's types of a property, and the newer one's.
const KINDS: [(&str, &str); 6] = [
    ("int", "INT"),
    ("string", "STRING"),
    ("double", "DOUBLE"),
    ("float", "FLOAT"),
    ("boolean", "BOOLEAN"),
    ("bytes", "BYTES"),
];

/// Returns whether a resource is one whose objects are kept in the newer version.
pub(super) fn are_older(resource: &Resource) -> bool {
    resource.is_custom()
        && resource.group == GROUP
        && resource.version == OLDER
        && resource.storage_version == KEPT_AS
        && matches!(resource.plural.as_str(), "devices" | "devicemodels")
}

/// Turns an object of the older version into one of the newer.
pub(super) fn to_v1beta1(object: &mut Value, plural: &str) {
    take_annotation(object, WRITTEN);
    let Some(spec) = object.get("spec").filter(|spec| spec.is_object()).cloned() else { return };
    let converted = match plural {
        "devices" => {
            let twins = take(object, "status", "twins");
            drop_empty_status(object);
            device_to_newer(&spec, &wanted(twins.as_ref()))
        }
        _ => model_to_newer(&spec),
    };
    if let Some(fields) = object.as_object_mut() {
        fields.insert("spec".to_owned(), converted);
    }
    annotate(object, WRITTEN, &spec);
}

/// Turns an object of the newer version into one of the older.
pub(super) fn to_v1alpha2(object: &mut Value, plural: &str) {
    let written = take_annotation(object, WRITTEN).filter(Value::is_object);
    let Some(spec) = object.get("spec").filter(|spec| spec.is_object()).cloned() else { return };
    let is_device = plural == "devices";
    let properties = list(&spec, "properties");
    let wanted: Vec<(String, Value)> = properties
        .iter()
        .filter_map(|property| Some((text(property, "name").to_owned(), property.get("desired")?.clone())))
        .collect();
    let newer =
        |written: &Value| if is_device { device_to_newer(written, &wanted) } else { model_to_newer(written) };
    let shown = match written.filter(|written| newer(written) == spec) {
        Some(written) => written,
        None if is_device => device_to_older(&spec),
        None => model_to_older(&spec),
    };
    if let Some(fields) = object.as_object_mut() {
        fields.insert("spec".to_owned(), shown);
    }
    if is_device {
        show_twins(object, wanted);
    }
}

/// Shows what is wanted beside what was reported; the older version has nothing else in a status.
fn show_twins(object: &mut Value, wanted: Vec<(String, Value)>) {
    let reported = take(object, "status", "twins");
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    let reported = reported.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut twins: Vec<Object> = Vec::new();
    for (name, desired) in wanted {
        twins.push(fields([("propertyName", Some(name.into())), ("desired", Some(desired))]));
    }
    for (name, value) in
        reported.iter().filter_map(|twin| Some((text(twin, "propertyName"), twin.get("reported")?)))
    {
        match twins.iter_mut().find(|twin| twin.get("propertyName").is_some_and(|it| it == name)) {
            Some(twin) => drop(twin.insert("reported".to_owned(), value.clone())),
            None => {
                twins.push(fields([("propertyName", Some(name.into())), ("reported", Some(value.clone()))]))
            }
        }
    }
    if !twins.is_empty() {
        let twins: Vec<Value> = twins.into_iter().map(Value::Object).collect();
        if let Some(fields) = object.as_object_mut() {
            fields.insert("status".to_owned(), json!({ "twins": twins }));
        }
    }
}

fn drop_empty_status(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    if fields.get("status").and_then(Value::as_object).is_some_and(Object::is_empty) {
        fields.remove("status");
    }
}

/// Returns what twins want, by property.
fn wanted(twins: Option<&Value>) -> Vec<(String, Value)> {
    let twins = twins.and_then(Value::as_array).into_iter().flatten();
    let wanted =
        twins.filter_map(|twin| Some((text(twin, "propertyName").to_owned(), twin.get("desired")?.clone())));
    wanted.filter(|(name, _)| !name.is_empty()).collect()
}

fn device_to_newer(spec: &Value, wanted: &[(String, Value)]) -> Value {
    let mut properties: Vec<Object> =
        list(spec, "propertyVisitors").iter().map(visitor_to_property).collect();
    for (name, desired) in wanted {
        let found =
            properties.iter_mut().find(|property| property.get("name").is_some_and(|it| it == name.as_str()));
        match found {
            Some(property) => drop(property.insert("desired".to_owned(), desired.clone())),
            None => properties.push(fields([
                ("name", Some(name.as_str().into())),
                ("desired", Some(desired.clone())),
                ("reportToCloud", Some(true.into())),
            ])),
        }
    }
    let properties: Vec<Value> = properties.into_iter().map(Value::Object).collect();
    Value::Object(fields([
        ("deviceModelRef", spec.get("deviceModelRef").cloned()),
        ("nodeName", node(spec).map(Value::from)),
        ("protocol", spec.get("protocol").and_then(protocol_to_newer)),
        ("properties", (!properties.is_empty()).then_some(properties.into())),
    ]))
}

/// Returns the node that a selector names, as KubeEdge read it: the first value of its first term.
fn node(spec: &Value) -> Option<String> {
    let terms = list(spec.get("nodeSelector")?, "nodeSelectorTerms");
    let expressions = terms.iter().flat_map(|term| list(term, "matchExpressions"));
    let mut values = expressions.flat_map(|expression| list(expression, "values"));
    Some(values.next()?.as_str()?.to_owned())
}

fn visitor_to_property(visitor: &Value) -> Object {
    let known = PROTOCOLS.into_iter().find(|name| visitor.get(*name).is_some());
    let custom = visitor.get("customizedProtocol");
    let protocol = known.or_else(|| custom.map(|custom| text(custom, "protocolName")));
    let parts = [
        known.and_then(|name| visitor.get(name)),
        custom.and_then(|it| it.get("configData")),
        visitor.get("customizedValues"),
    ];
    let visitors = config(protocol, parts);
    fields([
        ("name", visitor.get("propertyName").cloned()),
        ("collectCycle", visitor.get("collectCycle").cloned()),
        ("reportCycle", visitor.get("reportCycle").cloned()),
        ("reportToCloud", Some(true.into())),
        ("visitors", visitors),
    ])
}

fn protocol_to_newer(protocol: &Value) -> Option<Value> {
    let known = PROTOCOLS.into_iter().find(|name| protocol.get(*name).is_some());
    let custom = protocol.get("customizedProtocol");
    let name = known.or_else(|| custom.map(|custom| text(custom, "protocolName")));
    let common = protocol.get("common").cloned().map(|mut common| {
        // The line and the address are what a mapper looks for, whatever they stood under.
        for part in ["com", "tcp", "customizedValues"] {
            let Some(Value::Object(part)) = common.as_object_mut().and_then(|common| common.remove(part))
            else {
                continue;
            };
            if let Some(common) = common.as_object_mut() {
                common.extend(part);
            }
        }
        common
    });
    let parts = [
        common.as_ref(),
        known.and_then(|name| protocol.get(name)),
        custom.and_then(|it| it.get("configData")),
    ];
    config(name, parts)
}

/// Makes what the newer version has for every protocol: a name, and what it needs.
fn config<'a>(name: Option<&str>, parts: impl IntoIterator<Item = Option<&'a Value>>) -> Option<Value> {
    let parts = parts.into_iter().flatten().filter_map(Value::as_object);
    let data: Object = parts.flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    if name.is_none() && data.is_empty() {
        return None;
    }
    let data = (!data.is_empty()).then_some(Value::Object(data));
    Some(Value::Object(fields([("protocolName", name.map(Value::from)), ("configData", data)])))
}

fn device_to_older(spec: &Value) -> Value {
    let selector = spec.get("nodeName").map(|node| {
        let expression = json!({ "key": "", "operator": "In", "values": [node] });
        json!({ "nodeSelectorTerms": [{ "matchExpressions": [expression] }] })
    });
    let visitors: Vec<Value> = list(spec, "properties")
        .iter()
        .filter(|property| property.get("visitors").is_some() || property.get("desired").is_none())
        .map(|property| {
            Value::Object(fields([
                ("propertyName", property.get("name").cloned()),
                ("collectCycle", property.get("collectCycle").cloned()),
                ("reportCycle", property.get("reportCycle").cloned()),
                ("customizedProtocol", property.get("visitors").cloned()),
            ]))
        })
        .collect();
    let protocol = spec.get("protocol").map(|protocol| json!({ "customizedProtocol": protocol }));
    Value::Object(fields([
        ("deviceModelRef", spec.get("deviceModelRef").cloned()),
        ("nodeSelector", selector),
        ("protocol", protocol),
        ("propertyVisitors", (!visitors.is_empty()).then_some(visitors.into())),
    ]))
}

fn model_to_newer(spec: &Value) -> Value {
    let properties: Vec<Value> = list(spec, "properties").iter().map(model_property_to_newer).collect();
    Value::Object(fields([
        ("protocol", spec.get("protocol").cloned()),
        ("properties", (!properties.is_empty()).then_some(properties.into())),
    ]))
}

fn model_property_to_newer(property: &Value) -> Value {
    let kind = property.get("type");
    let found = KINDS.into_iter().find_map(|(older, newer)| Some((newer, kind?.get(older)?)));
    let of = |field: &str| found.and_then(|(_, kind)| kind.get(field)).cloned();
    // The newer version has bounds as texts.
    let bound = |field: &str| {
        of(field).map(|bound| bound.as_str().map_or_else(|| bound.to_string(), str::to_owned).into())
    };
    Value::Object(fields([
        ("name", property.get("name").cloned()),
        ("description", property.get("description").cloned()),
        ("type", found.map(|(newer, _)| newer.into())),
        ("accessMode", of("accessMode")),
        ("minimum", bound("minimum")),
        ("maximum", bound("maximum")),
        ("unit", of("unit")),
    ]))
}

fn model_to_older(spec: &Value) -> Value {
    let properties: Vec<Value> = list(spec, "properties").iter().map(model_property_to_older).collect();
    Value::Object(fields([
        ("protocol", spec.get("protocol").cloned()),
        ("properties", (!properties.is_empty()).then_some(properties.into())),
    ]))
}

fn model_property_to_older(property: &Value) -> Value {
    let newer = text(property, "type");
    // There is no stream in the older version: it is shown without a type.
    let kind = KINDS.into_iter().find(|(_, kind)| *kind == newer).map(|(older, _)| {
        let is_number = matches!(older, "int" | "double" | "float");
        let bound = |field: &str| number(older, text(property, field)).filter(|_| is_number);
        let details = fields([
            ("accessMode", property.get("accessMode").cloned()),
            ("minimum", bound("minimum")),
            ("maximum", bound("maximum")),
            ("unit", property.get("unit").filter(|_| is_number).cloned()),
        ]);
        Value::Object(fields([(older, Some(Value::Object(details)))]))
    });
    Value::Object(fields([
        ("name", property.get("name").cloned()),
        ("description", property.get("description").cloned()),
        ("type", kind),
    ]))
}

fn number(kind: &str, text: &str) -> Option<Value> {
    if kind == "int" {
        return text.parse::<i64>().ok().map(Value::from);
    }
    text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number)
}

/// Makes an object of the fields that are there.
fn fields<const N: usize>(fields: [(&str, Option<Value>); N]) -> Object {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The device of KubeEdge's temperature tutorial, and one with a typed protocol.
    fn older() -> [Value; 2] {
        let expression = json!({ "key": "", "operator": "In", "values": ["edge-1"] });
        let selector = json!({ "nodeSelectorTerms": [{ "matchExpressions": [expression] }] });
        let desired = json!({ "metadata": { "type": "string" }, "value": "" });
        let temperature = json!({
            "metadata": { "name": "temperature", "labels": { "description": "temperature" } },
            "spec": { "deviceModelRef": { "name": "temperature-model" }, "nodeSelector": selector },
            "status": { "twins": [{ "propertyName": "temperature-status", "desired": desired }] },
        });
        let visitor = json!({ "propertyName": "speed", "collectCycle": 500, "reportCycle": 1000,
            "modbus": { "register": "HoldingRegister", "offset": 2, "limit": 1, "scale": 1.5, "isSwap": true } });
        let protocol = json!({ "modbus": { "slaveID": 1 },
            "common": { "commType": "tcp", "tcp": { "ip": "10.0.0.1", "port": 502 }, "customizedValues": { "x": "y" } } });
        let fan = json!({
            "metadata": { "name": "fan" },
            "spec": { "deviceModelRef": { "name": "fan-model" }, "nodeSelector": selector, "protocol": protocol,
                "propertyVisitors": [visitor], "data": { "dataTopic": "t" } },
            "status": { "twins": [
                { "propertyName": "speed", "desired": { "value": "3", "metadata": { "type": "int" } } },
                { "propertyName": "mode", "desired": { "value": "auto" } },
            ] },
        });
        [temperature, fan]
    }

    #[test]
    fn a_device_of_the_tutorial_is_one_of_the_newer_version() {
        let [mut temperature, mut fan] = older();
        to_v1beta1(&mut temperature, "devices");
        let desired = json!({ "metadata": { "type": "string" }, "value": "" });
        assert_eq!(
            temperature["spec"],
            json!({ "deviceModelRef": { "name": "temperature-model" }, "nodeName": "edge-1",
                "properties": [{ "name": "temperature-status", "desired": desired, "reportToCloud": true }] })
        );
        assert!(temperature.get("status").is_none());
        to_v1beta1(&mut fan, "devices");
        assert_eq!(
            fan["spec"]["protocol"],
            json!({ "protocolName": "modbus",
                "configData": { "commType": "tcp", "ip": "10.0.0.1", "port": 502, "slaveID": 1, "x": "y" } })
        );
        let data =
            json!({ "register": "HoldingRegister", "offset": 2, "limit": 1, "scale": 1.5, "isSwap": true });
        assert_eq!(
            fan["spec"]["properties"],
            json!([
                { "name": "speed", "collectCycle": 500, "reportCycle": 1000, "reportToCloud": true,
                  "desired": { "value": "3", "metadata": { "type": "int" } },
                  "visitors": { "protocolName": "modbus", "configData": data } },
                { "name": "mode", "desired": { "value": "auto" }, "reportToCloud": true },
            ])
        );
    }

    #[test]
    fn a_device_is_shown_as_it_was_written_with_what_was_reported() {
        for device in older() {
            let mut shown = device.clone();
            to_v1beta1(&mut shown, "devices");
            let kept = shown.clone();
            to_v1alpha2(&mut shown, "devices");
            assert_eq!(shown, device);
            let mut shown = kept;
            let name = device["status"]["twins"][0]["propertyName"].clone();
            shown["status"] = json!({ "twins": [
                { "propertyName": name, "observedDesired": { "value": "" }, "reported": { "value": "24" } },
                { "propertyName": "other", "reported": { "value": "1" } },
            ] });
            to_v1alpha2(&mut shown, "devices");
            assert_eq!(shown["status"]["twins"][0]["reported"], json!({ "value": "24" }));
            assert_eq!(shown["status"]["twins"][0]["desired"], device["status"]["twins"][0]["desired"]);
            let other = json!({ "propertyName": "other", "reported": { "value": "1" } });
            assert_eq!(shown["status"]["twins"].as_array().expect("twins").last(), Some(&other));
        }
    }

    #[test]
    fn what_the_newer_version_changed_is_shown_as_it_is() {
        let [_, mut fan] = older();
        to_v1beta1(&mut fan, "devices");
        fan["spec"]["properties"][0]["desired"]["value"] = json!("5");
        let mut shown = fan.clone();
        to_v1alpha2(&mut shown, "devices");
        assert_eq!(shown["status"]["twins"][0]["desired"]["value"], "5");
        assert_eq!(
            shown["spec"]["propertyVisitors"][0]["modbus"]["offset"], 2,
            "the rest is as it was written"
        );
        fan["spec"]["nodeName"] = json!("edge-2");
        to_v1alpha2(&mut fan, "devices");
        let expressions = &fan["spec"]["nodeSelector"]["nodeSelectorTerms"][0]["matchExpressions"];
        assert_eq!(expressions[0]["values"], json!(["edge-2"]));
        assert_eq!(fan["spec"]["propertyVisitors"][0]["customizedProtocol"]["protocolName"], "modbus");
        assert_eq!(fan["metadata"], json!({ "name": "fan" }));
    }

    #[test]
    fn models_survive_the_way_there_and_back_in_either_direction() {
        let int = json!({ "accessMode": "ReadWrite", "maximum": 100, "defaultValue": 1, "unit": "rpm" });
        let older = json!({ "metadata": { "name": "m" }, "spec": { "protocol": "modbus", "properties": [
            { "name": "speed", "description": "d", "type": { "int": int } },
            { "name": "mode", "type": { "string": { "accessMode": "ReadOnly", "defaultValue": "" } } },
        ] } });
        let mut kept = older.clone();
        to_v1beta1(&mut kept, "devicemodels");
        assert_eq!(
            kept["spec"]["properties"],
            json!([
                { "name": "speed", "description": "d", "type": "INT", "accessMode": "ReadWrite", "maximum": "100",
                  "unit": "rpm" },
                { "name": "mode", "type": "STRING", "accessMode": "ReadOnly" },
            ])
        );
        let mut shown = kept.clone();
        to_v1alpha2(&mut shown, "devicemodels");
        assert_eq!(shown, older);
        kept["metadata"] = json!({ "name": "m" });
        let newer = kept.clone();
        to_v1alpha2(&mut kept, "devicemodels");
        assert_eq!(
            kept["spec"]["properties"][0]["type"]["int"],
            json!({ "accessMode": "ReadWrite", "maximum": 100, "unit": "rpm" })
        );
        to_v1beta1(&mut kept, "devicemodels");
        assert_eq!(kept["spec"], newer["spec"]);
    }

    #[test]
    fn what_is_no_device_is_left_as_it_is() {
        for mut object in [json!({ "metadata": [], "spec": "text", "status": 3 }), json!([]), json!(null)] {
            let before = object.clone();
            for plural in ["devices", "devicemodels"] {
                to_v1beta1(&mut object, plural);
                to_v1alpha2(&mut object, plural);
            }
            assert_eq!(object, before);
        }
    }
}
