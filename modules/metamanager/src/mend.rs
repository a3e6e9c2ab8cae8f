//! Asking the cloud again for what is held here and cannot be read.
//!
//! Whoever needs such an object has it fetched. One that nobody needs, or whose fetch failed, would
//! otherwise stay unreadable until the hub compares with the cloud the next time.

use std::time::Duration;

use beehive::{Context, Failure, Handler, Message};

use crate::MetaManager;

const PERIOD: Duration = Duration::from_secs(30);
/// How many objects the cloud is asked for at a time.
const AT_ONCE: usize = 16;

/// It is time to look for objects that cannot be read.
#[derive(Debug, Clone, Message)]
pub(crate) struct LookForUnreadable;

impl Handler<LookForUnreadable> for MetaManager {
    async fn handle(&mut self, _: LookForUnreadable, cx: &mut Context<Self>) -> Result<(), Failure> {
        let unreadable = self.holdings.unreadable(self.mended.as_ref(), AT_ONCE);
        for key in &unreadable {
            if self.fetches.begin(key) {
                self.fetch(key.clone(), cx);
            }
        }
        // After the last one the next look begins anew.
        self.mended = unreadable.last().filter(|_| unreadable.len() == AT_ONCE).cloned();
        Ok(())
    }
}

impl MetaManager {
    pub(crate) fn look_for_unreadable(cx: &mut Context<Self>) {
        cx.every(PERIOD, LookForUnreadable);
    }
}
