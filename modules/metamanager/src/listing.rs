//! Saying what is held.

use beehive::{Context, Defer, Failure, Handler, Message, Responder};
use protocol::Held;
use protocol::edge::{ListHeld, MetaError};

use crate::{MetaManager, load};

/// Someone wants to know what is held, once all of it is durable.
#[derive(Debug, Message)]
pub(crate) struct Listing(pub(crate) Responder<Result<Vec<Held>, MetaError>>);

impl Defer<ListHeld> for MetaManager {
    async fn handle(
        &mut self,
        _: ListHeld,
        responder: Responder<Result<Vec<Held>, MetaError>>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        self.list_held(Listing(responder), cx).await
    }
}

impl Handler<Listing> for MetaManager {
    async fn handle(&mut self, listing: Listing, cx: &mut Context<Self>) -> Result<(), Failure> {
        if listing.0.is_closed() { Ok(()) } else { self.list_held(listing, cx).await }
    }
}

impl MetaManager {
    /// Reads from the store what is held, when all that was begun to be written is durable.
    async fn list_held(
        &mut self,
        Listing(responder): Listing,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        self.read_anew(cx).await?;
        if cx.buggify("metamanager.no-inventory") {
            responder.reply(Err(MetaError("a simulation keeps the inventory back".to_owned())));
            return Ok(());
        }
        if !self.keeper.is_idle() {
            self.keeper.list_after(Listing(responder));
            return Ok(());
        }
        responder.reply(match load::audit(&*self.store, &self.holdings).await {
            Ok(found) => {
                self.holdings = found;
                Ok(self.holdings.list())
            }
            Err(failed) => Err(MetaError(failed.to_string())),
        });
        Ok(())
    }
}
