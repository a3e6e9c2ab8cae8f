//! What becomes of the inventory when the store fails and is opened anew.

use beehive::{Context, Failure, Handler, Message};
use protocol::ObjectKey;

use crate::layout::{self, OBJECTS};
use crate::{MetaManager, load, tokens};

/// A change could not be made durable: nothing is known of what the store holds of the object.
#[derive(Debug, Message)]
pub(crate) struct NotKept(pub(crate) ObjectKey);

/// The store was opened anew after a write failed.
#[derive(Debug, Message)]
pub(crate) struct Reopened;

impl Handler<NotKept> for MetaManager {
    async fn handle(&mut self, NotKept(key): NotKept, _: &mut Context<Self>) -> Result<(), Failure> {
        self.doubt(key);
        self.keeper.failed();
        Ok(())
    }
}

impl Handler<Reopened> for MetaManager {
    async fn handle(&mut self, _: Reopened, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.read_anew(cx).await
    }
}

impl MetaManager {
    /// Reads the newest opening of the store, and has itself told when there is another.
    pub(crate) async fn open(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.store = self.medium.store();
        self.keeper.use_store(self.store.clone());
        self.holdings = load::load(&*self.store).await.map_err(Failure::because)?;
        tokens::sweep(&*self.store, &self.holdings.list()).await.map_err(Failure::because)?;
        tracing::info!(objects = self.holdings.len(), "read the inventory of the edge store");
        let (over, me) = (self.store.over(), cx.me());
        cx.spawn(async move {
            over.await;
            if me.send(Reopened).await.is_err() {
                tracing::debug!(
                    "the metadata manager stopped before it could hear that its store is open anew"
                );
            }
        });
        Ok(())
    }

    /// Begins anew with what the store holds if it was opened anew.
    ///
    /// Whatever is not as it was known before, or was under way, may not have been published, or may
    /// have been lost: the cloud is to send it again when the hub connects the next time.
    pub(crate) async fn read_anew(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        if !self.store.is_over() {
            return Ok(());
        }
        let before = std::mem::take(&mut self.holdings);
        self.open(cx).await?;
        let differing = self.holdings.differences(&before);
        differing.into_iter().chain(self.keeper.under_way()).for_each(|key| self.doubt(key));
        Ok(())
    }

    /// Lets the cloud send an object again. What the store has of it is read meanwhile.
    fn doubt(&mut self, key: ObjectKey) {
        let found = self.store.get(OBJECTS, &layout::encode_key(&key)).ok().flatten();
        match found.and_then(|record| layout::decode_record(&key, record).ok()) {
            Some(_) => self.holdings.doubt(key),
            None => self.holdings.distrust(key),
        }
    }
}
