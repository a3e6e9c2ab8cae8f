//! Comparing, from time to time, what the node of a living session holds with what it must know.
//!
//! Nothing should ever differ: whatever was handed over is on the node's disk. A disk may be damaged,
//! and a program wrong, so it is looked after, and what is found is mended and reported.

use beehive::{Context, Failure, Handler, Message};
use protocol::cloud::{CompareNode, Compared, Holdings};
use protocol::{Held, NodeName, ObjectKey, group};
use tokio::time::Duration;

use crate::EdgeController;
use crate::desired::Effect;
use crate::desired::settle::Settling;
use crate::down::PART;

/// How long a comparison may take.
const WITHIN: Duration = Duration::from_secs(90);
/// How long to wait where changes were on their way.
const PAUSE: Duration = Duration::from_secs(15);
/// How many keys a report names.
const NAMED_MAX: usize = 20;

/// A session's next comparison is due.
#[derive(Debug, Clone, Message)]
pub(crate) struct CompareDue {
    node: NodeName,
    session: u64,
    /// Whether the session began without a word of what the node holds.
    is_first: bool,
}

/// A comparison ended.
#[derive(Debug, Message)]
pub(crate) struct Found {
    node: NodeName,
    session: u64,
    /// How many changes were for the node in this session when it began.
    changes: u64,
    is_first: bool,
    compared: Compared,
}

impl EdgeController {
    /// Lets a session be compared after a period, which varies so that not all come together.
    pub(crate) fn compare_later(&self, node: NodeName, session: u64, cx: &mut Context<Self>) {
        let [.., random] = cx.uuid();
        let period = self.config.compare_period;
        let due = CompareDue { node, session, is_first: false };
        cx.after(period - period / 10 * random.into() / 256, due);
    }

    /// Lets a session be compared as soon as may be, whose node did not say what it holds: its store was in
    /// trouble, or its codec cannot.
    pub(crate) fn compare_soon(&self, node: NodeName, session: u64, cx: &mut Context<Self>) {
        cx.after(PAUSE, CompareDue { node, session, is_first: true });
    }

    /// Tells how many changes were for the node in this session, if all were handed over.
    fn quiet(&self, node: &NodeName, session: u64) -> Option<u64> {
        let is_quiet = self.desired.can_settle(node) && !self.outbox.has(node);
        self.sessions.settled_changes(node, session).filter(|_| is_quiet)
    }

    fn heal(&mut self, node: NodeName, held: Vec<Held>, is_first: bool, cx: &mut Context<Self>) {
        let objects = held.len();
        let mut settling = Settling::new(Holdings::Said(held));
        let effects = self.desired.settle(&node, &mut settling, PART);
        let sent = effects.iter().filter_map(|effect| match effect {
            Effect::Send { change, .. } => Some(&change.key),
            _ => None,
        });
        let keys: Vec<&ObjectKey> = sent.collect();
        if keys.is_empty() {
            tracing::debug!(%node, objects, "what the node holds is known again");
        } else if is_first {
            let objects = keys.len();
            tracing::info!(%node, objects, "the node says what it holds only now, and is told the difference");
        } else {
            self.healed += u64::try_from(keys.len()).unwrap_or(u64::MAX);
            let (objects, total, more) = (keys.len(), self.healed, !settling.is_over());
            let named: Vec<String> = keys.iter().take(NAMED_MAX).map(ToString::to_string).collect();
            tracing::warn!(%node, objects, more, total, keys = ?named, "the node did not hold what it had acknowledged; it is told again");
        }
        if !settling.is_over() {
            self.sessions.begin_settling(&node, settling);
        }
        self.tell_difference(&node, effects, cx);
    }
}

impl Handler<CompareDue> for EdgeController {
    async fn handle(&mut self, due: CompareDue, cx: &mut Context<Self>) -> Result<(), Failure> {
        if self.sessions.number(&due.node) != Some(due.session) {
            return Ok(());
        }
        let CompareDue { node, session, is_first } = due;
        let Some(changes) = self.quiet(&node, session) else {
            cx.after(PAUSE, CompareDue { node, session, is_first });
            return Ok(());
        };
        let (bus, me) = (cx.bus().clone(), cx.me());
        cx.spawn(async move {
            let ask = CompareNode { node: node.clone(), session };
            let compared = match bus.to(group::CLOUDHUB).ask(ask).within(WITHIN).await {
                Ok(compared) => compared,
                Err(error) => {
                    tracing::debug!(%node, %error, "the cloud hub did not compare");
                    Compared::Unknown
                }
            };
            if me.send(Found { node, session, changes, is_first, compared }).await.is_err() {
                tracing::debug!("the edge controller stopped while a node was compared");
            }
        });
        Ok(())
    }
}

impl Handler<Found> for EdgeController {
    async fn handle(&mut self, found: Found, cx: &mut Context<Self>) -> Result<(), Failure> {
        let Found { node, session, changes, is_first, compared } = found;
        if self.sessions.number(&node) != Some(session) {
            return Ok(());
        }
        let is_quiet = self.quiet(&node, session) == Some(changes);
        match compared {
            Compared::Differs(held) if is_quiet => self.heal(node.clone(), held, is_first, cx),
            Compared::Differs(_) | Compared::Busy => {
                cx.after(PAUSE, CompareDue { node, session, is_first });
                return Ok(());
            }
            Compared::Same => {}
            Compared::Unknown => tracing::debug!(%node, "what the node holds was not compared"),
        }
        self.compare_later(node, session, cx);
        Ok(())
    }
}
