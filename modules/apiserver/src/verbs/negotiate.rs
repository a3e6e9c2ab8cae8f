//! In which form objects are wanted.

use crate::server::call::Call;
use crate::server::error::ApiError;
use crate::table::{self, TableRequest, TableVersion, Transform};

/// The form of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// The objects themselves.
    Plain,
    /// The columns that kubectl prints.
    Table(TableRequest),
    /// Metadata only.
    Metadata(TableVersion),
}

/// Picks the first form of the `Accept` header that the server can give.
pub(crate) fn form(call: &Call) -> Result<Form, ApiError> {
    let include = call.query.filled("includeObject");
    pick(&call.accept, include)
}

fn pick(accept: &str, include: Option<&str>) -> Result<Form, ApiError> {
    if accept.trim().is_empty() {
        return Ok(Form::Plain);
    }
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        if !matches!(media, "application/json" | "application/*" | "*/*") {
            continue;
        }
        match table::negotiate(range, include).map_err(ApiError::bad_request)? {
            Some(Transform::Table(request)) => return Ok(Form::Table(request)),
            Some(Transform::Metadata(version)) => return Ok(Form::Metadata(version)),
            None if parts.any(|part| part.starts_with("as=")) => {}
            None => return Ok(Form::Plain),
        }
    }
    Err(ApiError::not_acceptable("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(accept: &str) -> String {
        match pick(accept, None) {
            Ok(Form::Plain) => "plain".to_owned(),
            Ok(Form::Table(_)) => "table".to_owned(),
            Ok(Form::Metadata(_)) => "metadata".to_owned(),
            Err(error) => error.code().to_string(),
        }
    }

    #[test]
    fn the_first_form_that_can_be_given_is_taken() {
        for (accept, expect) in [
            ("", "plain"),
            ("*/*", "plain"),
            ("application/vnd.kubernetes.protobuf,application/json", "plain"),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "table"),
            ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", "plain"),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json", "metadata"),
            ("application/json;as=Nonsense", "406"),
            ("text/html", "406"),
            ("application/vnd.kubernetes.protobuf", "406"),
        ] {
            assert_eq!(show(accept), expect, "{accept}");
        }
    }
}
