//! Serving nodes.

use beehive::{AskError, Context, Responder};
use protocol::cloud::EndSession;
use protocol::{NodeName, NodeReply, NodeRequest, group};
use tokio::time::{Duration, Instant};

use crate::lanes::Subject;
use crate::messages::{NotEnded, Served};
use crate::serve::serve;
use crate::sessions::Epoch;
use crate::{EdgeController, grants};

/// How long the cloud hub is given to end a session.
const END: Duration = Duration::from_secs(10);

/// A request of a node.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) epoch: Epoch,
    pub(crate) request: NodeRequest,
    pub(crate) responder: Responder<NodeReply>,
}

impl Job {
    /// Tells whether it is still to be done.
    fn is_wanted(&self) -> bool {
        let is_waited_for = !self.responder.is_closed() || !self.request.is_answered();
        is_waited_for && !self.epoch.is_over()
    }
}

impl EdgeController {
    /// Serves a request. Those of the same subject behind it are served when it is done.
    pub(crate) fn start(&mut self, node: NodeName, subject: Subject, job: Job, cx: &mut Context<Self>) {
        let mut next = Some(job);
        while let Some(job) = next {
            if job.is_wanted() {
                match grants::decide(&self.desired, &node, &job.request) {
                    Ok(grant) => return self.serve(node, subject, job, grant, cx),
                    Err(refused) => {
                        tracing::warn!(%node, %refused, "refused a request of a node");
                        job.responder.reply(NodeReply::Refused(refused));
                    }
                }
            }
            next = self.lanes.finish(&node, &subject);
        }
    }

    fn serve(
        &mut self,
        node: NodeName,
        subject: Subject,
        Job { epoch, request, responder }: Job,
        grant: grants::Grant,
        cx: &mut Context<Self>,
    ) {
        let deadline = Instant::now() + self.config.request_timeout;
        let random = cx.uuid();
        let caller = match request {
            NodeRequest::Lease(_) => self.api.urgent_caller(deadline, random),
            _ => self.api.caller(deadline, random),
        };
        let caller = caller.within(epoch);
        let me = cx.me();
        cx.spawn(async move {
            let silent = !request.is_answered();
            let reply = serve(caller, &node, request, grant).await;
            if let (true, NodeReply::Refused(status)) = (silent, &reply) {
                tracing::debug!(%node, %status, "an event of a node was not recorded");
            }
            responder.reply(reply);
            if me.send(Served { node, subject }).await.is_err() {
                tracing::debug!("the edge controller stopped while it served a node");
            }
        });
    }

    /// Makes a node connect anew whose session began before this module did: only so is known what
    /// the node holds.
    pub(crate) fn recover(&mut self, node: NodeName, cx: &mut Context<Self>) {
        tracing::info!(%node, "a session goes on from before the edge controller started; ending it");
        self.end_session(node, cx);
    }

    /// Has the cloud hub end the node's session.
    pub(crate) fn end_session(&mut self, node: NodeName, cx: &mut Context<Self>) {
        let (bus, me) = (cx.bus().clone(), cx.me());
        cx.spawn(async move {
            let ended = bus.to(group::CLOUDHUB).ask(EndSession { node: node.clone() }).within(END).await;
            if let Err(error) = ended {
                if !matches!(error, AskError::NobodyServes { .. }) {
                    tracing::warn!(%node, %error, "the session could not be ended");
                }
                if me.send(NotEnded(node)).await.is_err() {
                    tracing::debug!("the edge controller stopped while it ended a session");
                }
            }
        });
    }
}
