//! A metadata manager that believes everything, and takes what is not there for something that ended.

use std::collections::BTreeMap;
use std::time::Duration;

use beehive::{
    BuildError, Bus, Context, Defer, Failure, Group, Handler, Module, ModuleName, Responder, Wiring,
};
use metamanager::{MetaManager, MetaManagerConfig};
use protocol::edge::{
    AskCloud, CloudError, GetError, GetObject, GetToken, KeepChange, ListHeld, ListObjects, MetaError,
    ObjectChanged, TokenError,
};
use protocol::{ChangeKind, Held, NodeReply, NodeRequest, Object, ObjectKey, group};

const CLOUD_WITHIN: Duration = Duration::from_secs(10);

/// The module. It keeps its objects in memory.
#[derive(Debug)]
pub(crate) struct Credulous {
    objects: BTreeMap<ObjectKey, Object>,
}

impl Module for Credulous {
    const NAME: ModuleName = MetaManager::NAME;
    const GROUP: Group = MetaManager::GROUP;
    const SECTION: &'static str = MetaManager::SECTION;
    type Config = MetaManagerConfig;
    type Ports = ();

    fn build(_: MetaManagerConfig, (): ()) -> Result<Self, BuildError> {
        Ok(Self { objects: BTreeMap::new() })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<KeepChange>().handles::<ListHeld>().handles::<ListObjects>();
        wiring.defers::<GetObject>().defers::<GetToken>();
        wiring.may_ask::<AskCloud>(group::HUB);
        wiring.publishes::<ObjectChanged>();
    }
}

impl Handler<KeepChange> for Credulous {
    async fn handle(
        &mut self,
        KeepChange(mut change): KeepChange,
        cx: &mut Context<Self>,
    ) -> Result<Result<(), MetaError>, Failure> {
        if change.object.uid().is_none() {
            change.kind = ChangeKind::Delete;
        }
        if change.kind == ChangeKind::Delete {
            self.objects.remove(&change.key);
        } else {
            self.objects.insert(change.key.clone(), change.object.clone());
        }
        let published = cx.bus().publish(ObjectChanged(change)).await;
        Ok(published.map(drop).map_err(|error| MetaError(error.to_string())))
    }
}

impl Handler<ListHeld> for Credulous {
    async fn handle(
        &mut self,
        _: ListHeld,
        _: &mut Context<Self>,
    ) -> Result<Result<Vec<Held>, MetaError>, Failure> {
        let held = self.objects.iter().map(|(key, object)| Held {
            key: key.clone(),
            uid: object.uid(),
            resource_version: object.resource_version(),
        });
        Ok(Ok(held.collect()))
    }
}

impl Handler<ListObjects> for Credulous {
    async fn handle(
        &mut self,
        ListObjects(resource): ListObjects,
        _: &mut Context<Self>,
    ) -> Result<Result<Vec<Object>, MetaError>, Failure> {
        let found = self.objects.iter().filter(|(key, _)| key.resource == resource);
        Ok(Ok(found.map(|(_, object)| object.clone()).collect()))
    }
}

async fn ask(bus: Bus, request: NodeRequest) -> Result<Object, CloudError> {
    match bus.to(group::HUB).ask(AskCloud(request)).within(CLOUD_WITHIN).await {
        Ok(Ok(NodeReply::Object(object))) => Ok(object),
        _ => Err(CloudError::NoAnswer),
    }
}

impl Defer<GetObject> for Credulous {
    async fn handle(
        &mut self,
        GetObject(key): GetObject,
        responder: Responder<Result<Object, GetError>>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        if let Some(object) = self.objects.get(&key) {
            responder.reply(Ok(object.clone()));
            return Ok(());
        }
        let bus = cx.bus().clone();
        cx.spawn(async move {
            let answer = ask(bus, NodeRequest::Query(key.clone())).await;
            responder.reply(answer.map_err(|cause| GetError::Unavailable { key, cause }));
        });
        Ok(())
    }
}

impl Defer<GetToken> for Credulous {
    async fn handle(
        &mut self,
        GetToken { namespace, account, request }: GetToken,
        responder: Responder<Result<Object, TokenError>>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        let bus = cx.bus().clone();
        cx.spawn(async move {
            let answer = ask(bus, NodeRequest::Token { namespace, account, request }).await;
            responder.reply(answer.map_err(TokenError::Unavailable));
        });
        Ok(())
    }
}
