//! The smallest mapper: thermostats that are simulated.
//!
//! Each device is a room that cools down to the temperature outside and that its heater warms up to the
//! target. A real mapper has the same five methods and talks to hardware in them.

use async_trait::async_trait;
use mapper_sdk::{Device, Driver, DriverError, Property, Value};
use tokio::time::Instant;

/// The driver.
#[derive(Debug, Clone, Copy, Default)]
pub struct Thermostats;

/// A room.
#[derive(Debug, Clone)]
pub struct Room {
    temperature: f64,
    outside: f64,
    target: f64,
    is_heating: bool,
    at: Instant,
}

/// Degrees that the heater gives in a second.
const HEATER: f64 = 1.0;
/// The part of the difference to outside that is lost in a second.
const LOSS: f64 = 0.01;
/// How far the temperature may fall below the target before the heater is switched on.
const HYSTERESIS: f64 = 0.5;

impl Room {
    fn new(outside: f64, target: f64, now: Instant) -> Self {
        Self { temperature: outside, outside, target, is_heating: false, at: now }
    }

    /// Lets the time pass that has passed.
    fn pass(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        if self.temperature >= self.target {
            self.is_heating = false;
        } else if self.temperature < self.target - HYSTERESIS {
            self.is_heating = true;
        }
        let lost = (self.temperature - self.outside) * (1.0 - (-LOSS * seconds).exp());
        let gained = if self.is_heating { HEATER * seconds } else { 0.0 };
        self.temperature += gained - lost;
        if self.is_heating {
            self.temperature = self.temperature.min(self.target);
        }
    }
}

#[async_trait]
impl Driver for Thermostats {
    type Handle = Room;

    async fn open(&self, device: &Device) -> Result<Room, DriverError> {
        let outside = device.config.get("outside").and_then(|value| value.as_f64()).unwrap_or(10.0);
        Ok(Room::new(outside, outside, Instant::now()))
    }

    async fn read(&self, room: &mut Room, property: &Property) -> Result<Value, DriverError> {
        room.pass(Instant::now());
        match property.name.as_str() {
            "temperature" => Ok(Value::Number((room.temperature * 100.0).round() / 100.0)),
            "target" => Ok(Value::Number(room.target)),
            "heating" => Ok(Value::Boolean(room.is_heating)),
            other => Err(DriverError::Failed(format!("a thermostat has no property {other}"))),
        }
    }

    async fn write(&self, room: &mut Room, property: &Property, value: &Value) -> Result<(), DriverError> {
        let target = value.number().filter(|target| (5.0..=30.0).contains(target));
        match (property.name.as_str(), target) {
            ("target", Some(target)) => {
                room.pass(Instant::now());
                room.target = target;
                Ok(())
            }
            ("target", None) => Err(DriverError::Failed(format!("{value} is no temperature from 5 to 30"))),
            (other, _) => Err(DriverError::Failed(format!("{other} cannot be written"))),
        }
    }

    async fn state(&self, _: &mut Room) -> Result<String, DriverError> {
        Ok("online".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_room_is_warmed_up_to_its_target_and_cools_down_without_one() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut room = Room::new(10.0, 20.0, start);
        for second in 0..120 {
            room.pass(after(second));
        }
        assert!((19.0..=20.0).contains(&room.temperature), "{room:?}");
        room.target = 5.0;
        room.pass(after(1000));
        assert!(!room.is_heating && (10.0..10.1).contains(&room.temperature), "{room:?}");
    }
}
