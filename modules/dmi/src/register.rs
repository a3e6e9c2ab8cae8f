//! Mappers that register.

use std::collections::BTreeMap;

use beehive::Context;
use dmi_proto::ProtobufMessage as _;
use dmi_proto::v1beta1::{MapperRegisterRequest, MapperRegisterResponse};
use protocol::{ObjectKey, ResourceType};
use store::Batch;
use tokio::sync::OwnedSemaphorePermit;

use crate::Dmi;
use crate::line::Line;
use crate::mapper::{self, Mapper};
use crate::ports::{Answer, Cause, Refusal};

/// Mappers of a node.
const MAPPERS_MAX: usize = 256;
/// Bytes of an answer: less than the 4 MiB that grpc-go takes. What has no room is told by calls.
const ANSWER_BYTES_MAX: usize = 3 << 20;

impl Dmi {
    /// Takes a mapper in, the newest of its protocol, and answers when that is on disk.
    pub(crate) fn register(
        &mut self,
        request: MapperRegisterRequest,
        answer: Answer<MapperRegisterResponse>,
        place: OwnedSemaphorePermit,
        cx: &mut Context<Self>,
    ) {
        let mapper = match self.admit(&request, cx) {
            Ok(mapper) => mapper,
            Err(refusal) => {
                tracing::warn!(%refusal, "a device mapper was refused");
                answer.reply(Err(refusal));
                return;
            }
        };
        let mut batch = self.leave(&mapper);
        let (response, told) =
            if request.with_data { self.all_of(&mapper.protocol) } else { Default::default() };
        tracing::info!(
            mapper = mapper.name,
            protocol = mapper.protocol,
            devices = response.device_list.len(),
            "a device mapper registered"
        );
        self.generations += 1;
        let mut line = Line::new(mapper.clone(), self.generations, told);
        batch = put_line(batch, &line);
        line.touch_all(&self.inventory);
        self.lines.insert(mapper.protocol, line);
        let commit = self.ports.store.store().commit(batch);
        cx.spawn(async move {
            let kept = commit.await.map_err(|error| {
                Refusal::new(Cause::Unavailable, format!("the mapper could not be remembered: {error}"))
            });
            answer.reply(kept.map(|()| response));
            drop(place);
        });
        self.tell_due(cx);
    }

    fn admit(&mut self, request: &MapperRegisterRequest, cx: &Context<Self>) -> Result<Mapper, Refusal> {
        self.check_rate(None, cx.now())?;
        let invalid = |text: String| Refusal::new(Cause::Invalid, text);
        let info = request.mapper.clone().ok_or_else(|| invalid("the request has no mapper".to_owned()))?;
        let mapper = Mapper::of(info).map_err(invalid)?;
        if let Some(mappers) = &self.ports.mappers {
            mappers.check_address(&mapper.address).map_err(invalid)?;
        }
        if self.lines.len() >= MAPPERS_MAX && !self.lines.contains_key(&mapper.protocol) {
            let text = format!("a node has mappers for at most {MAPPERS_MAX} protocols");
            return Err(Refusal::new(Cause::TooMany, text));
        }
        Ok(mapper)
    }

    /// Forgets the mapper that had this protocol or this name.
    fn leave(&mut self, mapper: &Mapper) -> Batch {
        let is_old = |line: &Line| line.mapper.protocol == mapper.protocol || line.mapper.name == mapper.name;
        let old: Vec<String> = self
            .lines
            .iter()
            .filter(|(_, line)| is_old(line))
            .map(|(protocol, _)| protocol.clone())
            .collect();
        let mut batch = Batch::new();
        for protocol in old {
            let Some(line) = self.lines.remove(&protocol) else { continue };
            self.buckets.remove(&protocol);
            batch = mapper::remove_mapper(batch, &protocol);
            batch = line.told().keys().fold(batch, |batch, key| mapper::remove_told(batch, &protocol, key));
        }
        batch
    }

    /// Returns all that the mapper of a protocol is to know, and what of that it then was told.
    ///
    /// `mapper-framework` ignores models that come without devices, so they do not count as told then.
    fn all_of(&self, protocol: &str) -> (MapperRegisterResponse, BTreeMap<ObjectKey, u64>) {
        let mut response = MapperRegisterResponse::default();
        let mut told = BTreeMap::new();
        let mut bytes = 0;
        for (key, state) in self.inventory.of_protocol(protocol) {
            // A device goes with its model or not at all.
            let has_model = self.inventory.model_of(&key).is_none_or(|model| told.contains_key(model));
            let added = if key.resource == ResourceType::DEVICE_MODEL {
                let model = self.inventory.model(&key);
                model
                    .filter(|model| fits(&mut bytes, model.encoded_len()))
                    .map(|it| response.model_list.push(it))
            } else {
                let device = self.inventory.device(&key).filter(|_| has_model);
                device.filter(|it| fits(&mut bytes, it.encoded_len())).map(|it| response.device_list.push(it))
            };
            if added.is_some() {
                told.insert(key, state);
            }
        }
        if response.device_list.is_empty() { Default::default() } else { (response, told) }
    }
}

/// Tells whether a message fits into the answer, and counts it if it does.
fn fits(bytes: &mut usize, more: usize) -> bool {
    // What is in front of a message takes a few bytes.
    let all = bytes.saturating_add(more).saturating_add(8);
    let fits = all <= ANSWER_BYTES_MAX;
    if fits {
        *bytes = all;
    }
    fits
}

/// Adds a mapper and what it was told.
pub(crate) fn put_line(batch: Batch, line: &Line) -> Batch {
    let batch = mapper::put_mapper(batch, &line.mapper);
    let protocol = &line.mapper.protocol;
    line.told().iter().fold(batch, |batch, (key, state)| mapper::put_told(batch, protocol, key, *state))
}
