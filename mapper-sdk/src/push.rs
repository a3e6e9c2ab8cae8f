//! Sending values to where `pushMethod` says.

mod http;
mod influx;
mod mqtt;
mod otel;

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::device::{Device, Property, PushMethod};
use crate::host::Host;
use crate::value::Value;

/// Values that wait to be sent to one place. The place of one that comes when all are taken is there again
/// once the slowest reader has read.
const WAITING_MAX: usize = 64;

/// A value at a time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) namespace: String,
    pub(crate) device: String,
    pub(crate) property: String,
    pub(crate) value: Value,
    /// Milliseconds of Unix time.
    pub(crate) at_ms: i64,
}

impl Sample {
    /// Returns the time as `mapper-framework` writes it, of UTC.
    fn time(&self) -> String {
        let time = jiff::Timestamp::from_millisecond(self.at_ms).unwrap_or_default();
        time.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}

/// Says why a value was not sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PushError(String);

/// A place that values are sent to.
enum Target {
    Http(http::HttpTarget),
    Mqtt(mqtt::MqttTarget),
    Otel(otel::OtelTarget),
    Influx(influx::InfluxTarget),
}

impl Target {
    async fn send(&mut self, sample: &Sample) -> Result<(), PushError> {
        match self {
            Self::Http(target) => target.send(sample).await,
            Self::Mqtt(target) => target.send(sample).await,
            Self::Otel(target) => target.send(sample).await,
            Self::Influx(target) => target.send(sample).await,
        }
    }
}

/// What sends the values of a device's properties.
pub(crate) struct Pushers {
    queues: BTreeMap<usize, Vec<mpsc::Sender<Sample>>>,
    _tasks: JoinSet<()>,
}

impl Pushers {
    /// Begins to send values of a device.
    pub(crate) fn start(device: &Device, host: &Host) -> Self {
        let mut tasks = JoinSet::new();
        let mut queues: BTreeMap<usize, Vec<mpsc::Sender<Sample>>> = BTreeMap::new();
        for (number, property) in device.properties.iter().enumerate() {
            for target in targets(device, property, host) {
                match target {
                    Ok(target) => {
                        let (queue, samples) = mpsc::channel(WAITING_MAX);
                        queues.entry(number).or_default().push(queue);
                        tasks.spawn(send_all(target, samples));
                    }
                    Err(error) => {
                        let (device, property) = (device.id(), &property.name);
                        tracing::warn!(device, property, %error, "values of a property are not sent");
                    }
                }
            }
        }
        Self { queues, _tasks: tasks }
    }

    /// Sends a value, unless too many wait already.
    pub(crate) fn push(&self, number: usize, sample: Sample) {
        for queue in self.queues.get(&number).into_iter().flatten() {
            if queue.try_send(sample.clone()).is_err() {
                tracing::debug!(property = sample.property, "a value was dropped: too many wait to be sent");
            }
        }
    }
}

fn targets(device: &Device, property: &Property, host: &Host) -> Vec<Result<Target, PushError>> {
    let push = property.push.as_ref().map(|push| match push {
        PushMethod::Http(config) => http::HttpTarget::new(config).map(Target::Http),
        PushMethod::Mqtt(config) => {
            let client_id = format!("{}-{}-{}", device.namespace, device.name, property.name);
            mqtt::MqttTarget::new(config, &client_id).map(Target::Mqtt)
        }
        PushMethod::Otel(config) => otel::OtelTarget::new(config).map(Target::Otel),
    });
    let database = property.database.as_ref().map(|database| match &database.influxdb2 {
        Some(config) => influx::InfluxTarget::new(config, host.token.clone()).map(Target::Influx),
        None => Err(PushError("this mapper writes to InfluxDB 2 and to no other database".to_owned())),
    });
    push.into_iter().chain(database).collect()
}

/// Says the first failure of a row, and its end.
async fn send_all(mut target: Target, mut samples: mpsc::Receiver<Sample>) {
    let mut failures: u64 = 0;
    while let Some(sample) = samples.recv().await {
        let (device, property) = (format!("{}/{}", sample.namespace, sample.device), &sample.property);
        match target.send(&sample).await {
            Ok(()) if failures > 0 => {
                tracing::info!(device, property, failures, "values of a property are sent again");
                failures = 0;
            }
            Ok(()) => {}
            Err(error) => {
                failures += 1;
                if failures == 1 {
                    tracing::warn!(device, property, %error, "a value could not be sent");
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample(value: Value) -> Sample {
        Sample {
            namespace: "default".to_owned(),
            device: "t 1".to_owned(),
            property: "temp".to_owned(),
            value,
            at_ms: 1_700_000_000_012,
        }
    }

    #[test]
    fn the_time_is_written_as_kubeedge_s_mappers_write_it() {
        assert_eq!(sample(Value::Int(1)).time(), "2023-11-14 22:13:20");
    }
}
