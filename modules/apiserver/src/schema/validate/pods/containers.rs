//! One container.

use serde_json::Value;

use crate::schema::error::FieldError;
use crate::schema::quantity::Quantity;
use crate::schema::validate::names;
use crate::schema::validate::pods::part_name;
use crate::schema::validate::{Check, items, text};

/// Checks a container; `volumes` are the names that it may mount, `seen` the names of others.
pub(super) fn check(
    check: &mut Check<'_>,
    container: &Value,
    at: &str,
    volumes: &[String],
    seen: &mut Vec<String>,
) {
    part_name(check, text(container, "name"), at, seen);
    let image = text(container, "image");
    if image.is_empty() {
        check.push(FieldError::required(format!("{at}.image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        check.push(FieldError::invalid(format!("{at}.image"), &Value::from(image), detail));
    }
    known(check, container, at, "imagePullPolicy", &["Always", "IfNotPresent", "Never"]);
    known(check, container, at, "terminationMessagePolicy", &["File", "FallbackToLogsOnError"]);
    ports(check, container, at);
    variables(check, container, at);
    mounts(check, container, at, volumes);
    resources(check, container, at);
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get(name).filter(|probe| probe.is_object()) {
            self::probe(check, probe, &format!("{at}.{name}"), name != "readinessProbe");
        }
    }
}

fn known(check: &mut Check<'_>, owner: &Value, at: &str, name: &str, known: &[&str]) {
    match owner.get(name) {
        Some(value) if !value.as_str().is_some_and(|text| known.contains(&text)) => {
            check.push(FieldError::not_supported(format!("{at}.{name}"), value, known));
        }
        _ => {}
    }
}

fn ports(check: &mut Check<'_>, container: &Value, at: &str) {
    let mut seen = Vec::new();
    for (index, port) in items(container, "ports").iter().enumerate() {
        let at = format!("{at}.ports[{index}]");
        let name = text(port, "name");
        if !name.is_empty() {
            for problem in names::port_name(name) {
                check.push(FieldError::invalid(format!("{at}.name"), &Value::from(name), &problem));
            }
            if seen.contains(&name) {
                check.push(FieldError::duplicate(format!("{at}.name"), &Value::from(name)));
            }
            seen.push(name);
        }
        match port.get("containerPort") {
            None | Some(Value::Null) => check.push(FieldError::required(format!("{at}.containerPort"), "")),
            Some(number) => port_number(check, number, &format!("{at}.containerPort")),
        }
        if let Some(number) = port.get("hostPort").filter(|number| number.as_i64() != Some(0)) {
            port_number(check, number, &format!("{at}.hostPort"));
        }
        known(check, port, &at, "protocol", &["SCTP", "TCP", "UDP"]);
    }
}

/// Checks the number of a port.
pub(in crate::schema::validate) fn port_number(check: &mut Check<'_>, number: &Value, at: &str) {
    if !number.as_i64().is_some_and(|number| (1..=65_535).contains(&number)) {
        check.push(FieldError::invalid(at, number, "must be between 1 and 65535, inclusive"));
    }
}

fn variables(check: &mut Check<'_>, container: &Value, at: &str) {
    for (index, variable) in items(container, "env").iter().enumerate() {
        let at = format!("{at}.env[{index}]");
        let name = text(variable, "name");
        if name.is_empty() {
            check.push(FieldError::required(format!("{at}.name"), ""));
        }
        for problem in names::variable(name) {
            check.push(FieldError::invalid(format!("{at}.name"), &Value::from(name), &problem));
        }
        let Some(from) = variable.get("valueFrom").and_then(Value::as_object) else { continue };
        let at = format!("{at}.valueFrom");
        let shown = Value::from("");
        if from.is_empty() {
            let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
            check.push(FieldError::invalid(&at, &shown, detail));
        } else if !text(variable, "value").is_empty() {
            check.push(FieldError::invalid(&at, &shown, "may not be specified when `value` is not empty"));
        } else if from.len() > 1 {
            check.push(FieldError::invalid(
                &at,
                &shown,
                "may not have more than one field specified at a time",
            ));
        }
        for kind in ["configMapKeyRef", "secretKeyRef"] {
            let Some(reference) = from.get(kind) else { continue };
            if text(reference, "name").is_empty() {
                check.push(FieldError::required(format!("{at}.{kind}.name"), ""));
            }
            if text(reference, "key").is_empty() {
                check.push(FieldError::required(format!("{at}.{kind}.key"), ""));
            }
        }
    }
    for (index, source) in items(container, "envFrom").iter().enumerate() {
        for kind in ["configMapRef", "secretRef"] {
            if source.get(kind).is_some_and(|reference| text(reference, "name").is_empty()) {
                check.push(FieldError::required(format!("{at}.envFrom[{index}].{kind}.name"), ""));
            }
        }
    }
}

fn mounts(check: &mut Check<'_>, container: &Value, at: &str, volumes: &[String]) {
    let mut paths = Vec::new();
    for (index, mount) in items(container, "volumeMounts").iter().enumerate() {
        let at = format!("{at}.volumeMounts[{index}]");
        let (name, path) = (text(mount, "name"), text(mount, "mountPath"));
        if name.is_empty() {
            check.push(FieldError::required(format!("{at}.name"), ""));
        } else if !volumes.iter().any(|volume| volume == name) {
            check.push(FieldError::not_found(format!("{at}.name"), &Value::from(name)));
        }
        if path.is_empty() {
            check.push(FieldError::required(format!("{at}.mountPath"), ""));
        }
        if paths.contains(&path) {
            check.push(FieldError::invalid(format!("{at}.mountPath"), &Value::from(path), "must be unique"));
        }
        paths.push(path);
        if text(mount, "subPath").split('/').any(|part| part == "..") {
            check.push(FieldError::invalid(
                format!("{at}.subPath"),
                &mount["subPath"],
                "must not contain '..'",
            ));
        }
    }
}

fn resources(check: &mut Check<'_>, container: &Value, at: &str) {
    let Some(resources) = container.get("resources") else { return };
    let amount = |value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Quantity::parse(&text)
    };
    let limits = resources.get("limits").and_then(Value::as_object);
    for kind in ["limits", "requests"] {
        for (name, value) in resources.get(kind).and_then(Value::as_object).into_iter().flatten() {
            let field = format!("{at}.resources.{kind}");
            let Some(quantity) = amount(value) else { continue };
            if quantity.nano() < 0 {
                let field = format!("{field}[{name}]");
                check.push(FieldError::invalid(field, value, "must be greater than or equal to 0"));
            }
            if !name.contains('/')
                && !matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage")
                && !name.starts_with("hugepages-")
            {
                let detail = "must be a standard resource for containers";
                check.push(FieldError::invalid(
                    format!("{field}[{name}]"),
                    &Value::from(name.clone()),
                    detail,
                ));
            }
            let Some(limit) = limits.and_then(|limits| limits.get(name)).filter(|_| kind == "requests")
            else {
                continue;
            };
            if amount(limit).is_some_and(|limit| quantity.nano() > limit.nano()) {
                let shown = limit.as_str().unwrap_or_default();
                let detail = format!("must be less than or equal to {name} limit of {shown}");
                check.push(FieldError::invalid(field, value, &detail));
            }
        }
    }
}

fn probe(check: &mut Check<'_>, probe: &Value, at: &str, once: bool) {
    let handlers: Vec<&str> = ["exec", "httpGet", "tcpSocket", "grpc"]
        .into_iter()
        .filter(|handler| probe.get(handler).is_some_and(|found| !found.is_null()))
        .collect();
    match handlers.as_slice() {
        [] => check.push(FieldError::required(at, "must specify a handler type")),
        [_] => {}
        [_, more @ ..] => {
            for handler in more {
                let detail = "may not specify more than 1 handler type";
                check.push(FieldError::forbidden(format!("{at}.{handler}"), detail));
            }
        }
    }
    if let Some(exec) = probe.get("exec")
        && items(exec, "command").is_empty()
    {
        check.push(FieldError::required(format!("{at}.exec.command"), ""));
    }
    for name in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        if let Some(value) = probe.get(name).filter(|value| value.as_i64().is_some_and(|number| number < 0)) {
            let detail = "must be greater than or equal to 0";
            check.push(FieldError::invalid(format!("{at}.{name}"), value, detail));
        }
    }
    if once && let Some(value) = probe.get("successThreshold").filter(|value| value.as_i64() != Some(1)) {
        check.push(FieldError::invalid(format!("{at}.successThreshold"), value, "must be 1"));
    }
}
