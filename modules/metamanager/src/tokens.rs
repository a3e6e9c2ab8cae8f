//! Service-account tokens, kept so that a pod can start without the cloud.
//!
//! Tree [`TOKENS`]: the key is the uid of the pod that the token is bound to, namespace, account and the
//! request's JSON, with a zero byte between; the value one format byte and the JSON of the filled request.
//! A token is given again until it is time to renew it. Without the cloud an older one is given too, even
//! one whose time is over, for as long as the operator allows: what it is still good for is for those to say
//! who check it. A pod's tokens go with the pod.

use std::time::{Duration, SystemTime};

use beehive::{Context, Defer, Failure, Handler, Message, Responder};
use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use protocol::edge::{CloudError, GetToken, MetaError, TokenError};
use protocol::{Held, NodeReply, NodeRequest, Object, ResourceType};
use serde::Deserialize;
use store::{Batch, Pages, Store, StoreError};

use crate::MetaManager;
use crate::fetches::ask_cloud;
use crate::layout;

/// The tree of tokens.
pub(crate) const TOKENS: &str = "metamanager.tokens";

/// How many requests for tokens may wait for the cloud at once.
const ASKING_MAX: usize = 256;
/// The longest that a token is given again before it is renewed, whatever its life.
const USE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How many records are read at once.
const PAGE: usize = 128;

/// The cloud answered a request for a token.
#[derive(Debug, Message)]
pub(crate) struct TokenCame {
    wanted: GetToken,
    answer: Result<NodeReply, CloudError>,
    responder: Responder<Result<Object, TokenError>>,
}

/// What a filled `TokenRequest` says of its token.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filled {
    #[serde(default)]
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    expiration_seconds: Option<u64>,
    bound_object_ref: Option<BoundObject>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BoundObject {
    uid: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: String,
    expiration_timestamp: Timestamp,
}

/// A token and its times.
#[derive(Debug, Clone, PartialEq)]
struct Token {
    filled: Object,
    renew_at: SystemTime,
    ends_at: SystemTime,
}

impl Token {
    /// Reads a filled request; `None` if it holds no token.
    fn read(filled: Object) -> Option<Self> {
        let Filled { spec, status } = filled.view().ok()?;
        let ends_at = SystemTime::from(status.expiration_timestamp);
        let life = Duration::from_secs(spec.expiration_seconds.unwrap_or(3600));
        let renew_at = ends_at.checked_sub(life)?.checked_add((life * 4 / 5).min(USE_MAX))?;
        (!status.token.is_empty()).then_some(Self { filled, renew_at, ends_at })
    }

    /// Tells whether it may be given while the cloud is away.
    fn is_good_enough(&self, now: SystemTime, grace: Duration) -> bool {
        self.ends_at.checked_add(grace).is_none_or(|over| now < over)
    }
}

/// Returns under which key a token lies; `None` for one that is bound to no pod and is not kept.
fn key(wanted: &GetToken) -> Option<Bytes> {
    #[derive(Deserialize)]
    struct Asked {
        #[serde(default)]
        spec: Spec,
    }
    let asked: Asked = wanted.request.view().ok()?;
    let uid = asked.spec.bound_object_ref?.uid;
    if uid.is_empty() || uid.contains('\0') {
        return None;
    }
    let mut key = BytesMut::new();
    for part in [&uid, wanted.namespace.as_str(), wanted.account.as_str()] {
        key.put_slice(part.as_bytes());
        key.put_u8(0);
    }
    key.put_slice(wanted.request.raw());
    Some(key.freeze())
}

/// Reads a held token. A damaged record counts as not held.
fn held(store: &dyn Store, key: &[u8]) -> Result<Option<Token>, StoreError> {
    match store.get(TOKENS, key) {
        Ok(Some(record)) => Ok(layout::read_record(record).ok().and_then(Token::read)),
        Ok(None) | Err(StoreError::Corrupt { .. }) => Ok(None),
        Err(failed) => Err(failed),
    }
}

/// Returns `batch` with the end of all tokens of a pod.
pub(crate) fn remove_of_pod(store: &dyn Store, uid: &str, batch: &Batch) -> Result<Batch, StoreError> {
    let mut prefix = BytesMut::from(uid.as_bytes());
    prefix.put_u8(0);
    let survey = store.survey(TOKENS, &prefix, None, PAGE)?;
    Ok(survey.keys().fold(batch.clone(), |batch, key| batch.remove(TOKENS, key.clone())))
}

/// Removes the tokens of pods that are not held: their end was kept and the removal of the tokens was not.
pub(crate) async fn sweep(store: &dyn Store, held: &[Held]) -> Result<(), StoreError> {
    let is_held = |key: &[u8]| {
        let pods = held.iter().filter(|held| held.key.resource == ResourceType::POD);
        let mut uids = pods.filter_map(|held| held.uid.as_ref());
        uids.any(|uid| key.strip_prefix(uid.as_str().as_bytes()).is_some_and(|rest| rest.first() == Some(&0)))
    };
    for page in Pages::of(store, TOKENS) {
        let page = page?;
        let gone = page.keys().filter(|key| !is_held(key));
        let batch = gone.fold(Batch::new(), |batch, key| batch.remove(TOKENS, key.clone()));
        if !batch.writes().is_empty() {
            settled(store.commit(batch)).await;
        }
    }
    Ok(())
}

impl Defer<GetToken> for MetaManager {
    async fn handle(
        &mut self,
        wanted: GetToken,
        responder: Responder<Result<Object, TokenError>>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        let held = match key(&wanted).map(|key| held(&*self.store, &key)) {
            Some(Ok(held)) => held,
            Some(Err(failed)) => {
                responder.reply(Err(TokenError::Store(MetaError(failed.to_string()))));
                return Ok(());
            }
            None => None,
        };
        if let Some(token) = held.filter(|token| cx.wall_clock() < token.renew_at) {
            responder.reply(Ok(token.filled));
            return Ok(());
        }
        if self.asking >= ASKING_MAX {
            responder.reply(Err(TokenError::Unavailable(CloudError::Overloaded)));
            return Ok(());
        }
        self.asking += 1;
        let (bus, me, within) = (cx.bus().clone(), cx.me(), self.config.query_timeout());
        cx.spawn(async move {
            let GetToken { namespace, account, request } = wanted.clone();
            let request = NodeRequest::Token { namespace, account, request };
            let answer = ask_cloud(&bus, request, within).await;
            if me.send(TokenCame { wanted, answer, responder }).await.is_err() {
                tracing::debug!("the metadata manager stopped before it could take a token");
            }
        });
        Ok(())
    }
}

impl Handler<TokenCame> for MetaManager {
    async fn handle(&mut self, came: TokenCame, cx: &mut Context<Self>) -> Result<(), Failure> {
        let TokenCame { wanted, answer, responder } = came;
        self.asking -= 1;
        let key = key(&wanted);
        match answer {
            Ok(NodeReply::Object(filled)) => match Token::read(filled) {
                Some(token) => self.keep_token(key, token.filled, responder, cx),
                None => responder.reply(Err(TokenError::NoToken)),
            },
            Ok(NodeReply::Refused(status)) => {
                if let Some(key) = key {
                    cx.spawn(settled(self.store.commit(Batch::new().remove(TOKENS, key))));
                }
                responder.reply(Err(TokenError::Refused(status)));
            }
            Ok(NodeReply::Done | NodeReply::Text(_)) => responder.reply(Err(TokenError::NoToken)),
            Err(cause) => {
                let held = key.and_then(|key| held(&*self.store, &key).ok().flatten());
                let (now, grace) = (cx.wall_clock(), self.config.token_grace_period);
                match held.filter(|token| token.is_good_enough(now, grace)) {
                    Some(token) => {
                        let GetToken { namespace, account, .. } = &wanted;
                        tracing::info!(%namespace, %account, %cause, "an old service-account token is given again");
                        responder.reply(Ok(token.filled));
                    }
                    None => responder.reply(Err(TokenError::Unavailable(cause))),
                }
            }
        }
        Ok(())
    }
}

impl MetaManager {
    /// Gives a new token once it is on disk, or after that failed: the pod can do with it.
    fn keep_token(
        &self,
        key: Option<Bytes>,
        filled: Object,
        responder: Responder<Result<Object, TokenError>>,
        cx: &mut Context<Self>,
    ) {
        let Some(key) = key else { return responder.reply(Ok(filled)) };
        let kept = settled(self.store.commit(Batch::new().put(TOKENS, key, layout::encode_record(&filled))));
        cx.spawn(async move {
            kept.await;
            responder.reply(Ok(filled));
        });
    }
}

async fn settled(commit: store::Commit) {
    if let Err(failed) = commit.await {
        tracing::warn!(%failed, "what is held of a service-account token was not made durable");
    }
}

#[cfg(test)]
mod tests;
