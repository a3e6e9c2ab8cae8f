//! Assignments on a command line: `a.b=1,list[0]=x,list={a,b}`, as `--set` of KubeEdge's and Helm's tools.

/// The longest list that an index may make.
const INDEX_MAX: usize = 999;

/// One step into a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// What is assigned, before it is known what its key takes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Given {
    /// As it was written.
    Plain(String),
    /// It stood in quotes: it is a text.
    Quoted(String),
    /// `{a,b}`
    List(Vec<Given>),
    /// `{a:1,b:2}`
    Map(Vec<(String, Given)>),
}

/// One key and its value. The value may be secret, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) path: Vec<Step>,
    pub(crate) value: Given,
}

/// Reads assignments that stand in one text with commas between. What is wrong is said without a value.
pub(crate) fn parse(text: &str) -> Result<Vec<Assignment>, String> {
    let parts = split(text, ',')?;
    parts.iter().filter(|part| !part.trim().is_empty()).map(|part| one(part.trim())).collect()
}

fn one(text: &str) -> Result<Assignment, String> {
    let Some((path, value)) = split_once_plain(text, '=') else {
        return Err("must be KEY=VALUE, such as modules.edgeHub.heartbeat=30".to_owned());
    };
    Ok(Assignment { path: steps(path.trim())?, value: value_of(value)? })
}

fn steps(path: &str) -> Result<Vec<Step>, String> {
    let broken = || format!("{path:?} is no key: write it as a.b.c or a.list[0]");
    let mut steps = Vec::new();
    for segment in split(path, '.')? {
        let (name, indexes) = match segment.split_once('[') {
            Some((name, rest)) => (name, Some(rest)),
            None => (segment.as_str(), None),
        };
        if name.is_empty() {
            return Err(broken());
        }
        steps.push(Step::Key(unescape(name)));
        let Some(rest) = indexes else { continue };
        let rest = rest.strip_suffix(']').ok_or_else(broken)?;
        for index in rest.split("][") {
            let index: usize = index.parse().map_err(|_| broken())?;
            if index > INDEX_MAX {
                return Err(format!("{path:?}: the index may be up to {INDEX_MAX}"));
            }
            steps.push(Step::Index(index));
        }
    }
    Ok(steps)
}

fn value_of(text: &str) -> Result<Given, String> {
    let text = text.trim();
    if let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let parts = split(inner, ',')?;
        let parts: Vec<&str> = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
        // Addresses hold colons too: only what has one in each part, before anything else, is a map.
        let pairs: Option<Vec<(&str, &str)>> = parts.iter().map(|part| map_entry(part)).collect();
        return match pairs {
            Some(pairs) if !pairs.is_empty() => {
                let pairs = pairs.into_iter().map(|(key, value)| Ok((unquote(key), value_of(value)?)));
                Ok(Given::Map(pairs.collect::<Result<_, String>>()?))
            }
            _ => Ok(Given::List(parts.iter().map(|part| value_of(part)).collect::<Result<_, _>>()?)),
        };
    }
    Ok(match quoted(text) {
        Some(inner) => Given::Quoted(inner.to_owned()),
        None => Given::Plain(unescape(text)),
    })
}

/// Reads `key:value`, where the key could be one of a label or of a resource.
fn map_entry(text: &str) -> Option<(&str, &str)> {
    let (key, value) = split_once_plain(text, ':')?;
    let is_key = |key: &str| {
        key.starts_with(|first: char| first.is_ascii_alphabetic())
            && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
    };
    (is_key(&unquote(key)) && !value.starts_with("//")).then_some((key, value))
}

fn quoted(text: &str) -> Option<&str> {
    let within = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    within('"').or_else(|| within('\''))
}

fn unquote(text: &str) -> String {
    quoted(text.trim()).unwrap_or(text.trim()).to_owned()
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        plain.extend(if next == '\\' { chars.next() } else { Some(next) });
    }
    plain
}

/// Splits at `separator` where it stands neither in quotes nor in braces nor behind a backslash.
fn split(text: &str, separator: char) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    let mut scanner = Scanner::default();
    for next in text.chars() {
        if scanner.is_plain(next) && next == separator {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(next);
        }
    }
    match scanner {
        Scanner { quote: Some(_), .. } => Err("a quotation mark has no partner".to_owned()),
        Scanner { depth: 1.., .. } => Err("a brace is not closed".to_owned()),
        _ => Ok(parts),
    }
}

fn split_once_plain(text: &str, separator: char) -> Option<(&str, &str)> {
    let mut scanner = Scanner::default();
    let at = text
        .char_indices()
        .find_map(|(at, next)| (scanner.is_plain(next) && next == separator).then_some(at))?;
    let (before, rest) = text.split_at(at);
    Some((before, rest.strip_prefix(separator)?))
}

#[derive(Default)]
struct Scanner {
    escaped: bool,
    quote: Option<char>,
    depth: u32,
}

impl Scanner {
    /// Takes the next character and tells whether it may separate.
    fn is_plain(&mut self, next: char) -> bool {
        if std::mem::take(&mut self.escaped) {
            return false;
        }
        match (self.quote, next) {
            (_, '\\') => self.escaped = true,
            (Some(open), _) if open == next => self.quote = None,
            (Some(_), _) => {}
            (None, '"') => self.quote = Some('"'),
            (None, '{') => self.depth += 1,
            (None, '}') => self.depth = self.depth.saturating_sub(1),
            (None, _) => return self.depth == 0,
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn show(given: &Given) -> String {
        let all = |items: Vec<String>| items.join(" ");
        match given {
            Given::Plain(text) => text.clone(),
            Given::Quoted(text) => format!("'{text}'"),
            Given::List(items) => format!("[{}]", all(items.iter().map(show).collect())),
            Given::Map(entries) => {
                format!(
                    "<{}>",
                    all(entries.iter().map(|(key, value)| format!("{key}={}", show(value))).collect())
                )
            }
        }
    }

    fn check(text: &str, expect: &str) {
        let shown = match parse(text) {
            Ok(found) => found
                .iter()
                .map(|it| {
                    let path: Vec<String> = it
                        .path
                        .iter()
                        .map(|step| match step {
                            Step::Key(key) => key.clone(),
                            Step::Index(index) => format!("[{index}]"),
                        })
                        .collect();
                    format!("{}: {}", path.join("/"), show(&it.value))
                })
                .collect::<Vec<_>>()
                .join("; "),
            Err(problem) => problem,
        };
        assert_eq!(shown, expect, "{text}");
    }

    #[test]
    fn the_forms_of_helm_and_of_kubeedge_are_read() {
        check("a.b=1,c=x y", "a/b: 1; c: x y");
        check("a={1,2},b={}", "a: [1 2]; b: []");
        check("a[0]=x,a[1].b=y,c[0][2]=z", "a/[0]: x; a/[1]/b: y; c/[0]/[2]: z");
        check(r#"a="x,y",b='z'"#, "a: 'x,y'; b: 'z'");
        check(r"a.b\.c/d=1\,2", "a/b.c/d: 1,2");
        check("labels={zone:a,spot:true}", "labels: <zone=a spot=true>");
        check("servers={http://a:1,http://b:2}", "servers: [http://a:1 http://b:2]");
        check("addresses={::1,fe80::1}", "addresses: [::1 fe80::1]");
        check("token=ab.cd.ef==", "token: ab.cd.ef==");
        check("a=", "a: ");
    }

    #[test]
    fn what_is_no_assignment_is_said_without_its_value() {
        for text in ["hunter2", ".a=hunter2", "a[x]=hunter2", "a[0=hunter2", "a[1000]=hunter2", "a=\"hunter2"]
        {
            let problem = parse(text).err().unwrap_or_else(|| panic!("{text} was read"));
            assert!(text == "hunter2" || !problem.contains("hunter2"), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(a|\\.|=|,|\\{|\\}|\\[|\\]|0|\"|'|:|\\\\|é| ){0,24}") {
            let _parsed = parse(&text);
        }
    }
}
