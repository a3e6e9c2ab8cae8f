//! A third-party module: it tells when a node has been without its cloud for too long.
//!
//! It touches nothing but the bus: the hub publishes [`LinkUp`] and [`LinkDown`], this module
//! keeps a timer in between and publishes [`OfflineTooLong`] for whoever wants to act on it.

use std::time::Duration;

use beehive::{
    BuildError, Context, Failure, Group, Handler, Message, Module, ModuleConfig, ModuleName, Problems,
    TimerKey, Wiring,
};
use protocol::edge::{LinkDown, LinkUp};
use serde::Deserialize;

/// The module's section: `modules.offlineAlarm`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlarmConfig {
    /// How long the link may be down before the alarm. Default `5m`.
    #[serde(default = "five_minutes", with = "beehive::config::duration")]
    pub after: Duration,
    /// Panics at the alarm instead of telling, to see what supervision does. Default `false`.
    #[serde(default)]
    pub crash: bool,
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

impl ModuleConfig for AlarmConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.after.is_zero() {
            problems.push("after", "must be longer than zero");
        }
    }
}

/// The node has been without its cloud for as long as the configuration allows.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub struct OfflineTooLong {
    /// How long.
    pub after: Duration,
}

/// The timer's message to the module itself.
#[derive(Debug, Clone, Message)]
pub struct Due;

/// The module.
#[derive(Debug)]
pub struct OfflineAlarm {
    config: AlarmConfig,
    timer: Option<TimerKey>,
}

impl Module for OfflineAlarm {
    const NAME: ModuleName = ModuleName::new("offlinealarm");
    const GROUP: Group = Group::new("alarm");
    const SECTION: &'static str = "offlineAlarm";
    type Config = AlarmConfig;
    type Ports = ();

    fn build(config: AlarmConfig, (): ()) -> Result<Self, BuildError> {
        Ok(Self { config, timer: None })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<LinkUp>().handles::<LinkDown>().handles::<Due>();
        wiring.publishes::<OfflineTooLong>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.timer = Some(cx.after(self.config.after, Due));
        Ok(())
    }
}

impl Handler<LinkUp> for OfflineAlarm {
    async fn handle(&mut self, _: LinkUp, cx: &mut Context<Self>) -> Result<(), Failure> {
        if let Some(timer) = self.timer.take() {
            cx.cancel(timer);
        }
        Ok(())
    }
}

impl Handler<LinkDown> for OfflineAlarm {
    async fn handle(&mut self, _: LinkDown, cx: &mut Context<Self>) -> Result<(), Failure> {
        if self.timer.is_none() {
            self.timer = Some(cx.after(self.config.after, Due));
        }
        Ok(())
    }
}

impl Handler<Due> for OfflineAlarm {
    async fn handle(&mut self, _: Due, cx: &mut Context<Self>) -> Result<(), Failure> {
        assert!(!self.config.crash, "the section asks for a crash");
        self.timer = None;
        let after = self.config.after;
        tracing::warn!(?after, "the node has been without its cloud for too long");
        let told = cx.bus().publish(OfflineTooLong { after }).await.map_err(Failure::because)?;
        tracing::debug!(?told, "the alarm was told");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
