//! The JSONPath of printer columns: fields, indexes, wildcards and simple filters.

use serde_json::Value;

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Every,
    Deep(String),
    Filter { path: Vec<Step>, operator: Option<Operator>, value: Value },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JsonPath(Vec<Step>);

impl JsonPath {
    /// Reads a path such as `.status.conditions[?(@.type=="Ready")].status`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        let text = text.strip_prefix('$').unwrap_or(text);
        let characters: Vec<char> = text.chars().collect();
        let mut at = 0;
        let steps = parse_steps(&characters, &mut at, &[])?;
        (at == characters.len()).then_some(Self(steps))
    }

    /// Returns what the path leads to.
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        follow(&self.0, value)
    }
}

fn parse_steps(text: &[char], at: &mut usize, stops: &[char]) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    while let Some(&character) = text.get(*at) {
        if stops.contains(&character) || character.is_whitespace() {
            break;
        }
        match character {
            '.' => {
                *at += 1;
                let deep = text.get(*at) == Some(&'.');
                if deep {
                    *at += 1;
                }
                match text.get(*at) {
                    Some('[') | None => {}
                    Some('*') => {
                        *at += 1;
                        steps.push(Step::Every);
                    }
                    Some(_) => {
                        let name = parse_name(text, at, stops)?;
                        steps.push(if deep { Step::Deep(name) } else { Step::Field(name) });
                    }
                }
            }
            '[' => {
                *at += 1;
                steps.push(parse_bracket(text, at)?);
            }
            _ if steps.is_empty() => steps.push(Step::Field(parse_name(text, at, stops)?)),
            _ => return None,
        }
    }
    Some(steps)
}

fn parse_name(text: &[char], at: &mut usize, stops: &[char]) -> Option<String> {
    let mut name = String::new();
    while let Some(&character) = text.get(*at) {
        if character == '\\' {
            *at += 1;
            name.push(*text.get(*at)?);
        } else if matches!(character, '.' | '[') || stops.contains(&character) || character.is_whitespace() {
            break;
        } else {
            name.push(character);
        }
        *at += 1;
    }
    (!name.is_empty()).then_some(name)
}

fn parse_bracket(text: &[char], at: &mut usize) -> Option<Step> {
    let step = match *text.get(*at)? {
        '*' => {
            *at += 1;
            Step::Every
        }
        '?' => {
            *at += 1;
            parse_filter(text, at)?
        }
        quote @ ('\'' | '"') => Step::Field(parse_quoted(text, at, quote)?),
        _ => {
            let end = text[*at..].iter().position(|&character| character == ']')? + *at;
            let index: String = text[*at..end].iter().collect();
            *at = end;
            Step::Index(index.trim().parse().ok()?)
        }
    };
    skip(text, at);
    (text.get(*at) == Some(&']')).then(|| *at += 1)?;
    Some(step)
}

fn skip(text: &[char], at: &mut usize) {
    while text.get(*at).is_some_and(|character| character.is_whitespace()) {
        *at += 1;
    }
}

fn parse_quoted(text: &[char], at: &mut usize, quote: char) -> Option<String> {
    *at += 1;
    let mut quoted = String::new();
    loop {
        let character = *text.get(*at)?;
        *at += 1;
        if character == '\\' {
            quoted.push(*text.get(*at)?);
            *at += 1;
        } else if character == quote {
            return Some(quoted);
        } else {
            quoted.push(character);
        }
    }
}

fn parse_filter(text: &[char], at: &mut usize) -> Option<Step> {
    (text.get(*at) == Some(&'(')).then(|| *at += 1)?;
    skip(text, at);
    (text.get(*at) == Some(&'@')).then(|| *at += 1)?;
    let path = parse_steps(text, at, &['=', '!', '<', '>', ')'])?;
    skip(text, at);
    let rest: String = text[*at..].iter().take(2).collect();
    let operator = [
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ]
    .into_iter()
    .find(|(sign, _)| rest.starts_with(sign));
    let mut value = Value::Null;
    if let Some((sign, _)) = operator {
        *at += sign.len();
        skip(text, at);
        value = parse_literal(text, at)?;
        skip(text, at);
    }
    (text.get(*at) == Some(&')')).then(|| *at += 1)?;
    Some(Step::Filter { path, operator: operator.map(|(_, operator)| operator), value })
}

fn parse_literal(text: &[char], at: &mut usize) -> Option<Value> {
    if let Some(&quote @ ('\'' | '"')) = text.get(*at) {
        return parse_quoted(text, at, quote).map(Value::from);
    }
    let end = text[*at..].iter().position(|&character| character == ')')? + *at;
    let literal: String = text[*at..end].iter().collect();
    *at = end;
    serde_json::from_str(literal.trim()).ok()
}

fn follow<'a>(steps: &[Step], value: &'a Value) -> Vec<&'a Value> {
    let Some((step, rest)) = steps.split_first() else { return vec![value] };
    let next: Vec<&Value> = match step {
        Step::Field(name) => match value {
            Value::Object(fields) => fields.get(name).into_iter().collect(),
            _ => Vec::new(),
        },
        Step::Index(index) => match value {
            Value::Array(items) => {
                let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                let index = if *index < 0 { index + length } else { *index };
                usize::try_from(index).ok().and_then(|index| items.get(index)).into_iter().collect()
            }
            _ => Vec::new(),
        },
        Step::Every => parts(value),
        Step::Deep(name) => {
            let mut found = Vec::new();
            deep(name, value, &mut found);
            found
        }
        Step::Filter { path, operator, value: wanted } => parts(value)
            .into_iter()
            .filter(|item| follow(path, item).iter().any(|found| matches(found, *operator, wanted)))
            .collect(),
    };
    next.into_iter().flat_map(|value| follow(rest, value)).collect()
}

fn parts(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

fn deep<'a>(name: &str, value: &'a Value, found: &mut Vec<&'a Value>) {
    if let Value::Object(fields) = value {
        found.extend(fields.get(name));
    }
    for part in parts(value) {
        deep(name, part, found);
    }
}

fn matches(found: &Value, operator: Option<Operator>, wanted: &Value) -> bool {
    let Some(operator) = operator else { return !found.is_null() };
    let order = match (found, wanted) {
        (Value::Number(left), Value::Number(right)) => left.as_f64().partial_cmp(&right.as_f64()),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ if found == wanted => Some(std::cmp::Ordering::Equal),
        _ => None,
    };
    match operator {
        Operator::Equal => order.is_some_and(std::cmp::Ordering::is_eq),
        Operator::NotEqual => !order.is_some_and(std::cmp::Ordering::is_eq),
        Operator::Less => order.is_some_and(std::cmp::Ordering::is_lt),
        Operator::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
        Operator::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
        Operator::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_values() {
        let object = json!({"spec": {"replicas": 3, "a.b": "dotted", "list": [{"n": 1}, {"n": 2}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}});
        let check = |path: &str, expected: &Value| {
            let parsed = JsonPath::parse(path).unwrap_or_else(|| panic!("{path} does not parse"));
            assert_eq!(json!(parsed.find(&object)), *expected, "{path}");
        };
        check(".spec.replicas", &json!([3]));
        check("{.spec.replicas}", &json!([3]));
        check("$.spec.replicas", &json!([3]));
        check("spec.replicas", &json!([3]));
        check(".spec.none", &json!([]));
        check(".spec.a\\.b", &json!(["dotted"]));
        check(".spec['a.b']", &json!(["dotted"]));
        check(".spec.list[1].n", &json!([2]));
        check(".spec.list[-1].n", &json!([2]));
        check(".spec.list[*].n", &json!([1, 2]));
        check(".spec.list[?(@.n > 1)].n", &json!([2]));
        check(".status.conditions[?(@.type==\"Ready\")].status", &json!(["True"]));
        check(".status.conditions[?(@.type!='Ready')].status", &json!(["False"]));
        check(".status.conditions[?( @.type == 'Ready' )].status", &json!(["True"]));
        check("..status", &json!([object["status"], "True", "False"]));
    }

    #[test]
    fn nonsense_does_not_parse() {
        for path in [".a[", ".a[x]", ".a[?(", ".a[?(@.b==)]", ".a['b]", ".a[?(@.b==\"x)]"] {
            assert!(JsonPath::parse(path).is_none(), "{path}");
        }
    }
}
