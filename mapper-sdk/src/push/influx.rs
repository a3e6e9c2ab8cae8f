//! InfluxDB 2, over its HTTP interface.

use std::time::Duration;

use dmi_proto::v1beta1::DbMethodInfluxdb2;
use http::HeaderValue;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::http::Poster;
use super::{PushError, Sample};
use crate::host::Secret;

const LIMIT: Duration = Duration::from_secs(10);

/// A bucket, and how values are written to it. The token comes from the environment, as in
/// `mapper-framework`.
pub(super) struct InfluxTarget {
    poster: Poster,
    authorization: HeaderValue,
    measurement: String,
    tags: String,
    field: String,
}

impl InfluxTarget {
    pub(super) fn new(config: &DbMethodInfluxdb2, token: Option<Secret>) -> Result<Self, PushError> {
        let client = config.influxdb2_client_config.clone().unwrap_or_default();
        let data = config.influxdb2_data_config.clone().unwrap_or_default();
        for (what, text) in [("measurement", &data.measurement), ("fieldKey", &data.field_key)] {
            if text.is_empty() {
                return Err(PushError(format!("influxdb2DataConfig.{what} is empty")));
            }
        }
        let token = token.ok_or_else(|| {
            PushError("the token of InfluxDB is missing: set the environment variable TOKEN".to_owned())
        })?;
        let mut authorization = HeaderValue::from_str(&format!("Token {}", token.expose()))
            .map_err(|_| PushError("the token of InfluxDB has characters that no header has".to_owned()))?;
        authorization.set_sensitive(true);
        let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let (org, bucket) = (escaped(&client.org), escaped(&client.bucket));
        let url = client.url.trim_end_matches('/');
        let url = format!("{url}/api/v2/write?org={org}&bucket={bucket}&precision=ms");
        let tags = data.tag.iter().filter(|(key, value)| !key.is_empty() && !value.is_empty());
        Ok(Self {
            poster: Poster::new(&url, LIMIT)?,
            authorization,
            measurement: key(&data.measurement, false),
            tags: tags.map(|(name, value)| format!(",{}={}", key(name, true), key(value, true))).collect(),
            field: key(&data.field_key, true),
        })
    }

    pub(super) async fn send(&mut self, sample: &Sample) -> Result<(), PushError> {
        let line = self.line(sample);
        self.poster.post("text/plain; charset=utf-8", Some(&self.authorization), line).await
    }

    /// Writes a point. The value is a text, as `mapper-framework` writes it: a field cannot change its type.
    fn line(&self, sample: &Sample) -> String {
        let text = sample.value.to_string().replace('\\', "\\\\").replace('"', "\\\"");
        let Self { measurement, tags, field, .. } = self;
        format!("{measurement}{tags} {field}=\"{text}\" {}", sample.at_ms)
    }
}

/// Escapes a name of the line protocol. Lines end at its end, so that there can be no second one in it.
fn key(text: &str, is_pair: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\r' => escaped.push(' '),
            ',' | ' ' => escaped.extend(['\\', letter]),
            '=' if is_pair => escaped.extend(['\\', letter]),
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use dmi_proto::v1beta1::{Influxdb2ClientConfig, Influxdb2DataConfig};

    use super::*;
    use crate::push::http::tests::{answer, listen};
    use crate::push::tests::sample;
    use crate::value::Value;

    fn config(port: u16) -> DbMethodInfluxdb2 {
        DbMethodInfluxdb2 {
            influxdb2_client_config: Some(Influxdb2ClientConfig {
                url: format!("http://127.0.0.1:{port}/"),
                org: "my org".to_owned(),
                bucket: "b".to_owned(),
            }),
            influxdb2_data_config: Some(Influxdb2DataConfig {
                measurement: "room temp".to_owned(),
                tag: [("unit".to_owned(), "a=b".to_owned())].into(),
                field_key: "value".to_owned(),
            }),
        }
    }

    #[tokio::test]
    async fn a_value_is_written_as_a_point_with_the_token() {
        let (listener, port) = listen().await;
        let mut target = InfluxTarget::new(&config(port), Some(Secret::new("hunter2"))).expect("a target");
        let sample = sample(Value::Text("say \"x\\\"".to_owned()));
        let (request, sent) = tokio::join!(answer(listener, "204 No Content"), target.send(&sample));
        assert!(sent.is_ok(), "{sent:?}");
        assert!(
            request.starts_with("POST /api/v2/write?org=my%20org&bucket=b&precision=ms HTTP/1.1"),
            "{request}"
        );
        assert!(request.contains("authorization: Token hunter2\r\n"), "{request}");
        let line = "room\\ temp,unit=a\\=b value=\"say \\\"x\\\\\\\"\" 1700000000012";
        assert!(request.ends_with(&format!("\r\n\r\n{line}")), "{request}");
    }

    #[test]
    fn without_a_token_or_a_field_nothing_is_written() {
        let error = InfluxTarget::new(&config(1), None).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("TOKEN")));
        assert!(InfluxTarget::new(&DbMethodInfluxdb2::default(), Some(Secret::new("t"))).is_err());
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }
}
