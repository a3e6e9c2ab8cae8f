//! Saying what the node holds.

use std::time::Duration;

use beehive::Bus;
use protocol::edge::ListHeld;
use protocol::{Inventory, group};
use wire::codec::Comparison;

/// The longest time that the store may take to say what it holds.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// How many objects are listed at once, about: some 30 KiB.
const LISTED_MAX: usize = 256;

/// Returns what the node holds; `None` when that is not known. The cloud then sends all that concerns the
/// node: more than needed, never less.
pub(crate) async fn held(bus: &Bus) -> Option<Inventory> {
    let problem = match bus.to(group::META).ask(ListHeld).within(LIST_TIMEOUT).await {
        Ok(Ok(held)) => return Some(held.into_iter().collect()),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::warn!(problem, "what the node holds is not known; the cloud cannot compare it");
    None
}

/// Answers the cloud; `None` if it asked nothing.
pub(crate) async fn answer(bus: Bus, asked: Comparison) -> Option<Comparison> {
    let is_question = matches!(asked, Comparison::AskSummary | Comparison::AskHeld(_));
    let held = if is_question { held(&bus).await } else { return None };
    Some(match (held, asked) {
        (Some(held), Comparison::AskHeld(wanted)) if !wanted.chosen().is_empty() => {
            let (buckets, held) = held.list_in(&wanted, LISTED_MAX);
            Comparison::Held { buckets, held }
        }
        (Some(held), Comparison::AskSummary) => Comparison::Summary(held.summary()),
        _ => Comparison::Unknown,
    })
}
