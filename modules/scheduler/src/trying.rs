//! Trying pods, and telling the API server what came of it.

use beehive::Context;
use tokio::time::Instant;

use crate::calls::{self, CallError, Notice};
use crate::desk::Step;
use crate::pod::PodKey;
use crate::{Bound, Scheduler, Try};

/// How many pods are tried in a row before other work has its turn.
const STEPS: usize = 64;

impl Scheduler {
    /// Tries the pods that are ready, some at a time. Before all nodes and pods are known, none is.
    pub(crate) fn run(&mut self, cx: &mut Context<Self>) {
        if !self.nodes.received || !self.pods.received {
            return;
        }
        let now = cx.now();
        for _ in 0..STEPS {
            match self.desk.step(now) {
                Some(Step::Bind { key, uid, node }) => self.bind(key, uid, node, cx),
                Some(Step::Explain { key, uid, why, told, first }) => {
                    self.explain(key, uid, why, told, first, cx)
                }
                None => return self.set_timer(self.desk.due(), cx),
            }
        }
        self.set_timer(Some(now), cx);
    }

    fn set_timer(&mut self, due: Option<Instant>, cx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            cx.cancel(timer);
        }
        self.timer = due.map(|due| cx.after(due.saturating_duration_since(cx.now()), Try));
    }

    fn bind(&mut self, key: PodKey, uid: String, node: String, cx: &mut Context<Self>) {
        let (client, calls, me) = (self.client.clone(), self.calls.clone(), cx.me());
        let said = format!("Successfully assigned {key} to {node}");
        let notice = self.notice(&key, &uid, ("Normal", "Scheduled"), said, 1, cx);
        cx.spawn(async move {
            let turn = calls.acquire().await;
            let answer = calls::bind(&client, &key, &uid, &node).await;
            report(&key, &node, &answer);
            let bound = answer.is_ok();
            if me.send(Bound { key, uid, bound }).await.is_err() {
                tracing::debug!("the scheduler stopped while it bound a pod");
            }
            if bound {
                record(&client, &notice).await;
            }
            drop(turn);
        });
    }

    fn explain(
        &mut self,
        key: PodKey,
        uid: String,
        why: String,
        told: bool,
        first: bool,
        cx: &mut Context<Self>,
    ) {
        let said = self.said.entry(key.clone()).or_insert_with(|| (why.clone(), 0));
        if said.0 != why {
            *said = (why.clone(), 0);
        }
        said.1 = said.1.saturating_add(1);
        let count = said.1;
        tracing::debug!(pod = %key, %why, "no node will have the pod");
        let notice = self.notice(&key, &uid, ("Warning", "FailedScheduling"), why.clone(), count, cx);
        let (client, calls) = (self.client.clone(), self.calls.clone());
        cx.spawn(async move {
            let _turn = calls.acquire().await;
            let began = first.then_some(notice.at.as_str());
            if !told && let Err(error) = calls::explain(&client, &key, &uid, &why, began).await {
                tracing::debug!(pod = %key, %error, "could not say in the pod's status why it has no node");
            }
            record(&client, &notice).await;
        });
    }

    fn notice(
        &self,
        pod: &PodKey,
        uid: &str,
        (kind, reason): (&'static str, &'static str),
        message: String,
        count: u32,
        cx: &Context<Self>,
    ) -> Notice {
        let at = calls::timestamp(cx.wall_clock());
        let by = self.config.scheduler_name.clone();
        Notice { pod: pod.clone(), uid: uid.to_owned(), kind, reason, message, count, by, at }
    }
}

fn report(pod: &PodKey, node: &str, answer: &Result<(), CallError>) {
    match answer {
        Ok(()) => tracing::debug!(%pod, node, "bound a pod"),
        Err(error) if error.has_code(404) || error.has_code(409) => {
            tracing::debug!(%pod, node, %error, "the pod changed before it could be bound");
        }
        Err(error) => tracing::warn!(%pod, node, %error, "could not bind a pod; trying again"),
    }
}

async fn record(client: &kube::Client, notice: &Notice) {
    if let Err(error) = calls::record(client, notice).await {
        tracing::debug!(pod = %notice.pod, reason = notice.reason, %error, "could not record an event");
    }
}
