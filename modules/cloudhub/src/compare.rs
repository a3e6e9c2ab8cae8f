//! Comparing what a node holds with what it is known to hold.

use std::time::Duration;

use beehive::{Context, Defer, Failure, Responder};
use protocol::cloud::{CompareNode, Compared};
use protocol::{Buckets, Inventory};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use wire::codec::Comparison;

use crate::CloudHub;
use crate::known::Known;

/// The longest time that a comparison may take: a slow link carries some hundred objects a second.
const COMPARE_TIMEOUT: Duration = Duration::from_secs(60);

/// A node that lists more objects than these is taken for one that cannot say what it holds.
const OBJECTS_MAX: usize = 1 << 16;

/// Someone wants a session to compare.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Whether nothing may be on its way to the node meanwhile. At the beginning of a session something
    /// may: what is told twice does no harm.
    pub(crate) is_strict: bool,
    pub(crate) reply: oneshot::Sender<Compared>,
}

/// Has a session compare.
pub(crate) async fn compare(session: &mpsc::Sender<Wanted>, is_strict: bool) -> Compared {
    let (reply, compared) = oneshot::channel();
    if session.try_send(Wanted { is_strict, reply }).is_err() {
        return Compared::Busy;
    }
    match timeout(COMPARE_TIMEOUT, compared).await {
        Ok(Ok(compared)) => compared,
        Ok(Err(_)) | Err(_) => Compared::Unknown,
    }
}

impl Defer<CompareNode> for CloudHub {
    async fn handle(
        &mut self,
        CompareNode { node, session }: CompareNode,
        responder: Responder<Compared>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        let Some(comparing) = self.sessions.comparing(&node, session) else {
            responder.reply(Compared::Unknown);
            return Ok(());
        };
        cx.spawn(async move { responder.reply(compare(&comparing, true).await) });
        Ok(())
    }
}

/// The peer does not answer what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node's answer about what it holds fits no question")]
pub(crate) struct Unfit;

/// What is to be done next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    Ask(Comparison),
    End(Compared),
}

/// A comparison under way.
#[derive(Debug)]
pub(crate) struct Comparing {
    known: Known,
    /// The buckets that the node has still to list; `None` until it said its sums.
    left: Option<Buckets>,
}

impl Comparing {
    /// Begins one, and returns the first question.
    pub(crate) fn begin(known: Known) -> (Self, Comparison) {
        (Self { known, left: None }, Comparison::AskSummary)
    }

    /// Takes an answer of the node.
    pub(crate) fn hear(&mut self, answer: Comparison) -> Result<Next, Unfit> {
        match (answer, &self.left) {
            (Comparison::Unknown, _) => Ok(Next::End(Compared::Unknown)),
            (Comparison::Summary(sums), None) => {
                let differing = self.known.get().differing(&sums).ok_or(Unfit)?;
                if differing.chosen().is_empty() {
                    return Ok(Next::End(Compared::Same));
                }
                Ok(self.ask(differing))
            }
            (Comparison::Held { buckets, held }, Some(left)) => {
                let is_asked = |bucket| left.chosen().contains(bucket);
                let is_fit = buckets.of() == left.of() && buckets.chosen().iter().all(is_asked);
                if !is_fit || buckets.chosen().is_empty() {
                    return Err(Unfit);
                }
                if self.known.get().len() + held.len() > OBJECTS_MAX {
                    *self.known.get_mut() = Inventory::default();
                    return Ok(Next::End(Compared::Unknown));
                }
                let left = left.without(&buckets);
                self.known.get_mut().replace(&buckets, held);
                if left.chosen().is_empty() {
                    return Ok(Next::End(Compared::Differs(self.known.get().list())));
                }
                Ok(self.ask(left))
            }
            _ => Err(Unfit),
        }
    }

    fn ask(&mut self, buckets: Buckets) -> Next {
        self.left = Some(buckets.clone());
        Next::Ask(Comparison::AskHeld(buckets))
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Held, ObjectKey, ObjectName, ResourceType, ResourceVersion};

    use super::*;

    fn held(number: usize) -> Held {
        let name = ObjectName::parse(&format!("a{number}")).expect("a name");
        Held {
            key: ObjectKey { resource: ResourceType::POD, namespace: None, name },
            uid: None,
            resource_version: Some(ResourceVersion::new("1")),
        }
    }

    /// Lets a node answer until the end; returns what came of it and how many objects were listed.
    fn play(known: &Known, node: &Inventory) -> (Compared, usize) {
        let (mut comparing, mut asked) = Comparing::begin(known.clone());
        let mut listed = 0;
        loop {
            let answer = match asked {
                Comparison::AskSummary => Comparison::Summary(node.summary()),
                Comparison::AskHeld(wanted) => {
                    let (buckets, held) = node.list_in(&wanted, 10);
                    listed += held.len();
                    Comparison::Held { buckets, held }
                }
                other => panic!("a question: {other:?}"),
            };
            match comparing.hear(answer).expect("it fits") {
                Next::Ask(next) => asked = next,
                Next::End(compared) => return (compared, listed),
            }
        }
    }

    #[test]
    fn only_what_differs_is_listed_and_known_afterwards() {
        let known = Known::default();
        let mut node: Inventory = (0..500).map(held).collect();
        assert_eq!(play(&known, &node), (Compared::Differs(node.list()), 500), "nothing was known");
        assert_eq!(play(&known, &node), (Compared::Same, 0));
        node.remove(&held(7).key);
        node.insert(held(1000));
        let (compared, listed) = play(&known, &node);
        assert_eq!(compared, Compared::Differs(node.list()));
        assert!(listed < 60, "{listed} objects were listed");
        assert_eq!(play(&known, &Inventory::default()).0, Compared::Differs(Vec::new()));
    }

    #[test]
    fn a_node_that_lists_without_end_is_not_believed() {
        let known = Known::default();
        let (mut comparing, _) = Comparing::begin(known.clone());
        let asked = comparing.hear(Comparison::Summary(vec![1; 2])).expect("it fits");
        let Next::Ask(Comparison::AskHeld(buckets)) = asked else { panic!("a question: {asked:?}") };
        let held = (0..=OBJECTS_MAX).map(held).collect();
        let next = comparing.hear(Comparison::Held { buckets, held });
        assert_eq!(next, Ok(Next::End(Compared::Unknown)));
        assert!(known.get().is_empty());
    }

    #[test]
    fn an_answer_to_another_question_is_not_taken() {
        let buckets = |of, chosen| Buckets::new(of, chosen).expect("buckets");
        let listed = |buckets| Comparison::Held { buckets, held: Vec::new() };
        let known = Known::default();
        known.get_mut().insert(held(1));
        let begin = || Comparing::begin(known.clone()).0;
        for unfit in [Comparison::AskSummary, Comparison::Summary(vec![1; 3]), listed(buckets(1, vec![0]))] {
            assert_eq!(begin().hear(unfit.clone()), Err(Unfit), "{unfit:?}");
        }
        assert_eq!(begin().hear(Comparison::Unknown), Ok(Next::End(Compared::Unknown)));
        let mut comparing = begin();
        let asked = comparing.hear(Comparison::Summary(vec![1; 2]));
        assert_eq!(asked, Ok(Next::Ask(Comparison::AskHeld(buckets(2, vec![0, 1])))));
        for unfit in [Comparison::Summary(vec![1]), listed(buckets(2, vec![])), listed(buckets(4, vec![0]))] {
            assert_eq!(comparing.hear(unfit.clone()), Err(Unfit), "{unfit:?}");
        }
        assert_eq!(known.get().len(), 1);
    }
}
