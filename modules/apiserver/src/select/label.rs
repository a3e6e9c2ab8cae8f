//! Label selectors: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::server::error::ApiError;

/// A conjunction of requirements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    Missing,
    Above(i64),
    Below(i64),
}

impl Selector {
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let mut parser = Parser { rest: text.trim() };
        let mut requirements = Vec::new();
        while !parser.rest.is_empty() {
            let requirement = parser.requirement().map_err(|problem| {
                ApiError::bad_request(format!(
                    "unable to parse requirement: {problem} in label selector {text:?}"
                ))
            })?;
            requirements.push(requirement);
        }
        Ok(Self(requirements))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }
}

/// Tells whether a `LabelSelector` object selects labels; an empty one selects all, none nothing.
pub(crate) fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let Some(selector) = selector.as_object() else { return false };
    let equal = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    let mut equal = equal.map(|(name, value)| labels.get(name).map(String::as_str) == value.as_str());
    let expressions = selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten();
    equal.all(|holds| holds) && expressions.into_iter().all(|expression| expressed(expression, labels))
}

fn expressed(expression: &Value, labels: &BTreeMap<String, String>) -> bool {
    let text = |name: &str| expression.get(name).and_then(Value::as_str).unwrap_or_default();
    let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
    let values = values.filter_map(Value::as_str).map(str::to_owned).collect();
    let test = match text("operator") {
        "In" => Test::In(values),
        "NotIn" => Test::NotIn(values),
        "Exists" => Test::Exists,
        "DoesNotExist" => Test::Missing,
        _ => return false,
    };
    Requirement { key: text("key").to_owned(), test }.matches(labels)
}

impl Requirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let label = labels.get(&self.key);
        let number = || label.and_then(|text| text.parse::<i64>().ok());
        match &self.test {
            Test::In(values) => label.is_some_and(|label| values.contains(label)),
            Test::NotIn(values) => label.is_none_or(|label| !values.contains(label)),
            Test::Exists => label.is_some(),
            Test::Missing => label.is_none(),
            Test::Above(bound) => number().is_some_and(|number| number > *bound),
            Test::Below(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn requirement(&mut self) -> Result<Requirement, String> {
        if self.take("!") {
            let key = self.key()?;
            self.end()?;
            return Ok(Requirement { key, test: Test::Missing });
        }
        let key = self.key()?;
        let test = self.test()?;
        self.end()?;
        Ok(Requirement { key, test })
    }

    fn test(&mut self) -> Result<Test, String> {
        if self.take("==") || self.take("=") {
            return Ok(Test::In([self.value()?].into()));
        }
        if self.take("!=") {
            return Ok(Test::NotIn([self.value()?].into()));
        }
        if self.take(">") {
            return self.bound().map(Test::Above);
        }
        if self.take("<") {
            return self.bound().map(Test::Below);
        }
        match self.word() {
            "" => Ok(Test::Exists),
            "in" => self.set().map(Test::In),
            "notin" => self.set().map(Test::NotIn),
            other => Err(format!("found {other:?}, expected: in, notin, =, ==, !=, gt, lt")),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        if self.rest.is_empty() || (self.take(",") && !self.rest.is_empty()) {
            return Ok(());
        }
        Err(format!("found {:?}, expected: ',' or end of string", self.rest))
    }

    fn set(&mut self) -> Result<BTreeSet<String>, String> {
        if !self.take("(") {
            return Err(format!("found {:?}, expected: '('", self.rest));
        }
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value()?);
            if self.take(")") {
                return Ok(values);
            }
            if !self.take(",") {
                return Err(format!("found {:?}, expected: ',' or ')'", self.rest));
            }
        }
    }

    fn bound(&mut self) -> Result<i64, String> {
        let value = self.value()?;
        value
            .parse()
            .map_err(|_| format!("for 'Gt', 'Lt' operators, the value must be an integer, not {value:?}"))
    }

    fn key(&mut self) -> Result<String, String> {
        let word = self.word();
        let (prefix, name) = word.rsplit_once('/').unwrap_or(("", word));
        if !is_label_text(name, 63) || name.is_empty() || !is_label_text(prefix, 253) {
            return Err(format!(
                "key: Invalid value: {word:?}: name part must consist of alphanumeric characters, '-', '_' or '.'"
            ));
        }
        Ok(word.to_owned())
    }

    fn value(&mut self) -> Result<String, String> {
        let word = self.word();
        if !is_label_text(word, 63) {
            return Err(format!(
                "values: Invalid value: {word:?}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'"
            ));
        }
        Ok(word.to_owned())
    }

    /// Takes what runs up to the next operator or white space.
    fn word(&mut self) -> &'a str {
        let end =
            self.rest.find(|c: char| c.is_whitespace() || "=!,()<>".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.map_or(self.rest, str::trim_start);
        rest.is_some()
    }
}

fn is_label_text(text: &str, length_max: usize) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= length_max
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && edge(text.chars().next())
        && edge(text.chars().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str) -> Result<bool, u16> {
        let labels = [("app", "web"), ("tier", "front"), ("n", "5"), ("empty", "")];
        let labels = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        Selector::parse(selector).map(|selector| selector.matches(&labels)).map_err(|error| error.code())
    }

    #[test]
    fn every_operator_selects_as_documented() {
        for (selector, expect) in [
            ("", true),
            ("app=web", true),
            ("app == web", true),
            ("app=api", false),
            ("app!=api", true),
            ("absent!=x", true),
            ("app", true),
            ("absent", false),
            ("!absent", true),
            ("!app", false),
            ("app in (api, web)", true),
            ("app in (api)", false),
            ("app notin (api,db)", true),
            ("app notin (web)", false),
            ("absent notin (web)", true),
            ("n>4", true),
            ("n > 5", false),
            ("n<6", true),
            ("app>1", false),
            ("empty=", true),
            ("empty in (,x)", true),
            ("app=web,tier=front,!x", true),
            ("app=web,tier=back", false),
        ] {
            assert_eq!(matches(selector), Ok(expect), "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for selector in
            ["=", "a in", "a in (", "a in (b", "a,,b", "a=b,", "a b", "n>x", "-a=b", "a=-b", "a/b/c=d=e"]
        {
            assert_eq!(matches(selector), Err(400), "{selector}");
        }
    }

    #[test]
    fn a_selector_object_selects() {
        let labels = [("app".to_owned(), "web".to_owned())].into();
        let selects = |selector: Value| super::selects(&selector, &labels);
        assert!(selects(serde_json::json!({})));
        assert!(!selects(Value::Null));
        assert!(selects(serde_json::json!({"matchLabels": {"app": "web"}})));
        assert!(!selects(serde_json::json!({"matchLabels": {"app": "api"}})));
        let expression = |operator: &str| {
            serde_json::json!({"matchExpressions": [
            {"key": "app", "operator": operator, "values": ["web"]}]})
        };
        assert!(selects(expression("In")) && selects(expression("Exists")));
        assert!(
            !selects(expression("NotIn"))
                && !selects(expression("DoesNotExist"))
                && !selects(expression("Odd"))
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-z!=<>(), /.]{0,24}") {
            drop(Selector::parse(&text));
        }
    }
}
