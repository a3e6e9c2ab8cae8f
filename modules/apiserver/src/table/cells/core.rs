//! Small objects of the core group.

use serde_json::Value;

use super::{Row, text};

pub(super) fn config_map(row: &Row<'_>) -> Vec<Value> {
    row.with_age(vec![Value::from(row.size("/data") + row.size("/binaryData"))])
}

pub(super) fn secret(row: &Row<'_>) -> Vec<Value> {
    row.with_age(vec![row.value("/type", ""), row.count("/data")])
}

pub(super) fn service_account(row: &Row<'_>) -> Vec<Value> {
    row.with_age(vec![row.count("/secrets")])
}

pub(super) fn namespace(row: &Row<'_>) -> Vec<Value> {
    row.with_age(vec![row.value("/status/phase", "")])
}

pub(super) fn quota(row: &Row<'_>) -> Vec<Value> {
    let mut requests = Vec::new();
    let mut limits = Vec::new();
    for (name, hard) in row.at("/status/hard").and_then(Value::as_object).into_iter().flatten() {
        let used = row.at("/status/used").map(|used| text(used, name)).filter(|used| !used.is_empty());
        let line = format!("{name}: {}/{}", used.unwrap_or("0"), hard.as_str().unwrap_or_default());
        if name.starts_with("limits.") { &mut limits } else { &mut requests }.push(line);
    }
    vec![row.name(), row.age(), Value::from(requests.join(", ")), Value::from(limits.join(", "))]
}

/// Events; the newer interface names the fields differently.
pub(super) fn event(row: &Row<'_>, grouped: bool) -> Vec<Value> {
    let pick = |core: &'static str, newer: &'static str| if grouped { newer } else { core };
    let about = pick("/involvedObject", "/regarding");
    let first_at = pick("/firstTimestamp", "/deprecatedFirstTimestamp");
    let first = match row.at(first_at) {
        Some(_) => row.since(first_at),
        None => row.since("/eventTime"),
    };
    let last_at = pick("/lastTimestamp", "/deprecatedLastTimestamp");
    let mut last = match row.at(last_at) {
        Some(_) => row.since(last_at),
        None => first.clone(),
    };
    let mut count = row.number(pick("/count", "/deprecatedCount")).max(1);
    if row.at("/series").is_some() {
        last = row.since("/series/lastObservedTime");
        count = row.number("/series/count");
    }
    let kind = row.text(&format!("{about}/kind")).to_lowercase();
    let target = match row.text(&format!("{about}/name")) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        Value::from(last),
        row.value("/type", ""),
        row.value("/reason", ""),
        Value::from(target),
        row.value(&format!("{about}/fieldPath"), ""),
        Value::from(source(row, grouped)),
        Value::from(row.text(pick("/message", "/note")).trim()),
        Value::from(first),
        Value::from(count),
        row.name(),
    ]
}

fn source(row: &Row<'_>, grouped: bool) -> String {
    let (source, component) = if grouped {
        ("/deprecatedSource", "/reportingController")
    } else {
        ("/source", "/reportingComponent")
    };
    let or = |first: &'static str, second: &'static str| {
        let first = row.text(&format!("{source}/{first}"));
        if first.is_empty() { row.text(second) } else { first }
    };
    let (component, host) = (or("component", component), or("host", "/reportingInstance"));
    [component, host].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
}
