//! The options of a request, read off its query string.

use percent_encoding::percent_decode_str;

use crate::server::error::ApiError;

/// The pairs of a query string, decoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns the value unless it is empty.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Reads a flag as the API does: present and neither `false` nor `0`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "false" | "0" | "False" | "FALSE"))
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.filled(name) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| ApiError::bad_request(format!("invalid value {text:?} for {name}")))
    }

    /// Tells whether the request is to be tried only.
    pub(crate) fn dry_run(&self) -> Result<bool, ApiError> {
        let mut dry = false;
        for value in self.all("dryRun") {
            match value {
                "All" => dry = true,
                "" => {}
                other => return Err(unsupported("dryRun", other, "\"All\"")),
            }
        }
        Ok(dry)
    }

    pub(crate) fn field_validation(&self) -> Result<FieldValidation, ApiError> {
        match self.filled("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some(other) => Err(unsupported("fieldValidation", other, "\"Ignore\", \"Strict\", \"Warn\"")),
        }
    }
}

fn unsupported(field: &str, value: &str, known: &str) -> ApiError {
    let problem = format!("Unsupported value: {value:?}: supported values: {known}");
    ApiError::invalid("", "Options", "", "FieldValueNotSupported", field, &problem)
}

/// What to do about fields that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// The resource version rule of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The latest state.
    Latest,
    /// The latest, which must not be older than this.
    NotOlderThan(u64),
    /// Exactly this.
    Exact(u64),
}

impl Freshness {
    pub(crate) fn of_list(query: &Query) -> Result<Self, ApiError> {
        let version = version(query)?;
        match (query.filled("resourceVersionMatch"), version) {
            (None, None) => Ok(Self::Latest),
            (Some(_), None) => {
                Err(forbidden_match("resourceVersionMatch is forbidden unless resourceVersion is provided"))
            }
            (Some("Exact"), Some(0)) => {
                Err(forbidden_match("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""))
            }
            (Some("Exact"), Some(version)) => Ok(Self::Exact(version)),
            // With a limit and no rule, an old version means exactly that one.
            (None, Some(version)) if version > 0 && query.number("limit")?.is_some_and(|limit| limit > 0) => {
                Ok(Self::Exact(version))
            }
            (None | Some("NotOlderThan"), Some(version)) => Ok(Self::NotOlderThan(version)),
            (Some(other), Some(_)) => {
                Err(unsupported("resourceVersionMatch", other, "\"Exact\", \"NotOlderThan\", \"\""))
            }
        }
    }
}

/// Says why a rule for versions does not go with the rest of the query.
pub(crate) fn forbidden_match(problem: &str) -> ApiError {
    ApiError::invalid(
        "",
        "ListOptions",
        "",
        "FieldValueForbidden",
        "resourceVersionMatch",
        &format!("Forbidden: {problem}"),
    )
}

/// Reads `resourceVersion`.
pub(crate) fn version(query: &Query) -> Result<Option<u64>, ApiError> {
    let Some(text) = query.filled("resourceVersion") else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let problem = format!("Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax");
        ApiError::invalid("", "ListOptions", "", "FieldValueInvalid", "resourceVersion", &problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let query = Query::parse(Some("labelSelector=a%3Db%2Cc+in+%28d%29&watch&limit=5&x="));
        assert_eq!(query.get("labelSelector"), Some("a=b,c in (d)"));
        assert!(query.flag("watch"));
        assert_eq!(query.number("limit"), Ok(Some(5)));
        assert_eq!(query.filled("x"), None);
        assert!(Query::parse(Some("limit=x")).number("limit").is_err());
    }

    #[test]
    fn freshness_follows_the_rules_of_the_api() {
        let of = |text| Freshness::of_list(&Query::parse(Some(text))).map_err(|error| error.code());
        assert_eq!(of(""), Ok(Freshness::Latest));
        assert_eq!(of("resourceVersion=0"), Ok(Freshness::NotOlderThan(0)));
        assert_eq!(of("resourceVersion=0&limit=500"), Ok(Freshness::NotOlderThan(0)));
        assert_eq!(of("resourceVersion=7"), Ok(Freshness::NotOlderThan(7)));
        assert_eq!(of("resourceVersion=7&limit=1"), Ok(Freshness::Exact(7)));
        assert_eq!(
            of("resourceVersion=7&limit=1&resourceVersionMatch=NotOlderThan"),
            Ok(Freshness::NotOlderThan(7))
        );
        assert_eq!(of("resourceVersion=7&resourceVersionMatch=Exact"), Ok(Freshness::Exact(7)));
        assert_eq!(of("resourceVersion=0&resourceVersionMatch=Exact"), Err(422));
        assert_eq!(of("resourceVersionMatch=Exact"), Err(422));
        assert_eq!(of("resourceVersion=x"), Err(422));
    }

    #[test]
    fn an_unknown_dry_run_is_refused() {
        assert_eq!(Query::parse(Some("dryRun=All")).dry_run(), Ok(true));
        assert!(Query::parse(Some("dryRun=Some")).dry_run().is_err());
    }
}
