//! The edge's durable copy of its Kubernetes objects.
//!
//! The metadata manager keeps every change that the cloud sends and says so only when the change is
//! on disk; it then publishes the change, in the order in which changes came. It answers reads from
//! the store, and asks the cloud for what is not held here, so that a node goes on without a link.

mod config;
mod fetches;
mod holdings;
mod import;
mod keeper;
mod layout;
mod listing;
mod load;
mod mend;
mod opening;
#[cfg(test)]
mod tests;
mod tokens;

use beehive::{
    BuildError, Context, Defer, Failure, Group, Handler, Message, Module, ModuleName, Responder, Wiring,
};
use protocol::edge::{
    AskCloud, CloudError, GetError, GetObject, GetToken, KeepChange, ListHeld, ListObjects, MetaError,
    ObjectChanged,
};
use protocol::{ChangeKind, NodeReply, NodeRequest, Object, ObjectChange, ObjectKey, ResourceType, group};
use store::{SharedMedium, SharedStore, StoreError};

pub use crate::config::MetaManagerConfig;
use crate::fetches::{Answer, Fetches, Joined};
use crate::holdings::{Holdings, Verdict};
pub use crate::import::{ImportError, import};
use crate::keeper::Keeper;
use crate::layout::OBJECTS;
use crate::listing::Listing;
use crate::mend::LookForUnreadable;
use crate::opening::{NotKept, Reopened};
use crate::tokens::TokenCame;

/// The module.
#[derive(Debug)]
pub struct MetaManager {
    config: MetaManagerConfig,
    medium: SharedMedium,
    /// The opening that the inventory was read from.
    store: SharedStore,
    holdings: Holdings,
    fetches: Fetches,
    keeper: Keeper,
    /// The last unreadable object that the cloud was asked for in passing.
    mended: Option<ObjectKey>,
    /// How many requests for tokens wait for the cloud.
    asking: usize,
}

/// The cloud answered a query of this module.
#[derive(Debug, Message)]
struct Fetched {
    key: ObjectKey,
    answer: Result<NodeReply, CloudError>,
}

impl Module for MetaManager {
    const NAME: ModuleName = ModuleName::new("metamanager");
    const GROUP: Group = group::META;
    const SECTION: &'static str = "metaManager";
    type Config = MetaManagerConfig;
    type Ports = SharedMedium;

    fn build(config: MetaManagerConfig, medium: SharedMedium) -> Result<Self, BuildError> {
        let store = medium.store();
        let keeper = Keeper::new(store.clone());
        let (holdings, fetches) = (Holdings::default(), Fetches::default());
        Ok(Self { config, medium, store, holdings, fetches, keeper, mended: None, asking: 0 })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.defers::<KeepChange>().defers::<GetObject>().defers::<GetToken>().defers::<ListHeld>();
        wiring.handles::<ListObjects>().handles::<Listing>();
        wiring.handles::<Fetched>().handles::<TokenCame>().handles::<NotKept>().handles::<Reopened>();
        wiring.handles::<LookForUnreadable>();
        wiring.may_ask::<AskCloud>(group::HUB);
        wiring.publishes::<ObjectChanged>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.open(cx).await?;
        self.keeper.start(cx);
        Self::look_for_unreadable(cx);
        Ok(())
    }
}

impl Defer<KeepChange> for MetaManager {
    async fn handle(
        &mut self,
        KeepChange(change): KeepChange,
        responder: Responder<Result<(), MetaError>>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        self.read_anew(cx).await?;
        if change.kind != ChangeKind::Delete && !layout::names(&change.object, &change.key) {
            let key = &change.key;
            responder.reply(Err(MetaError(format!("the change of {key} carries another object"))));
            return Ok(());
        }
        if cx.buggify("metamanager.queue-full") {
            responder.reply(Err(MetaError("a simulation lets the queue be full".to_owned())));
            return Ok(());
        }
        if self.holdings.judge(&change) == Verdict::Stale {
            tracing::debug!(key = %change.key, kind = ?change.kind, "dropped a change that is older than what is held");
            responder.reply(Ok(()));
            return Ok(());
        }
        self.fetches.overtake(&change.key);
        self.keep(change, Some(responder));
        Ok(())
    }
}

impl Defer<GetObject> for MetaManager {
    async fn handle(
        &mut self,
        GetObject(key): GetObject,
        responder: Responder<Answer>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        if cx.buggify("metamanager.object-forgotten") && self.holdings.has(&key) {
            self.holdings.distrust(key.clone());
        }
        match self.read(&key) {
            Ok(Some(object)) => responder.reply(Ok(object)),
            Ok(None) => {
                if self.fetches.join(&key, responder) == Joined::First {
                    self.fetch(key, cx);
                }
            }
            Err(failed) => responder.reply(Err(GetError::Store(failed))),
        }
        Ok(())
    }
}

impl Handler<Fetched> for MetaManager {
    async fn handle(&mut self, fetched: Fetched, _: &mut Context<Self>) -> Result<(), Failure> {
        self.take_answer(fetched.key, fetched.answer);
        Ok(())
    }
}

impl Handler<ListObjects> for MetaManager {
    async fn handle(
        &mut self,
        ListObjects(resource): ListObjects,
        _: &mut Context<Self>,
    ) -> Result<Result<Vec<Object>, MetaError>, Failure> {
        Ok(self.list(&resource))
    }
}

impl MetaManager {
    /// Makes a change durable and published; `responder` hears of it when both are done.
    fn keep(&mut self, change: ObjectChange, responder: Option<Responder<Result<(), MetaError>>>) {
        let taken = change.clone();
        if self.keeper.keep(change, responder) {
            self.holdings.take(&taken);
        }
    }

    /// Takes the cloud's answer to a query, unless a change was faster.
    fn take_answer(&mut self, key: ObjectKey, answer: Result<NodeReply, CloudError>) {
        let fetch = self.fetches.finish(&key);
        let answer = match self.read(&key) {
            Ok(Some(newer)) => Ok(newer),
            Ok(None) if fetch.overtaken => Err(GetError::NotFound(key)),
            Ok(None) => fetches::read_answer(&key, answer).inspect(|object| self.keep_answer(key, object)),
            Err(failed) => Err(GetError::Store(failed)),
        };
        fetch.reply(&answer);
    }

    fn keep_answer(&mut self, key: ObjectKey, object: &Object) {
        if fetches::is_kept(&key.resource) {
            self.keep(ObjectChange { kind: ChangeKind::Insert, key, object: object.clone() }, None);
        }
    }

    fn fetch(&mut self, key: ObjectKey, cx: &mut Context<Self>) {
        let (bus, me, within) = (cx.bus().clone(), cx.me(), self.config.query_timeout());
        cx.spawn(async move {
            let answer = fetches::ask_cloud(&bus, NodeRequest::Query(key.clone()), within).await;
            if me.send(Fetched { key, answer }).await.is_err() {
                tracing::debug!("the metadata manager stopped before it could take the cloud's answer");
            }
        });
    }

    /// Reads an object that is held. A damaged record counts as not held.
    fn read(&mut self, key: &ObjectKey) -> Result<Option<Object>, MetaError> {
        if !self.holdings.has(key) {
            return Ok(None);
        }
        let damage = match self.store.get(OBJECTS, &layout::encode_key(key)) {
            Ok(Some(record)) => match layout::decode_record(key, record) {
                Ok(object) => return Ok(Some(object)),
                Err(damage) => damage.to_string(),
            },
            Ok(None) => "the record is missing".to_owned(),
            Err(corrupt @ StoreError::Corrupt { .. }) => corrupt.to_string(),
            Err(failed) => return Err(MetaError(failed.to_string())),
        };
        tracing::error!(%key, %damage, "a record of the edge store is damaged");
        self.holdings.distrust(key.clone());
        Ok(None)
    }

    /// Lists the readable objects of one type in the order of their keys.
    fn list(&mut self, resource: &ResourceType) -> Result<Vec<Object>, MetaError> {
        let keys = self.holdings.keys(resource);
        let mut objects = Vec::with_capacity(keys.len());
        for key in keys {
            objects.extend(self.read(&key)?);
        }
        Ok(objects)
    }
}
