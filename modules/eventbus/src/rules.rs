//! What the rules of the cloud want: topics that are passed to it, and messages to local clients.

use std::sync::Arc;

use beehive::{Context, Defer, Failure, Handler, Responder};
use protocol::edge::MetaError;
use protocol::rules::{ChangeTopics, DeliverError, DeliverLocal};

use crate::{EventBus, filter};

/// How many topics the rules may want.
const TOPICS_MAX: usize = 4096;

impl Defer<DeliverLocal> for EventBus {
    async fn handle(
        &mut self,
        DeliverLocal { topic, payload }: DeliverLocal,
        responder: Responder<Result<(), DeliverError>>,
        _: &mut Context<Self>,
    ) -> Result<(), Failure> {
        match filter::is_topic(&topic) {
            true => self.publish(&topic, &payload, Some(responder)),
            false => responder.reply(Err(DeliverError::NoTopic(self.note_no_topic(&topic)))),
        }
        Ok(())
    }
}

impl Handler<ChangeTopics> for EventBus {
    async fn handle(
        &mut self,
        ChangeTopics(change): ChangeTopics,
        _: &mut Context<Self>,
    ) -> Result<Result<(), MetaError>, Failure> {
        let wanted = change.apply(&self.topics.get());
        if let Some(bad) = wanted.iter().find(|topic| !filter::is_filter(topic)) {
            let shown: String = bad.chars().take(256).collect();
            return Ok(Err(MetaError(format!("{shown:?} is no MQTT topic"))));
        }
        if wanted.len() > TOPICS_MAX {
            return Ok(Err(MetaError(format!("the rules want more than {TOPICS_MAX} topics of this node"))));
        }
        if let Err(failed) = self.kept.replace(&wanted).await {
            return Ok(Err(MetaError(failed.to_string())));
        }
        if *self.topics.get() != wanted {
            tracing::info!(topics = wanted.len(), "what the rules of the cloud want of this node changed");
            self.topics.replace(Arc::new(wanted));
        }
        Ok(Ok(()))
    }
}
