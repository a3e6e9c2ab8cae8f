//! Requests of other modules that have types, unlike what local clients say by MQTT.

use beehive::{Context, Defer, Failure, Responder};
use protocol::device::{DesireTwin, ReportError, ReportProperties, ReportState, TwinError};

use crate::DeviceTwin;
use crate::answers::Moment;
use crate::devices::Outcome;
use crate::keeper::{Asker, Place, overfull};

impl DeviceTwin {
    /// Finds a place and a moment for what is asked for, or tells whoever asks that there is none.
    async fn admit<R>(
        &mut self,
        responder: R,
        asker: impl FnOnce(R) -> Asker,
        cx: &mut Context<Self>,
    ) -> Result<Option<(Place, Moment, R)>, Failure> {
        self.read_anew(cx).await?;
        let Some(place) = self.keeper.place() else {
            asker(responder).reply(Err(overfull()));
            return Ok(None);
        };
        let moment = Self::moment(cx);
        if self.keeper.has_failed() {
            self.keeper.refuse(place, Outcome::default(), asker(responder), moment.at_ms);
            return Ok(None);
        }
        Ok(Some((place, moment, responder)))
    }
}

impl Defer<DesireTwin> for DeviceTwin {
    async fn handle(
        &mut self,
        DesireTwin { device, property, value }: DesireTwin,
        responder: Responder<Result<(), TwinError>>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        let admitted = self.admit(responder, Asker::Desire, cx).await?;
        let Some((place, moment, responder)) = admitted else { return Ok(()) };
        match self.devices.desire((&device, &property, &value), &moment) {
            Ok(outcome) => self.keep(place, outcome, Asker::Desire(responder), moment.at_ms, cx),
            Err(error) => responder.reply(Err(error)),
        }
        Ok(())
    }
}

impl Defer<ReportProperties> for DeviceTwin {
    async fn handle(
        &mut self,
        ReportProperties { device, properties }: ReportProperties,
        responder: Responder<Result<(), ReportError>>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        let admitted = self.admit(responder, |responder| Asker::Mapper(responder, None), cx).await?;
        let Some((place, moment, responder)) = admitted else { return Ok(()) };
        match self.devices.report_properties(&device, properties, &moment) {
            Ok((outcome, wrong)) => {
                self.keep(place, outcome, Asker::Mapper(responder, wrong), moment.at_ms, cx);
            }
            Err(error) => responder.reply(Err(error)),
        }
        Ok(())
    }
}

impl Defer<ReportState> for DeviceTwin {
    async fn handle(
        &mut self,
        ReportState { device, state }: ReportState,
        responder: Responder<Result<(), ReportError>>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        let admitted = self.admit(responder, |responder| Asker::Mapper(responder, None), cx).await?;
        let Some((place, moment, responder)) = admitted else { return Ok(()) };
        match self.devices.report_state(&device, &state, &moment) {
            Ok(outcome) => self.keep(place, outcome, Asker::Mapper(responder, None), moment.at_ms, cx),
            Err(error) => responder.reply(Err(error)),
        }
        Ok(())
    }
}
