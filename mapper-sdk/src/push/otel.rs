//! Collectors of OpenTelemetry: OTLP over HTTP, in JSON.

use std::time::Duration;

use dmi_proto::v1beta1::PushMethodOtel;
use serde_json::{Value as Json, json};

use super::http::Poster;
use super::{PushError, Sample};

const LIMIT: Duration = Duration::from_secs(10);

/// A collector. Each value is a point of a gauge that has the property's name.
pub(super) struct OtelTarget {
    poster: Poster,
}

impl OtelTarget {
    pub(super) fn new(config: &PushMethodOtel) -> Result<Self, PushError> {
        if config.endpoint_url.is_empty() {
            return Err(PushError("otel.endpointURL is empty".to_owned()));
        }
        Ok(Self { poster: Poster::new(&config.endpoint_url, LIMIT)? })
    }

    pub(super) async fn send(&mut self, sample: &Sample) -> Result<(), PushError> {
        let metrics = metrics(sample)
            .ok_or_else(|| PushError(format!("the value {:?} is no number", sample.value.to_string())))?;
        self.poster.post("application/json", None, metrics.to_string()).await
    }
}

/// Makes an `ExportMetricsServiceRequest`. Numbers of 64 bits are texts in protobuf's JSON.
fn metrics(sample: &Sample) -> Option<Json> {
    let number = sample.value.number().filter(|number| number.is_finite())?;
    let device = format!("{}/{}", sample.namespace, sample.device);
    let point = json!({ "timeUnixNano": format!("{}000000", sample.at_ms), "asDouble": number });
    let gauge = json!({ "name": sample.property, "gauge": { "dataPoints": [point] } });
    Some(json!({ "resourceMetrics": [{
        "resource": { "attributes": [{ "key": "device.id", "value": { "stringValue": device } }] },
        "scopeMetrics": [{ "scope": { "name": "mapper-sdk" }, "metrics": [gauge] }],
    }] }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::http::tests::{answer, listen};
    use crate::push::tests::sample;
    use crate::value::Value;

    #[tokio::test]
    async fn a_number_is_a_point_of_a_gauge() {
        let (listener, port) = listen().await;
        let config = PushMethodOtel { endpoint_url: format!("http://127.0.0.1:{port}/v1/metrics") };
        let mut target = OtelTarget::new(&config).expect("a target");
        let sample = sample(Value::Number(21.5));
        let (request, sent) = tokio::join!(answer(listener, "200 OK"), target.send(&sample));
        assert!(sent.is_ok(), "{sent:?}");
        assert!(request.starts_with("POST /v1/metrics HTTP/1.1"), "{request}");
        let body = request.split_once("\r\n\r\n").expect("a body").1;
        let body: Json = serde_json::from_str(body).expect("JSON");
        let metrics = &body["resourceMetrics"][0];
        assert_eq!(metrics["resource"]["attributes"][0]["value"]["stringValue"], "default/t 1");
        let metric = &metrics["scopeMetrics"][0]["metrics"][0];
        let point = json!({ "timeUnixNano": "1700000000012000000", "asDouble": 21.5 });
        assert_eq!((&metric["name"], &metric["gauge"]["dataPoints"][0]), (&json!("temp"), &point));
    }

    #[tokio::test]
    async fn a_text_is_no_telemetry() {
        let config = PushMethodOtel { endpoint_url: "http://127.0.0.1:1/".to_owned() };
        let mut target = OtelTarget::new(&config).expect("a target");
        let error = target.send(&sample(Value::Text("on".to_owned()))).await.expect_err("no number");
        assert_eq!(error.to_string(), "the value \"on\" is no number");
        assert!(OtelTarget::new(&PushMethodOtel::default()).is_err());
    }
}
