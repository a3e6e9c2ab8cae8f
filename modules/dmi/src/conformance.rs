//! What every way to mappers must do, real or not. Each adapter's tests run this suite.

use std::time::Duration;

use async_trait::async_trait;
use dmi_proto::v1beta1::{
    CreateDeviceModelRequest, CustomizedValue, Device, DeviceModel, DeviceProperty, DeviceSpec, DeviceStatus,
    MapperInfo, MapperRegisterRequest, MapperRegisterResponse, ProtocolConfig, RegisterDeviceRequest,
    RemoveDeviceModelRequest, RemoveDeviceRequest, ReportDeviceStatesRequest, ReportDeviceStatusRequest,
    Twin, TwinProperty, UpdateDeviceModelRequest, UpdateDeviceRequest, VisitorConfig,
};
use tokio::time::timeout;

use crate::memory::{Manner, MapperError, MemoryMappers};
use crate::ports::{Call, CallError, Calls, Cause, MapperCall, Mappers, Refusal};

/// Long enough for any machine; only a failing check waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mapper's end of the way, for the suite.
#[async_trait]
pub trait MapperEnd: Send + Sync {
    /// Registers.
    async fn register(&self, request: MapperRegisterRequest) -> Result<MapperRegisterResponse, MapperError>;
    /// Reports values.
    async fn report_status(&self, request: ReportDeviceStatusRequest) -> Result<(), MapperError>;
    /// Reports a state.
    async fn report_state(&self, request: ReportDeviceStatesRequest) -> Result<(), MapperError>;
    /// Serves calls in this manner, at an address that it returns.
    async fn serve(&self, manner: Manner) -> Vec<u8>;
    /// Serves no longer.
    async fn stop(&self);
    /// Returns what it was called for since this was last called.
    async fn heard(&self) -> Vec<MapperCall>;
}

/// A promise of the way between the edge and a mapper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// What a mapper calls arrives as it was said, and so does the answer.
    CallsArriveAndAreAnswered,
    /// A mapper learns why it is refused.
    RefusalsAreTold,
    /// A call that nobody answers is said to be served later.
    TheUnansweredIsTold,
    /// Who does not listen is not reached, and may listen again.
    ListeningEndsAndBeginsAnew,
    /// A mapper is called for what was to be told.
    AMapperHearsWhatItIsTold,
    /// The edge learns why a mapper refuses.
    ARefusalIsNoAbsence,
    /// A mapper that is away or does not answer in time is not reached.
    AMapperThatIsAwayIsNotReached,
    /// An address that is none is refused.
    AnAddressIsChecked,
}

impl Promise {
    /// All promises.
    pub const ALL: [Self; 8] = [
        Self::CallsArriveAndAreAnswered,
        Self::RefusalsAreTold,
        Self::TheUnansweredIsTold,
        Self::ListeningEndsAndBeginsAnew,
        Self::AMapperHearsWhatItIsTold,
        Self::ARefusalIsNoAbsence,
        Self::AMapperThatIsAwayIsNotReached,
        Self::AnAddressIsChecked,
    ];
}

/// Checks one promise.
///
/// # Panics
///
/// When the promise is broken.
pub async fn check(promise: Promise, edge: &dyn Mappers, mapper: &dyn MapperEnd) {
    let checking = async {
        match promise {
            Promise::CallsArriveAndAreAnswered => calls_arrive_and_are_answered(edge, mapper).await,
            Promise::RefusalsAreTold => refusals_are_told(edge, mapper).await,
            Promise::TheUnansweredIsTold => the_unanswered_is_told(edge, mapper).await,
            Promise::ListeningEndsAndBeginsAnew => listening_ends_and_begins_anew(edge, mapper).await,
            Promise::AMapperHearsWhatItIsTold => a_mapper_hears_what_it_is_told(edge, mapper).await,
            Promise::ARefusalIsNoAbsence => a_refusal_is_no_absence(edge, mapper).await,
            Promise::AMapperThatIsAwayIsNotReached => {
                a_mapper_that_is_away_is_not_reached(edge, mapper).await
            }
            Promise::AnAddressIsChecked => {
                assert!(edge.check_address(b"").is_err(), "nothing is no address");
                assert_eq!(edge.check_address(&mapper.serve(Manner::Willing).await), Ok(()));
            }
        }
    };
    assert!(timeout(PATIENCE, checking).await.is_ok(), "{promise:?} takes for ever");
    mapper.stop().await;
}

/// Listens, once the one who listened before has gone.
async fn listen(edge: &dyn Mappers) -> Box<dyn Calls> {
    loop {
        match edge.listen().await {
            Ok(calls) => return calls,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

fn device() -> Device {
    let wrapped = |value: serde_json::Value| dmi_proto::to_any(&value).expect("it can travel");
    let data = [
        ("port".to_owned(), wrapped(502.into())),
        ("ip".to_owned(), wrapped("127.0.0.1".into())),
        ("scale".to_owned(), wrapped(0.5.into())),
        ("isSwap".to_owned(), wrapped(true.into())),
    ];
    let config_data = Some(CustomizedValue { data: data.into_iter().collect() });
    let property = DeviceProperty {
        name: "temperature".to_owned(),
        desired: Some(TwinProperty::default()),
        visitors: Some(VisitorConfig {
            protocol_name: "modbus".to_owned(),
            config_data: config_data.clone(),
        }),
        report_cycle: 10_000,
        collect_cycle: i64::MAX,
        report_to_cloud: true,
        push_method: None,
    };
    Device {
        name: "t1".to_owned(),
        namespace: "default".to_owned(),
        spec: Some(DeviceSpec {
            device_model_reference: "thermometer".to_owned(),
            protocol: Some(ProtocolConfig { protocol_name: "modbus".to_owned(), config_data }),
            properties: vec![property],
            methods: Vec::new(),
        }),
        status: Some(DeviceStatus { twins: Vec::new(), report_to_cloud: true, report_cycle: 1 }),
    }
}

fn model() -> DeviceModel {
    DeviceModel { name: "thermometer".to_owned(), namespace: "default".to_owned(), ..DeviceModel::default() }
}

fn registration() -> MapperRegisterRequest {
    let mapper = MapperInfo {
        name: "m".to_owned(),
        version: "v1".to_owned(),
        api_version: "v1.0.0".to_owned(),
        protocol: "modbus".to_owned(),
        address: b"/m.sock".to_vec(),
        state: "ok".to_owned(),
    };
    MapperRegisterRequest { with_data: true, mapper: Some(mapper) }
}

fn values() -> ReportDeviceStatusRequest {
    let value = |text: &str| {
        let metadata = [("type".to_owned(), "int".to_owned())].into();
        Some(TwinProperty { value: text.to_owned(), metadata })
    };
    let twin =
        Twin { property_name: "temperature".to_owned(), reported: value("21"), observed_desired: None };
    ReportDeviceStatusRequest {
        device_name: "t1".to_owned(),
        device_namespace: "default".to_owned(),
        reported_device: Some(DeviceStatus { twins: vec![twin], ..DeviceStatus::default() }),
    }
}

fn state() -> ReportDeviceStatesRequest {
    ReportDeviceStatesRequest {
        device_name: "t1".to_owned(),
        device_namespace: "default".to_owned(),
        state: "ok".to_owned(),
    }
}

async fn calls_arrive_and_are_answered(edge: &dyn Mappers, mapper: &dyn MapperEnd) {
    let mut calls = listen(edge).await;
    let response = MapperRegisterResponse { model_list: vec![model()], device_list: vec![device()] };
    let serving = async {
        match calls.next().await {
            Ok(Call::Register(request, answer)) if request == registration() => {
                answer.reply(Ok(response.clone()))
            }
            other => panic!("the registration comes first: {other:?}"),
        }
        match calls.next().await {
            Ok(Call::ReportStatus(request, answer)) if request == values() => answer.reply(Ok(())),
            other => panic!("then come values: {other:?}"),
        }
        match calls.next().await {
            Ok(Call::ReportState(request, answer)) if request == state() => answer.reply(Ok(())),
            other => panic!("then comes a state: {other:?}"),
        }
    };
    let calling = async {
        assert_eq!(mapper.register(registration()).await.as_ref(), Ok(&response));
        assert_eq!(mapper.report_status(values()).await, Ok(()));
        assert_eq!(mapper.report_state(state()).await, Ok(()));
    };
    tokio::join!(serving, calling);
}

async fn refusals_are_told(edge: &dyn Mappers, mapper: &dyn MapperEnd) {
    let mut calls = listen(edge).await;
    for cause in [Cause::Invalid, Cause::NotFound, Cause::TooMany, Cause::Unavailable] {
        let refusal = Refusal::new(cause, "not like \u{e4} this");
        let serving = async {
            match calls.next().await {
                Ok(Call::ReportState(_, answer)) => answer.reply(Err(refusal.clone())),
                other => panic!("a state comes: {other:?}"),
            }
        };
        let ((), heard) = tokio::join!(serving, mapper.report_state(state()));
        assert_eq!(heard, Err(MapperError::Refused(refusal.clone())));
    }
}

async fn the_unanswered_is_told(edge: &dyn Mappers, mapper: &dyn MapperEnd) {
    let mut calls = listen(edge).await;
    let serving = async { drop(calls.next().await.expect("a call")) };
    let ((), heard) = tokio::join!(serving, mapper.register(registration()));
    match heard {
        Err(MapperError::Refused(refusal)) => assert_eq!(refusal.cause, Cause::Unavailable),
        other => panic!("the edge is there and does not answer: {other:?}"),
    }
}

async fn listening_ends_and_begins_anew(edge: &dyn Mappers, mapper: &dyn MapperEnd) {
    for _ in 0..3 {
        let mut calls = listen(edge).await;
        let serving = async {
            match calls.next().await {
                Ok(Call::ReportState(_, answer)) => answer.reply(Ok(())),
                other => panic!("a state comes: {other:?}"),
            }
        };
        let ((), heard) = tokio::join!(serving, mapper.report_state(state()));
        assert_eq!(heard, Ok(()));
        drop(calls);
        // A call that was accepted in the last moment may be told that it is not served.
        while mapper.report_state(state()).await != Err(MapperError::Unreachable) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn a_mapper_hears_what_it_is_told(edge: &dyn Mappers, mapper: &dyn MapperEnd) {
    let address = mapper.serve(Manner::Willing).await;
    let (device_name, device_namespace) = ("t1".to_owned(), "default".to_owned());
    let (model_name, model_namespace) = ("thermometer".to_owned(), "default".to_owned());
    let calls = [
        MapperCall::CreateModel(CreateDeviceModelRequest { model: Some(model()) }),
        MapperCall::UpdateModel(UpdateDeviceModelRequest { model: Some(model()) }),
        MapperCall::RegisterDevice(RegisterDeviceRequest { device: Some(device()) }),
        MapperCall::UpdateDevice(UpdateDeviceRequest { device: Some(device()) }),
        MapperCall::RemoveDevice(RemoveDeviceRequest { device_name, device_namespace }),
        MapperCall::RemoveModel(RemoveDeviceModelRequest { model_name, model_namespace }),
    ];
    for call in calls {
        assert_eq!(edge.call(&address, call.clone(), PATIENCE).await, Ok(()));
        assert_eq!(mapper.heard().await, [call]);
    }
}

fn removal() -> MapperCall {
    MapperCall::RemoveDevice(RemoveDeviceRequest::default())
}

async fn a_refusal_is_no_absence(edge: &dyn Mappers, mapper: &dyn MapperEnd) {
    let address = mapper.serve(Manner::Refusing("not this one".to_owned())).await;
    let refused = edge.call(&address, removal(), PATIENCE).await;
    assert_eq!(refused, Err(CallError::Refused("not this one".to_owned())));
    let address = mapper.serve(Manner::Unserving).await;
    assert_eq!(edge.call(&address, removal(), PATIENCE).await, Err(CallError::Unserved));
    let address = mapper.serve(Manner::Willing).await;
    assert_eq!(edge.call(&address, removal(), PATIENCE).await, Ok(()));
}

async fn a_mapper_that_is_away_is_not_reached(edge: &dyn Mappers, mapper: &dyn MapperEnd) {
    let address = mapper.serve(Manner::Stalling).await;
    let late = edge.call(&address, removal(), Duration::from_millis(50)).await;
    assert!(matches!(late, Err(CallError::Unreachable(_))), "{late:?}");
    mapper.stop().await;
    let away = edge.call(&address, removal(), PATIENCE).await;
    assert!(matches!(away, Err(CallError::Unreachable(_))), "{away:?}");
    let address = mapper.serve(Manner::Willing).await;
    assert_eq!(edge.call(&address, removal(), PATIENCE).await, Ok(()));
}

/// A mapper of mappers in memory.
#[derive(Debug)]
pub struct MemoryEnd(pub MemoryMappers);

const ADDRESS: &[u8] = b"/memory.sock";

#[async_trait]
impl MapperEnd for MemoryEnd {
    async fn register(&self, request: MapperRegisterRequest) -> Result<MapperRegisterResponse, MapperError> {
        self.0.register(request).await
    }

    async fn report_status(&self, request: ReportDeviceStatusRequest) -> Result<(), MapperError> {
        self.0.report_status(request).await
    }

    async fn report_state(&self, request: ReportDeviceStatesRequest) -> Result<(), MapperError> {
        self.0.report_state(request).await
    }

    async fn serve(&self, manner: Manner) -> Vec<u8> {
        self.0.serve(ADDRESS, manner);
        ADDRESS.to_vec()
    }

    async fn stop(&self) {
        self.0.stop(ADDRESS);
    }

    async fn heard(&self) -> Vec<MapperCall> {
        self.0.heard(ADDRESS)
    }
}
