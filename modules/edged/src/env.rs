//! A container's environment: sources, references between variables, command and arguments.

use std::collections::BTreeMap;

use crate::data::{DataKind, DataRef, DataSet, Fetched};
use crate::fields::{self, Surroundings};
use crate::pod::{ContainerView, EnvFrom, EnvSource, KeySelector, Pod};
use crate::ports::EnvVar;

/// Makes the environment of a container.
///
/// # Errors
///
/// When something that is not optional is missing; the text is kubelet's and becomes the message of
/// `CreateContainerConfigError`.
pub fn environment(
    pod: &Pod,
    container: &ContainerView,
    data: &DataSet,
    around: &Surroundings,
) -> Result<Vec<EnvVar>, String> {
    let mut env = Ordered::default();
    for from in &container.env_from {
        for (name, value) in from_object(pod, from, data)? {
            env.set(&name, value);
        }
    }
    for variable in &container.env {
        let value = match &variable.value_from {
            None => Some(expand(&variable.value, &env.by_name)),
            Some(source) => from_source(pod, container, source, data, around)?,
        };
        if let Some(value) = value {
            env.set(&variable.name, value);
        }
    }
    Ok(env.into_vec())
}

#[derive(Default)]
struct Ordered {
    names: Vec<String>,
    by_name: BTreeMap<String, String>,
}

impl Ordered {
    fn set(&mut self, name: &str, value: String) {
        if self.by_name.insert(name.to_owned(), value).is_none() {
            self.names.push(name.to_owned());
        }
    }

    fn into_vec(mut self) -> Vec<EnvVar> {
        let names = std::mem::take(&mut self.names);
        names
            .into_iter()
            .filter_map(|name| self.by_name.remove(&name).map(|value| EnvVar { name, value }))
            .collect()
    }
}

fn from_object(pod: &Pod, from: &EnvFrom, data: &DataSet) -> Result<Vec<(String, String)>, String> {
    let (kind, source) = match (&from.config_map_ref, &from.secret_ref) {
        (Some(source), _) => (DataKind::ConfigMap, source),
        (None, Some(source)) => (DataKind::Secret, source),
        (None, None) => return Ok(Vec::new()),
    };
    let found = match data.get(&DataRef::new(kind, &source.name)) {
        Some(Fetched::Found(found)) => found,
        Some(Fetched::Missing) if source.optional => return Ok(Vec::new()),
        other => return Err(absent(pod, kind, &source.name, other)),
    };
    Ok(found
        .entries
        .iter()
        .filter_map(|(key, value)| {
            let name = format!("{}{key}", from.prefix);
            let value = std::str::from_utf8(value).ok()?;
            is_variable_name(&name).then(|| (name, value.to_owned()))
        })
        .collect())
}

fn from_source(
    pod: &Pod,
    container: &ContainerView,
    source: &EnvSource,
    data: &DataSet,
    around: &Surroundings,
) -> Result<Option<String>, String> {
    if let Some(selector) = &source.field_ref {
        return fields::field(pod, around, &selector.field_path).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        return fields::resource(pod, around, &container.name, selector).map(Some);
    }
    if let Some(selector) = &source.config_map_key_ref {
        return from_key(pod, DataKind::ConfigMap, selector, data);
    }
    if let Some(selector) = &source.secret_key_ref {
        return from_key(pod, DataKind::Secret, selector, data);
    }
    Ok(None)
}

fn from_key(
    pod: &Pod,
    kind: DataKind,
    selector: &KeySelector,
    data: &DataSet,
) -> Result<Option<String>, String> {
    let found = match data.get(&DataRef::new(kind, &selector.name)) {
        Some(Fetched::Found(found)) => found,
        Some(Fetched::Missing) if selector.optional => return Ok(None),
        other => return Err(absent(pod, kind, &selector.name, other)),
    };
    match found.entries.get(&selector.key) {
        Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        None if selector.optional => Ok(None),
        None => {
            let noun = if kind == DataKind::ConfigMap { "ConfigMap" } else { "Secret" };
            Err(format!("couldn't find key {} in {noun} {}/{}", selector.key, pod.namespace, selector.name))
        }
    }
}

fn absent(pod: &Pod, kind: DataKind, name: &str, fetched: Option<&Fetched>) -> String {
    match fetched {
        Some(Fetched::Unavailable(why)) => format!("{} {}/{name}: {why}", kind.noun(), pod.namespace),
        _ => format!("{} {name:?} not found", kind.noun()),
    }
}

fn is_variable_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '.'))
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// Replaces each `$(NAME)` whose variable is known; `$$` is a `$`, and unknown references stay.
#[must_use]
pub fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        rest = after;
        if let Some(tail) = after.strip_prefix('$') {
            result.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match variables.get(name) {
                Some(value) => result.push_str(value),
                None => result.push_str(&format!("$({name})")),
            }
            rest = tail;
        } else {
            result.push('$');
        }
    }
    result.push_str(rest);
    result
}

/// Expands each of `texts` over an environment.
#[must_use]
pub fn expand_all(texts: &[String], env: &[EnvVar]) -> Vec<String> {
    let variables = env.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect();
    texts.iter().map(|text| expand(text, &variables)).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::data::Data;
    use crate::fixtures::pod_with;

    fn found(entries: &[(&str, &str)]) -> Fetched {
        let entries =
            entries.iter().map(|(k, v)| ((*k).to_owned(), Bytes::copy_from_slice(v.as_bytes()))).collect();
        Fetched::Found(Data { entries, kind: String::new() })
    }

    fn check(container: serde_json::Value, data: &DataSet, expect: Result<&[(&str, &str)], &str>) {
        let pod = pod_with(json!({ "containers": [container] }));
        let result = environment(&pod, &pod.spec.containers[0], data, &Surroundings::default());
        let result = result.map(|env| env.into_iter().map(|v| (v.name, v.value)).collect::<Vec<_>>());
        let expect = expect
            .map(|env| env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>())
            .map_err(ToOwned::to_owned);
        assert_eq!(result, expect);
    }

    #[test]
    fn references_between_variables_are_expanded() {
        let variables = [("A".to_owned(), "1".to_owned())].into();
        for (text, expect) in [
            ("$(A)", "1"),
            ("x$(A)y$(B)", "x1y$(B)"),
            ("$$(A)", "$(A)"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
            ("$$$(A)", "$1"),
        ] {
            assert_eq!(expand(text, &variables), expect, "{text}");
        }
    }

    #[test]
    fn later_sources_override_earlier_ones() {
        let data = [
            (DataRef::new(DataKind::ConfigMap, "c"), found(&[("A", "c"), ("B", "c"), ("1bad", "x")])),
            (DataRef::new(DataKind::Secret, "s"), found(&[("B", "s")])),
        ]
        .into();
        check(
            json!({"name": "c", "envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}, "prefix": "P_"}],
                   "env": [{"name": "A", "value": "own"}, {"name": "D", "value": "$(A)-$(P_B)"}]}),
            &data,
            Ok(&[("A", "own"), ("B", "c"), ("P_B", "s"), ("D", "own-s")]),
        );
    }

    #[test]
    fn what_is_missing_and_not_optional_is_named() {
        let data: DataSet = [
            (DataRef::new(DataKind::Secret, "s"), found(&[("a", "1")])),
            (DataRef::new(DataKind::Secret, "gone"), Fetched::Missing),
        ]
        .into();
        let key = |name: &str, key: &str, optional: bool| {
            json!({"name": "c", "env": [{"name": "A", "valueFrom":
                {"secretKeyRef": {"name": name, "key": key, "optional": optional}}}]})
        };
        check(key("gone", "a", false), &data, Err("secret \"gone\" not found"));
        check(key("gone", "a", true), &data, Ok(&[]));
        check(key("s", "b", false), &data, Err("couldn't find key b in Secret default/s"));
        check(key("s", "b", true), &data, Ok(&[]));
        check(key("s", "a", false), &data, Ok(&[("A", "1")]));
    }
}
